"""The change of the data with a perturber, from the overlap operator, against finite differences of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy import units as u
from torch.autograd import forward_ad

from lenssuper import SIS, ForwardModel
from lenssuper.operators.overlap.differentiable import lens_differentiable
from lenssuper.simulate import random_mock


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, on first use of jvp
@pytest.mark.parametrize("order", [1, 2])
def test_column_is_the_derivative_of_the_forward_model(order):
    """Pixels cut in two triangles suffice for one in a hundred of what the model with `tol` gives."""
    mock = random_mock(4, shape=(24, 24))
    mass, step = 0.004, 1e-3

    def lens(mass):
        return mock.lens + SIS(theta_E=mass * u.arcsec, x=0.7 * u.arcsec, y=0.55 * u.arcsec)

    def model(mass):
        return ForwardModel(mock.observation, lens(mass), source_grid=grid, order=order, tol=1e-4)

    grid = ForwardModel(mock.observation, mock.lens).source_grid
    source = mock.source_image(grid)
    expected = (model(mass + step).forward(source) - model(mass - step).forward(source)) / (2 * step)
    (name,) = (name for name in lens(mass).values() if name.startswith("SIS") and name.endswith("theta_E"))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.tensor(mass).double(), torch.tensor(1.0).double())
        grids = model(mass).lensing.image_grid, grid
        image = lens_differentiable(torch.from_numpy(source), lens(mass), *grids, {name: dual}, order=order)
        change = forward_ad.unpack_dual(image).tangent.numpy()
    column = model(mass).blur.forward(change)
    assert np.linalg.norm(column - expected) < 0.01 * np.linalg.norm(expected)
