"""The problem: units of noise and of brightness, masks, and source planes seen from another side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lenssuper import ForwardModelBatch
from lenssuper.networks import SourceProblem

SHAPE = (17, 26)
TURNS = [(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)]


@pytest.fixture
def problem(problem_of):
    return problem_of(SHAPE)


@pytest.mark.parametrize(("quarters", "mirrored"), TURNS)
def test_adjoint(problem, sources, quarters, mirrored):
    if (quarters, mirrored) != (0, False):
        problem = problem.turned(quarters, mirrored)
    source, image = sources(problem), torch.randn(problem.white.shape)
    forward = problem.forward(source).double()
    one = float((forward * image).sum())
    other = float((source * problem.adjoint(image)).double().sum())
    assert one == pytest.approx(other, abs=1e-5 * float(forward.norm() * image.norm()))


@pytest.mark.parametrize(("quarters", "mirrored"), TURNS)
def test_turned_is_an_explicit_rotation(problem, sources, quarters, mirrored):
    source = sources(problem)
    turned = problem.turned(quarters, mirrored)

    def seen(images):
        images = images.numpy()
        images = images[..., ::-1] if mirrored else images
        return torch.tensor(np.rot90(images, quarters, (-2, -1)).copy())

    assert turned.source_shape == tuple(seen(source).shape)
    torch.testing.assert_close(turned.forward(seen(source)), problem.forward(source))
    torch.testing.assert_close(turned.lensed_image(seen(source)), problem.lensed_image(source))
    torch.testing.assert_close(turned.chi2(seen(source)), problem.chi2(source))
    torch.testing.assert_close(turned.adjoint(problem.white), seen(problem.adjoint(problem.white)))
    torch.testing.assert_close(turned.coverage(), seen(problem.coverage()))


def test_turned_only_once(problem):
    with pytest.raises(ValueError, match="not been turned"):
        problem.turned(1).turned(1)


def test_against_the_forward_models(problem, models, sources):
    source = sources(problem)
    for i, model in enumerate(models(SHAPE)):
        mine = (source[i] * problem.scale[i]).double().numpy()
        expected = model.forward(mine) * np.sqrt(model.weights)
        np.testing.assert_allclose(problem.forward(source)[i], expected, atol=1e-4 * np.abs(expected).max())
        used = model.weights > 0
        np.testing.assert_array_equal(problem.used[i], used)
        chi2 = np.sum(model.weights * (model.data - model.forward(mine)) ** 2) / used.sum()
        assert float(problem.chi2(source)[i]) == pytest.approx(chi2, rel=1e-3)
        assert float(problem.scale[i]) == pytest.approx(model.data[used].max(), rel=1e-6)
        image = model.lensed_image(source[i].double().numpy())
        np.testing.assert_allclose(problem.lensed_image(source)[i], image, atol=1e-4)


def test_unit_of_the_data_does_not_matter(models, sources):
    """In Jy, a weight is beyond float32."""
    batch = ForwardModelBatch(models(SHAPE))

    class InJansky:
        in_shape, out_shape = batch.in_shape, batch.out_shape
        forward, adjoint, lensed_image = batch.forward, batch.adjoint, batch.lensed_image
        data, weights = batch.data * 1e-25, batch.weights * 1e50

    one, other = SourceProblem.of(batch), SourceProblem.of(InJansky())
    source = sources(one)
    torch.testing.assert_close(other.forward(source), one.forward(source), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(other.white, one.white)
    torch.testing.assert_close(other.chi2(source), one.chi2(source), rtol=1e-4, atol=1e-4)


def test_making_one_warns_of_nothing(models, recwarn):
    """Arrays of forward models are read-only, and those of a training are tensors."""
    batch = ForwardModelBatch(models(SHAPE))
    SourceProblem.of(batch)

    class OfTensors:
        in_shape = batch.in_shape
        data, weights = torch.tensor(batch.data), torch.tensor(batch.weights)

    assert torch.equal(SourceProblem.of(OfTensors()).white, SourceProblem.of(batch).white)
    assert not recwarn.list


def test_without_pixels(problem, sources):
    held_out = torch.rand(problem.white.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    source, less = sources(problem), problem.without(held_out)
    assert not (less.used & held_out).any()
    assert torch.equal(less.used | held_out, problem.used | held_out)
    assert (less.white[held_out] == 0).all()
    assert (less.forward(source)[held_out] == 0).all()
    shown = problem.used & ~held_out
    torch.testing.assert_close(less.chi2(source), problem.chi2(source, shown))
    # what is held out and masked counts nowhere
    squares = (problem.forward(source) - problem.white) ** 2
    for i in range(len(problem)):
        mine = (held_out & problem.used)[i]
        assert float(problem.chi2(source, held_out)[i]) == pytest.approx(
            float(squares[i][mine].mean()), rel=1e-5
        )
    torch.testing.assert_close(less.scale, problem.scale)
    assert problem.used.sum() > less.used.sum(), "the problem itself has changed"


def test_with_other_data(problem, sources):
    source = sources(problem)
    perfect = problem.with_white(problem.forward(source))
    assert float(perfect.chi2(source).max()) < 1e-9
    filled = problem.with_white(torch.ones_like(problem.white))
    assert torch.equal(filled.white, problem.used.float())
    assert float(problem.chi2(source).min()) > 0.1, "the problem itself has changed"


def test_scale_of_an_image_without_light(models):
    """It is the noise then, not a pixel that happens to be highest below zero."""
    batch = ForwardModelBatch(models(SHAPE))
    weights = torch.full(batch.out_shape, 4.0)
    weights[:, 0] = 0.0
    problem = SourceProblem(batch, torch.full(batch.out_shape, -1.0), weights)
    torch.testing.assert_close(problem.scale.flatten(), torch.full((3,), 0.5))
