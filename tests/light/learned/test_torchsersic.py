"""The renderer for torch against exact pixel averages, and its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import gammaincinv

from lenssuper.light.learned.torchsersic import render_shapes, sersic_b
from lenssuper.light.sersic.profile import sersic_averages

#              x      y     R_e    n    q    phi  amplitude
PROFILES = {
    "disc": [0.52, 0.47, 0.15, 1.0, 0.6, 0.7, 1.3],
    "flat": [0.31, 0.64, 0.20, 0.5, 0.3, 2.5, 0.4],
    "spheroid": [0.503, 0.507, 0.10, 4.0, 0.8, 1.1, 0.2],
    "cusp on a corner": [0.5, 0.5, 0.20, 5.0, 0.5, 0.3, 0.1],
    "compact": [0.7, 0.2, 0.012, 2.0, 0.7, 1.9, 5.0],
    "on the edge": [0.01, 0.4, 0.10, 1.5, 0.9, 0.0, 1.0],
    "outside": [-0.1, 1.08, 0.20, 2.5, 0.7, 0.5, 1.0],
}


def exact(parameters, shape):
    """The same profile by the package's own adaptive integration."""
    side = 1 / max(shape)
    image = sersic_averages(np.eye(2) * side, np.full(2, side / 2), shape, parameters[:6])
    return parameters[6] * image


def test_b_is_that_which_halves_the_light():
    n = np.geomspace(0.4, 10, 300)
    assert np.abs(sersic_b(torch.from_numpy(n)).numpy() - gammaincinv(2 * n, 0.5)).max() < 1e-4


@pytest.mark.parametrize("shape", [(64, 64), (24, 40)])
@pytest.mark.parametrize("name", PROFILES)
def test_pixels_are_averages(render, name, shape):
    parameters = PROFILES[name]
    image = render(torch.tensor(parameters, dtype=torch.float64), shape).numpy()
    truth = exact(parameters, shape)
    assert image.shape == shape
    np.testing.assert_allclose(image, truth, atol=3e-4 * truth.max())
    # the bright pixels that a rendering at their centres gets wrong
    bright = truth > 0.1 * truth.max()
    np.testing.assert_allclose(image[bright], truth[bright], rtol=2e-3)


def test_a_point_at_the_centre_of_pixels_is_not_enough(render):
    # What the core's own points are for: the centre of a cuspy profile between the centres of pixels.
    parameters = PROFILES["cusp on a corner"]
    truth = exact(parameters, (64, 64))
    one = render(torch.tensor(parameters, dtype=torch.float64), (64, 64), oversampling=1).numpy()
    np.testing.assert_allclose(one, truth, atol=2e-3 * truth.max())


def test_batches_are_rendered_one_by_one(render):
    batch = torch.tensor(list(PROFILES.values()), dtype=torch.float64).reshape(7, 1, 7)
    images = render(batch, (16, 20))
    assert images.shape == (7, 1, 16, 20)
    for parameters, image in zip(batch[:, 0], images[:, 0], strict=True):
        torch.testing.assert_close(image, render(parameters, (16, 20)))


@pytest.mark.parametrize("name", ["disc", "flat", "spheroid", "compact", "on the edge"])
def test_gradients(render, name):
    # Away from the borders of pixels, where the set of finer pixels moves on by one.
    parameters = torch.tensor(PROFILES[name], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p: render(p, (10, 12)), parameters, eps=1e-6, atol=1e-4, fast_mode=True
    )


def test_gradients_where_the_ellipse_is_round():
    shapes = torch.tensor([0.52, 0.47, 0.15, 1.4, 0.0, 0.0, 1.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p: render_shapes(p, (10, 12)), shapes, eps=1e-6, atol=1e-4, fast_mode=True
    )


def test_single_precision_is_enough(render):
    for parameters in PROFILES.values():
        double = render(torch.tensor(parameters, dtype=torch.float64), (64, 64))
        single = render(torch.tensor(parameters, dtype=torch.float32), (64, 64)).double()
        torch.testing.assert_close(single, double, atol=2e-4 * double.max().item(), rtol=0)
