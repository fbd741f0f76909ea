"""Three lenses of 24 x 24 pixels, to be solved on source grids of any shape."""

from __future__ import annotations

from functools import cache

import astropy.units as u
import numpy as np
import pytest
import torch

from lenssuper import SIE, ExternalShear, ForwardModel, ForwardModelBatch, Observation, PixelGrid
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.networks import SourceProblem
from lenssuper.simulate import random_mock


@pytest.fixture(scope="session")
def observed():
    """Observations with their lenses; in the first, some pixels are masked."""
    found = []
    for seed in range(3):
        # small enough for their rings to be in the field
        lens = SIE(theta_E=(0.5 + 0.06 * seed) * u.arcsec, q=0.9 - 0.1 * seed, phi=50 * seed * u.deg)
        lens += ExternalShear(gamma1=0.03, gamma2=-0.02 * seed)
        mock = random_mock(seed, shape=(24, 24), lens=lens)
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
        return SourceProblem.of(ForwardModelBatch([models(shape)[i] for i in which]))

    return made


@pytest.fixture
def sources():
    """Function that gives random sources for a problem."""

    def made(problem, seed=0):
        return torch.rand(problem.source_shape, generator=torch.Generator().manual_seed(seed))

    return made


@pytest.fixture(scope="session")
def usual_problem():
    """Two lenses as they are simulated by default, on 64 x 64 source pixels."""
    models = []
    for seed in range(2):
        mock = random_mock(seed)
        observation = Observation.from_nddata(mock.observation)
        grid = square_source_grid(observation, mock.lens, 2, 64)
        models.append(ForwardModel(observation, mock.lens, source_grid=grid))
    return SourceProblem.of(ForwardModelBatch(models))
