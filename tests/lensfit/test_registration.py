"""Observations whose coordinates are off, and several of them behind one lens: against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import multivariate_normal

from lenssuper import Observation
from lenssuper.lensfit import marginal, refine
from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.marginal import SourceBasis, SourcePrior, invert
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.problem import Problem
from lenssuper.lensfit.registration import Displaced, Registration
from lenssuper.lensfit.sourceplane import light_grid
from lenssuper.observation.noise import lit_pixels
from lenssuper.solvers import GradientPrior

SHIFT = (0.04, -0.03)


@pytest.fixture(scope="module")
def small(mock):
    return Observation.from_nddata(mock.observation)[5:23, 6:23]


@pytest.fixture(scope="module")
def exposures(small):
    """The same data on two sets of pixels, the second with coordinates that are off."""
    moved = replace(small, grid=small.grid.moved_by(-np.array(SHIFT)))
    return tuple(Exposure.of(each, None, 1.0) for each in (small, moved[1:, 2:]))


@pytest.fixture(scope="module")
def registration(truth):
    return Registration(FreeParameters(truth), 2, 0.1)


@pytest.fixture(scope="module")
def vector(registration):
    start = registration.begin(registration.parameters.start)
    start[-2:] = SHIFT
    return start


def test_a_displaced_lens_is_that_of_moved_pixels(small, truth):
    lit = lit_pixels(small)
    grid = light_grid(small, truth, lit, 1.3)
    off = replace(small, grid=small.grid.moved_by(-np.array(SHIFT)))
    seen = Displaced(truth, SHIFT)
    source = ndimage.gaussian_filter(np.random.default_rng(2).uniform(0, 1, grid.shape), 1.5).reshape(1, -1)
    images = []
    for observation, lens in ((small, truth), (off, seen)):
        camera = Camera(observation, observation.weights, lit, 1, lens, grid)
        images.append(camera.observe(camera.lensing(lens), source))
    np.testing.assert_allclose(images[1], images[0], atol=1e-4 * images[0].max())
    np.testing.assert_allclose(
        light_grid(off, seen, lit, 1.3).middle_arcsec(),
        light_grid(small, truth, lit, 1.3).middle_arcsec(),
        atol=1e-12,
    )


def test_vector_and_its_parts(registration, vector, truth):
    n = len(registration.parameters)
    assert len(registration) == n + 2
    assert registration.lens(vector) == registration.parameters.lens(registration.parameters.start)
    np.testing.assert_array_equal(registration.offsets(vector), [(0, 0), SHIFT])
    assert registration.seen_by(vector, 0) == registration.lens(vector)
    assert registration.seen_by(vector, 1).shift == SHIFT
    assert registration.moving((0,)) == list(range(n))
    assert registration.moving((1,)) == registration.moving((0, 1)) == list(range(n + 2))
    assert len(Registration(registration.parameters, 2)) == n  # offsets that are not fitted
    three = Registration(registration.parameters, 3, 0.1)
    assert three.moving((2,)) == [*range(n), n + 2, n + 3]


def test_prior_on_offsets(registration, vector):
    residuals, rows = registration.prior_residuals(vector)
    np.testing.assert_allclose(residuals[-2:], [0.4, -0.3])
    h = 1e-6
    for k, step in enumerate(h * np.eye(len(vector))):
        change = registration.prior_residuals(vector + step)[0] - residuals
        np.testing.assert_allclose(rows[:, k], change / h, atol=1e-3)
    alone = Registration(registration.parameters)
    assert registration.log_prior_norm - alone.log_prior_norm == pytest.approx(np.log(2 * np.pi * 0.1**2))


def problems(exposures, registration, *, one_source):
    groups = [((0, 1), exposures)] if one_source else [((k,), (each,)) for k, each in enumerate(exposures)]
    return [Problem(group, places, 1, registration, GradientPrior()) for places, group in groups]


def begun(problem, vector):
    """The inversion of a problem with all modes of a small source."""
    lens = problem.lens(vector)
    grid = problem.light_grid(lens, 1.0)
    camera = problem.camera(lens, grid)
    prior = SourcePrior(GradientPrior().precision(grid.shape))
    rng = np.random.default_rng(1)
    basis = SourceBasis.of(prior, camera, camera.lensing(lens), prior.amplitude.size, rng)
    return invert(camera, basis, lens, 3.0), prior


@pytest.mark.parametrize("one_source", [False, True], ids=["bands", "exposures"])
def test_gradient_is_that_of_the_joint_cost(exposures, registration, vector, one_source, monkeypatch):
    monkeypatch.setattr(marginal, "_DRAWS", 1000)
    parts = problems(exposures, registration, one_source=one_source)
    h = 1e-3 * registration.spread
    start = vector + 3 * h
    inversions = [begun(problem, start)[0] for problem in parts]

    def cost(where):
        found = [
            invert(old.camera, old.basis, problem.lens(where), 3.0)
            for problem, old in zip(parts, inversions, strict=True)
        ]
        return refine._total(registration, where, found)

    gradient, information = refine._slopes(parts, start, inversions, 3)
    expected = [(cost(start + e) - cost(start - e)) / (2 * e.sum()) for e in np.diag(h)]
    # in units of the standard deviation of each
    scale = np.sqrt(np.diag(information))
    np.testing.assert_allclose(gradient / scale, expected / scale, atol=0.1)
    assert np.linalg.eigvalsh(information).min() > 0


def test_a_stack_and_its_adjoint(exposures, registration, vector):
    (problem,) = problems(exposures, registration, one_source=True)
    lenses = problem.lens(vector)
    camera = problem.camera(lenses, problem.light_grid(lenses, 1.0))
    matrices = camera.lensing(lenses)
    rng = np.random.default_rng(3)
    sources = rng.standard_normal((3, matrices[0].shape[1])).astype(np.float32)
    data = rng.standard_normal((camera.data.size, 3)).astype(np.float32)
    there, back = camera.observe(matrices, sources), camera.adjoint(matrices, data)
    np.testing.assert_allclose(np.sum(there * data), np.sum(back * sources), rtol=1e-3)
    # both see the same, as the shift makes up for the coordinates that are off
    first, second = camera.pieces(there)
    whole = first[:, 0].reshape(exposures[0].part.shape)[1:, 2:].ravel()
    np.testing.assert_allclose(second[:, 0], whole, atol=2e-3 * np.abs(whole).max())
    assert camera.others.shape == (camera.data.size, 0)


def test_cost_of_one_source_is_its_marginal_likelihood(exposures, registration, vector):
    (problem,) = problems(exposures, registration, one_source=True)
    found, prior = begun(problem, vector)
    camera = found.camera
    root = camera.observe(camera.lensing(found.lens), prior.source(np.eye(prior.amplitude.size))).astype(
        float
    )
    covariance = np.eye(len(camera.data)) + root @ root.T / 3.0
    expected = multivariate_normal(cov=covariance).logpdf(camera.data)
    expected += 0.5 * camera.constant + 0.5 * len(camera.data) * np.log(2 * np.pi)
    assert -found.cost == pytest.approx(expected, abs=2e-2)


def test_foreground_of_each_stays_with_it(small, registration, vector):
    parts = np.random.default_rng(0).uniform(0, 1, (2, *small.shape))
    exposures = (Exposure.of(small, parts, 1.0), Exposure.of(small, None, 1.0))
    (problem,) = problems(exposures, registration, one_source=True)
    lenses = problem.lens(vector)
    camera = problem.camera(lenses, problem.light_grid(lenses, 1.0))
    n = small.data.size
    assert camera.others.shape == (2 * n, 3)  # with the sky
    assert not camera.others[n:].any()
    assert camera.others[:n].all()


def test_the_clearest_says_where_the_light_is(exposures, registration, vector):
    faint = replace(exposures[0].observation, weights=0.01 * exposures[0].observation.weights)
    both = (Exposure.of(faint, None, 1.0), exposures[1])
    (problem,) = problems(both, registration, one_source=True)
    assert problem.clearest is exposures[1]
    assert problem.side == exposures[1].part.grid.side_arcsec
    lenses = problem.lens(vector)
    assert problem.gathering(lenses) < 0.5
