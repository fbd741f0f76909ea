"""The test of the width of the PSF: the distribution of its score, and the doubt."""

from __future__ import annotations

import numpy as np
import pytest

from lenssuper import ForwardModel, Observation, SuperResolver
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian, GradientPrior
from lenssuper.superres.psftest import psf_measures
from lenssuper.superres.response import respond
from lenssuper.superres.systematics import Systematics, stretched

SIDE = 14


@pytest.fixture(scope="module")
def mock():
    return random_mock(11, shape=(32, 32), peak_snr=(70, 70))


def resolved(mock, scale, side=36, **given):
    observation = Observation.of(mock.observation)
    observation = observation.with_psf(stretched(observation.psf, scale * np.eye(2)))
    grid = square_source_grid(observation, mock.lens, 2, side)
    solver = Gaussian(**given)
    return SuperResolver(mock.lens, solver=solver, source_grid=grid, rng=1, progress=False)(observation)


def test_score_has_the_distribution_that_it_should():
    """Data from the very prior and noise: the score in units of its error has mean 0 and variance 1."""
    mock = random_mock(11, shape=(24, 24))
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, SIDE)
    model = ForwardModel(mock.observation, mock.lens, source_grid=grid)
    strength = 30 / np.max(mock.source_image(grid)) ** 2
    eye = np.eye(SIDE**2).reshape(-1, SIDE, SIDE)
    prior = strength * GradientPrior().apply(eye).reshape(SIDE**2, -1)
    matrix = model.whiten(model.forward(eye)).reshape(SIDE**2, -1).T
    posterior_covariance = np.linalg.inv(matrix.T @ matrix + prior)
    rng = np.random.default_rng(4)
    solver, scores = Gaussian(strength=strength, n_draws=2), []
    deviations = rng.multivariate_normal(np.zeros(SIDE**2), posterior_covariance, 60)
    deviations = np.concatenate([deviations, -deviations]).reshape(-1, SIDE, SIDE)
    sources = rng.multivariate_normal(np.zeros(SIDE**2), np.linalg.inv(prior), 40)
    for source in sources.reshape(-1, SIDE, SIDE):
        noise = rng.standard_normal(model.out_shape) * model.observation.sigma
        seen = model.with_data(model.forward(source) + noise)
        (change, *_) = Systematics(psf=0.03).changes(seen)
        scores.append(respond(seen, solver.solve(seen, rng=1), change, deviations).significance)
    # of 40 numbers of variance 1: mean to 0.16, standard deviation to 0.11
    assert abs(np.mean(scores)) < 0.5
    assert 0.7 < np.std(scores) < 1.35


def test_wrong_psf_is_said(mock):
    wrong = resolved(mock, 1.25)
    assert wrong.measures["psf_sigma"] > 8
    assert wrong.measures["psf_change"] < -0.05
    assert wrong.verdict != "trusted"
    assert any("the arcs ask for another PSF" in reason for reason in wrong.reasons)
    right = resolved(mock, 1.0)
    assert right.measures["psf_sigma"] < 4
    assert not any("another PSF" in reason for reason in right.reasons)


def test_nothing_is_measured_without_a_psf_or_draws(mock):
    result = resolved(mock, 1.0, SIDE, n_draws=1)
    model = ForwardModel(result.observation, mock.lens)
    assert psf_measures(model, result.posterior) == {}
    image = mock.observation.copy()
    image.psf = None
    without = ForwardModel(image, mock.lens)
    assert psf_measures(without, result.posterior) == {}
    delta = mock.observation.copy()
    delta.psf = np.pad([[1.0]], 2)
    unresolved = ForwardModel(delta, mock.lens, source_grid=result.source_grid)
    posterior = Gaussian(strength=1.0, n_draws=2).solve(unresolved, rng=1)
    assert psf_measures(unresolved, posterior) == {}
