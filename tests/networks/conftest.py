"""Three lenses of 24 x 24 pixels, to be solved on source grids of any shape."""

from __future__ import annotations

from functools import cache

import astropy.units as u
import numpy as np
import pytest
import torch

from lenssuper import ForwardModel, ForwardModelBatch, Observation, PixelGrid
from lenssuper.networks import Problem
from lenssuper.simulate import random_mock


@pytest.fixture(scope="session")
def observed():
    """Observations with their lenses; in the first, some pixels are masked."""
    found = []
    for seed in range(3):
        mock = random_mock(seed, shape=(24, 24))
        data = mock.observation.copy()
        data.mask = np.zeros(data.shape, dtype=bool)
        data.mask[3:6, 10:14] = seed == 0
        data.psf = mock.observation.psf
        found.append((Observation.from_nddata(data), mock.lens))
    return found


@pytest.fixture(scope="session")
def models(observed):
    """Function that gives the forward models for a shape of the source grid."""

    @cache
    def made(shape):
        grid = PixelGrid(shape, 1.6 / max(shape) * u.arcsec)
        return tuple(ForwardModel(o, lens, source_grid=grid) for o, lens in observed)

    return made


@pytest.fixture(scope="session")
def problem_of(models):
    """Function that gives the problem of all, or of some, on a source grid of a shape."""

    @cache
    def made(shape, which=(0, 1, 2)):
        return Problem.of(ForwardModelBatch([models(shape)[i] for i in which]))

    return made


@pytest.fixture
def sources():
    """Function that gives random sources for a problem."""

    def made(problem, seed=0):
        return torch.rand(problem.source_shape, generator=torch.Generator().manual_seed(seed))

    return made
