"""What every linear operator promises, tried on every one of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from astropy import units as u
from scipy import sparse

from lenssuper import SIE, ExternalShear, PixelGrid, operators
from lenssuper.operators import (
    BilinearSampling,
    Binning,
    BlurAndBin,
    PixelScatter,
    PSFConvolution,
    Sampling,
    SparseOperator,
    SplineAverages,
    SplineSampling,
)

IMAGE_GRID = PixelGrid(shape=(20, 24), pixel_scale=0.15 * u.arcsec)
SOURCE_GRID = PixelGrid(shape=(14, 12), pixel_scale=0.1 * u.arcsec, rotation=20 * u.deg)
LENS = SIE(theta_E=1.1 * u.arcsec, q=0.8, phi=30 * u.deg, x=0.05 * u.arcsec, y=0 * u.arcsec)
LENS += ExternalShear(gamma1=0.03, gamma2=-0.02)


def random_matrix():
    rng = np.random.default_rng(1)
    return sparse.csr_array(rng.uniform(size=(30, 56)) * (rng.uniform(size=(30, 56)) < 0.2))


def gaussian(shape, sigma=1.0):
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.exp(-((x - 0.2) ** 2 + y[:, None] ** 2) / (2 * sigma**2))


OPERATORS = {
    "sparse": lambda: SparseOperator(random_matrix(), (7, 8), (6, 5)),
    "overlap": lambda: operators.OverlapOperator(LENS, IMAGE_GRID, SOURCE_GRID),
    "overlap, hats": lambda: operators.OverlapOperator(LENS, IMAGE_GRID, SOURCE_GRID, order=1),
    "overlap, splines": lambda: operators.OverlapOperator(LENS, IMAGE_GRID, SOURCE_GRID, order=2),
    "averages of splines": lambda: SplineAverages((9, 7), 2, 3),
    "bilinear": lambda: BilinearSampling(LENS, IMAGE_GRID, SOURCE_GRID),
    "splines": lambda: SplineSampling(LENS, IMAGE_GRID, SOURCE_GRID, rays=3),
    "scatter": lambda: PixelScatter(LENS, IMAGE_GRID, SOURCE_GRID),
    "convolution": lambda: PSFConvolution(np.random.default_rng(2).normal(size=(4, 7)), (9, 11)),
    "convolution with one number": lambda: PSFConvolution([[3.0]], (9, 11)),
    "binning": lambda: Binning((8, 12), 4),
    "binning of nothing": lambda: Binning((8, 12), 1),
    "sampling": lambda: Sampling((9, 14), 3, offset=1),
    "effective PSF": lambda: BlurAndBin(gaussian((9, 7)), 2, (6, 9)),
    "optical PSF": lambda: BlurAndBin(
        gaussian((11, 15), 2.0), 3, (6, 9), oversampling=2, includes_pixel=False
    ),
    "no PSF": lambda: BlurAndBin(None, 2, (6, 9)),
    "adjoint": lambda: BlurAndBin(gaussian((9, 9)), 2, (6, 9)).H,
    "composed": lambda: (
        Binning((18, 22), 2)
        @ PSFConvolution(gaussian((3, 3)), (18, 22))
        @ BilinearSampling(LENS, IMAGE_GRID, SOURCE_GRID)
    ),
}


@pytest.fixture(scope="module", params=OPERATORS)
def op(request):
    return OPERATORS[request.param]()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_shape_is_that_of_the_matrix(op):
    assert op.shape == (np.prod(op.out_shape), np.prod(op.in_shape))
    assert (op @ np.zeros(op.in_shape)).shape == op.out_shape
    assert op.adjoint(np.zeros(op.out_shape)).shape == op.in_shape


def test_adjoint(op, rng):
    x = rng.normal(size=op.in_shape)
    y = rng.normal(size=op.out_shape)
    ax, aty = op.forward(x), op.adjoint(y)
    assert abs(np.sum(ax * y) - np.sum(x * aty)) <= 1e-12 * np.linalg.norm(ax) * np.linalg.norm(y)
    assert np.linalg.norm(ax) > 0


def test_linear(op, rng):
    x, z = rng.normal(size=(2, *op.in_shape))
    np.testing.assert_allclose(op @ (2 * x - 3 * z), 2 * (op @ x) - 3 * (op @ z), rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [(3,), (2, 3), (1,), (0,)])
def test_batch_is_a_loop(op, rng, batch):
    x = rng.normal(size=(*batch, *op.in_shape))
    y = rng.normal(size=(*batch, *op.out_shape))
    ax, aty = op @ x, op.adjoint(y)
    assert ax.shape == (*batch, *op.out_shape)
    assert aty.shape == (*batch, *op.in_shape)
    for k in np.ndindex(*batch):
        np.testing.assert_allclose(ax[k], op @ x[k], rtol=0, atol=1e-13)
        np.testing.assert_allclose(aty[k], op.adjoint(y[k]), rtol=0, atol=1e-13)


def test_order_in_memory_does_not_matter(op, rng):
    x = rng.normal(size=(3, *op.in_shape))
    strided = np.asfortranarray(x)
    np.testing.assert_allclose(op @ strided, op @ x, rtol=0, atol=1e-13)
    tensor = torch.from_numpy(np.ascontiguousarray(x.swapaxes(-1, -2))).swapaxes(-1, -2)
    np.testing.assert_allclose((op @ tensor).numpy(), op @ x, rtol=0, atol=1e-13)


def test_leaves_alone_what_it_is_given(op, rng):
    x = rng.normal(size=op.in_shape)
    before = x.copy()
    result = op @ x
    result += 1
    np.testing.assert_array_equal(x, before)
    y = rng.normal(size=op.out_shape)
    before = y.copy()
    result = op.adjoint(y)
    result += 1
    np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_single_precision_stays(op, rng, library):
    x = rng.normal(size=op.in_shape)
    y = rng.normal(size=op.out_shape)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    if library == "torch":
        x32, y32 = torch.from_numpy(x32), torch.from_numpy(y32)
    ax, aty = op @ x32, op.adjoint(y32)
    assert ax.dtype == aty.dtype == x32.dtype
    scale = np.abs(op @ x).max()
    np.testing.assert_allclose(np.asarray(ax), op @ x, rtol=0, atol=3e-6 * scale)
    np.testing.assert_allclose(
        np.asarray(aty), op.adjoint(y), rtol=0, atol=3e-6 * np.abs(op.adjoint(y)).max()
    )


def test_other_numbers_are_promoted(op, rng):
    x = rng.integers(0, 9, size=op.in_shape)
    expected = op @ x.astype(np.float64)
    for promoted in (x, x.tolist(), x.astype(">f8"), torch.from_numpy(x)):
        result = op @ promoted
        assert result.dtype in (np.dtype(np.float64), torch.float64)
        np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=1e-13)
    assert (op @ (x > 4)).dtype == np.float64
    assert (op @ x.astype(">f4")).dtype == np.float32
    assert (op @ x.astype(np.float16)).dtype == np.float32


def test_torch_gives_what_numpy_gives(op, rng):
    x = rng.normal(size=(2, *op.in_shape))
    y = rng.normal(size=(2, *op.out_shape))
    ax, aty = op @ torch.from_numpy(x), op.adjoint(torch.from_numpy(y))
    assert isinstance(ax, torch.Tensor)
    np.testing.assert_allclose(ax.numpy(), op @ x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(aty.numpy(), op.adjoint(y), rtol=0, atol=1e-13)


def test_gradient_is_the_adjoint(op, rng):
    x = torch.from_numpy(rng.normal(size=(2, *op.in_shape))).requires_grad_()
    y = torch.from_numpy(rng.normal(size=(2, *op.out_shape))).requires_grad_()
    (gradient,) = torch.autograd.grad((op @ x * y.detach()).sum(), x)
    np.testing.assert_allclose(gradient.numpy(), op.adjoint(y.detach().numpy()), rtol=0, atol=1e-13)
    (gradient,) = torch.autograd.grad((op.adjoint(y) * x.detach()).sum(), y)
    np.testing.assert_allclose(gradient.numpy(), op @ x.detach().numpy(), rtol=0, atol=1e-13)


def test_second_derivatives(op, rng):
    x = torch.from_numpy(rng.normal(size=op.in_shape)).requires_grad_()
    direction = torch.from_numpy(rng.normal(size=op.in_shape))
    (gradient,) = torch.autograd.grad((op @ x).square().sum(), x, create_graph=True)
    (product,) = torch.autograd.grad((gradient * direction).sum(), x)
    expected = 2 * op.adjoint(op @ direction.numpy())
    np.testing.assert_allclose(product.numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, on first use of jvp
def test_functional_transforms(op, rng):
    x, tangent = torch.from_numpy(rng.normal(size=(2, 3, *op.in_shape)))
    expected = op @ tangent.numpy()
    _, moved = torch.func.jvp(op.forward, (x,), (tangent,))
    np.testing.assert_allclose(moved.numpy(), expected, rtol=0, atol=1e-13)
    mapped = torch.func.vmap(op.forward, in_dims=2)(tangent.movedim(0, 2))
    np.testing.assert_allclose(mapped.numpy(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])
def test_wrong_shape(op, library):
    ny, nx = op.in_shape
    expected = rf"x must have shape \(\.\.\., {ny}, {nx}\), .*; got \(4, {ny + 1}, {nx}\)"
    with pytest.raises(ValueError, match=expected):
        op @ library.zeros((4, ny + 1, nx))
    ny, nx = op.out_shape
    with pytest.raises(ValueError, match=rf"y must have shape \(\.\.\., {ny}, {nx}\), .*; got \({nx},\)"):
        op.adjoint(library.zeros((nx,)))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda shape: np.zeros(shape, complex), "complex128"),
        (lambda shape: torch.zeros(shape, dtype=torch.complex64), "complex64"),
        (lambda shape: np.full(shape, "a"), "<U1"),
        (lambda shape: None, "object"),
        (lambda shape: np.zeros(shape) * u.Jy, "Quantity"),
        (lambda shape: np.ma.zeros(shape), "MaskedArray"),
    ],
)
def test_wrong_kind(op, wrong, reason):
    with pytest.raises(TypeError, match=f"x must be .*{reason}"):
        op @ wrong(op.in_shape)


def test_scipy_sees_the_same_operator(op, rng):
    scipy_op = op.aslinearoperator()
    assert scipy_op.shape == op.shape
    x = rng.normal(size=(4, *op.in_shape))
    y = rng.normal(size=(4, *op.out_shape))
    columns = scipy_op @ x.reshape(4, -1).T
    np.testing.assert_allclose(columns.T.reshape(4, *op.out_shape), op @ x, rtol=0, atol=1e-13)
    columns = scipy_op.H @ y.reshape(4, -1).T
    np.testing.assert_allclose(columns.T.reshape(4, *op.in_shape), op.adjoint(y), rtol=0, atol=1e-13)
    np.testing.assert_allclose(scipy_op @ x[0].ravel(), (op @ x[0]).ravel(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(scipy_op.H @ y[0].ravel(), op.adjoint(y[0]).ravel(), rtol=0, atol=1e-13)


def test_adjoint_operator(op, rng):
    # the adjoint of an adjoint is the operator it was made from
    assert op.H.H is op or op.H.H.H is op.H
    assert op.H.in_shape == op.out_shape
    assert op.H.out_shape == op.in_shape
    y = rng.normal(size=op.out_shape)
    np.testing.assert_array_equal(op.H @ y, op.adjoint(y))


def test_composition(op, rng):
    x = rng.normal(size=op.in_shape)
    normal = op.H @ op
    assert normal.in_shape == normal.out_shape == op.in_shape
    np.testing.assert_allclose(normal @ x, op.adjoint(op @ x), rtol=0, atol=1e-13)
    np.testing.assert_allclose((op @ op.H).H @ (op @ x), op @ op.adjoint(op @ x), rtol=0, atol=1e-13)


def test_survives_pickling(op, rng):
    x = torch.from_numpy(rng.normal(size=op.in_shape))
    expected = op @ x
    again = pickle.loads(pickle.dumps(op))
    np.testing.assert_array_equal((again @ x).numpy(), expected.numpy())
    np.testing.assert_array_equal(again.adjoint(expected).numpy(), op.adjoint(expected).numpy())


def test_repr_says_what_it_does(op):
    assert str(op.in_shape) in repr(op)
    assert str(op.out_shape) in repr(op)
