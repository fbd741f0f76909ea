"""What networks are made of: conjugate gradients, the preconditioner, the field, the U-Net."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lenssuper.networks.arrays import limited
from lenssuper.networks.bands import _bands
from lenssuper.networks.conjugate import conjugate_gradients
from lenssuper.networks.features import Features
from lenssuper.networks.learnedparts import BandPreconditioner, CorrelatedField
from lenssuper.networks.unet import UNet
from lenssuper.solvers.numerics import StationaryField

SHAPES = [(16, 16), (17, 26), (31, 12), (9, 40)]


def seeded(number):
    return torch.Generator().manual_seed(number)


def dense(function, shape):
    """The matrix of a linear function of images (n, ny, nx)."""
    size = shape[0] * shape[1]
    return function(torch.eye(size).reshape(size, *shape)).reshape(size, size).T


# --- conjugate gradients


@pytest.fixture
def system():
    """Two symmetric positive definite matrices for images of 3 x 4, and two right-hand sides."""
    root = torch.randn(2, 12, 12, generator=seeded(0), dtype=torch.float64)
    matrices = root @ root.transpose(1, 2) + torch.eye(12) * torch.tensor([1.0, 20.0]).reshape(2, 1, 1)
    right = torch.randn(2, 3, 4, generator=seeded(1), dtype=torch.float64)
    return matrices, right, torch.linalg.solve(matrices, right.reshape(2, 12)).reshape(2, 3, 4)


def applied(matrices):
    return lambda images: (matrices @ images.reshape(2, 12, 1)).reshape(2, 3, 4)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_solves_each_of_a_batch(system, preconditioned):
    matrices, right, expected = system
    inverse = applied(torch.diag_embed(1 / matrices.diagonal(dim1=1, dim2=2)))
    options = {"preconditioner": inverse} if preconditioned else {}
    found = conjugate_gradients(applied(matrices), right, 16, **options)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    # from the solution it stays there
    again = conjugate_gradients(applied(matrices), right, 3, start=expected, **options)
    torch.testing.assert_close(again, expected, rtol=1e-6, atol=1e-8)


def test_the_exact_inverse_needs_one_step(system):
    matrices, right, expected = system
    inverse = applied(torch.linalg.inv(matrices))
    found = conjugate_gradients(applied(matrices), right, 1, preconditioner=inverse)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    assert (conjugate_gradients(applied(matrices), right, 1) - expected).abs().max() > 1e-3


def test_start_saves_steps(system):
    matrices, right, expected = system

    def error(**options):
        return float((conjugate_gradients(applied(matrices), right, 2, **options) - expected).norm())

    assert error(start=expected * 1.001) < 0.01 * error()


def test_units_do_not_matter(system):
    """Squares of squares of 1e15 are beyond float32."""
    matrices, right, expected = system
    matrices, right = matrices.float(), right.float()
    found = conjugate_gradients(applied(matrices), right * 1e15, 16) / 1e15
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-4)
    assert (conjugate_gradients(applied(matrices), 0 * right, 5) == 0).all()


def test_gradient_goes_through(system):
    matrices, right, _ = system
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    conjugate_gradients(lambda x: scale * applied(matrices)(x), right, 16).sum().backward()
    found = torch.linalg.solve(matrices, right.reshape(2, 12)).sum()
    assert float(scale.grad) == pytest.approx(-float(found), rel=1e-5)


# --- the preconditioner


@pytest.fixture
def weight():
    """As uneven as those of lenses are."""

    def made(shape):
        return torch.exp(4 * torch.randn(2, *shape, generator=seeded(2)))

    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_octaves_make_up_all_waves(shape):
    squares = [band.squared for band in _bands(shape, 6)]
    np.testing.assert_allclose(sum(squares), 1, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_symmetric_and_positive_definite(shape, weight):
    module = BandPreconditioner()
    octaves = module.prepare(weight(shape)[:1], CorrelatedField().amplitude(shape))
    matrix = dense(lambda x: module.precondition(octaves, x), shape).detach()
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-4, atol=1e-5)
    values = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T).double())
    assert values[0] > 0
    assert values[-1] < 1 + 1e-4
    assert values[0] < 0.5, "it does nothing"


@pytest.mark.parametrize("shape", SHAPES)
def test_without_data_there_is_nothing_to_do(shape):
    module = BandPreconditioner()
    octaves = module.prepare(torch.zeros(2, *shape), CorrelatedField().amplitude(shape))
    images = torch.randn(2, *shape, generator=seeded(3))
    torch.testing.assert_close(module.precondition(octaves, images), images, rtol=1e-4, atol=1e-5)


def test_constant_weight_is_inverted_in_each_octave():
    """Of the mean and the longest wave, M is 1 / (1 + c g w)."""
    module, field, shape = BandPreconditioner(), CorrelatedField(), (32, 32)
    amplitude = field.amplitude(shape)
    octaves = module.prepare(torch.full((1, *shape), 3.0), amplitude)
    squared = torch.tensor(_bands(shape, 6)[0].squared)
    power = (squared * amplitude**2).sum() / squared.sum()
    expected = 1 / (1 + module.log_transmission[0].exp() * power * 3.0)
    flat = module.precondition(octaves, torch.ones(1, *shape))
    torch.testing.assert_close(flat, expected * torch.ones(1, *shape), rtol=1e-4, atol=1e-5)


def test_fewer_steps_are_needed(usual_problem):
    """On lenses, the error after some steps, in the norm of the matrix, is a fraction of that without."""
    problem, module, field = usual_problem, BandPreconditioner(), CorrelatedField(3.0, 0.1)
    with torch.no_grad():
        amplitude = field.amplitude((64, 64))
        octaves = module.prepare(0.15**2 * Features.of(problem).weight, amplitude)

        def matrix(x):
            source = 0.15 * field(x, amplitude)
            return x + 0.15 * field(problem.adjoint(problem.forward(source)), amplitude)

        def solved(steps, **options):
            return conjugate_gradients(
                matrix, 0.15 * field(problem.adjoint(problem.white), amplitude), steps, **options
            )

        def error(**options):
            wrong = solved(12, **options) - exact
            return (wrong * matrix(wrong)).sum((-2, -1)).sqrt()

        exact = solved(200)
        assert (error(preconditioner=lambda x: module.precondition(octaves, x)) < 0.6 * error()).all()


# --- the field


@pytest.mark.parametrize("shape", SHAPES)
def test_field_has_unit_variance_and_is_symmetric(shape):
    field = CorrelatedField(3.5, 0.2)
    with torch.no_grad():
        matrix = dense(field, shape)
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-4, atol=1e-5)
    # the variance of each pixel is the sum of squares of its row
    torch.testing.assert_close((matrix**2).sum(1), torch.ones(len(matrix)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("slope", "length"), [(3.0, 1 / 3), (4.5, 0.1)])
def test_field_has_the_spectrum_of_the_solvers(shape, slope, length):
    white = np.random.default_rng(0).standard_normal(shape)
    reference = StationaryField(shape, length=length * max(shape), slope=slope, std=1.0)
    with torch.no_grad():
        found = CorrelatedField(slope, length)(torch.tensor(white).float()[None])[0]
    np.testing.assert_allclose(found, reference.apply(white), atol=1e-4)


def test_field_with_an_amplitude_at_hand():
    field = CorrelatedField()
    white = torch.randn(2, 11, 14, generator=seeded(4))
    torch.testing.assert_close(field(white, field.amplitude((11, 14))), field(white))


# --- the U-Net


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (16, 16), (23, 40)])
def test_unet_of_any_size(shape):
    net = UNet(3, 2, (4, 6, 8))
    images = torch.randn(2, 3, *shape, generator=seeded(5))
    assert torch.equal(net(images), torch.zeros(2, 2, *shape)), "a new one gives zero"
    torch.nn.init.normal_(net.last.weight)
    found = net(images)
    assert found.shape == (2, 2, *shape)
    assert found.std() > 0


def test_unet_moves_with_the_image():
    """Far from the borders, by multiples of its coarsest pixel."""
    torch.manual_seed(0)
    net = UNet(1, 1, (4, 6, 8))
    torch.nn.init.normal_(net.last.weight)
    spot = torch.zeros(1, 1, 96, 96)
    spot[..., 40, 44] = 1.0
    here, there = net(spot), net(spot.roll((8, 16), (2, 3)))
    inner = (..., slice(36, 68), slice(36, 68))
    torch.testing.assert_close(there[inner], here.roll((8, 16), (2, 3))[inner], rtol=1e-4, atol=1e-5)


def test_unet_sees_far_and_is_told():
    torch.manual_seed(0)
    net = UNet(1, 1, (4, 6, 8), conditions=3)
    for block in net.modules():
        if hasattr(block, "after"):
            torch.nn.init.normal_(block.after.weight, std=0.3)
    torch.nn.init.normal_(net.last.weight)
    images = torch.randn(1, 1, 64, 64, requires_grad=True)
    net(images, torch.ones(3))[0, 0, 32, 32].backward()
    seen = images.grad[0, 0].abs() > 0
    assert seen[32 - 12, 32]
    assert seen[32, 32 + 12]
    one, other = (net(images, torch.full((3,), v)) for v in (0.0, 1.0))
    assert (one - other).abs().max() > 1e-3


# --- limits


def test_limits_lead_back():
    """Beyond a limit the gradient is that of what leads back, and zero for what leads further away."""
    values = torch.tensor([-3.0, -3.0, 0.5, 0.5, 4.0, 4.0], requires_grad=True)
    pull = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    found = limited(values, -1.0, 2.0)
    assert torch.equal(found, values.detach().clamp(-1.0, 2.0))
    (pull * found).sum().backward()  # descent moves against the pull
    assert values.grad.tolist() == [0.0, -1.0, 1.0, -1.0, 1.0, 0.0]
