"""Observations whose coordinates are off, and several of them behind one lens: against brute force."""

import astropy.units as u
import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import multivariate_normal

from lenssuper import Observation
from lenssuper.lensfit import evidence, refine
from lenssuper.lensfit.evidence import SourceBasis, SourcePrior, invert
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.lensedsource import LensedSource, SourcePlane
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.registration import Registration, TrialLens
from lenssuper.lensfit.sourceplane import light_grid
from lenssuper.solvers import GradientPrior

SHIFT = (0.04, -0.03)


@pytest.fixture(scope="module")
def small(mock):
    return Observation.from_nddata(mock.observation, noise_correlation=1)[5:23, 6:23]


@pytest.fixture(scope="module")
def exposures(small):
    """The same data on two sets of pixels, the second with coordinates that are off."""
    moved = small.moved_by(-np.array(SHIFT) * u.arcsec)
    return tuple(Exposure.of(each, None) for each in (small, moved[1:, 2:]))


@pytest.fixture(scope="module")
def registration(truth):
    return Registration(FreeParameters(truth), 2, 0.1)


@pytest.fixture(scope="module")
def vector(registration):
    start = registration.begin(registration.parameters.start)
    start[-2:] = SHIFT
    return start


def test_a_displaced_lens_is_that_of_moved_pixels(small, truth):
    off = small.moved_by(-np.array(SHIFT) * u.arcsec)
    seen = TrialLens(truth, truth.values(), SHIFT)
    straight, moved = (Exposure.of(each, None) for each in (small, off))
    grid = light_grid(straight, truth, 1.3)
    source = ndimage.gaussian_filter(np.random.default_rng(2).uniform(0, 1, grid.shape), 1.5).reshape(1, -1)
    images = []
    for exposure, lens in ((straight, truth), (moved, seen)):
        one = LensedSource((exposure,), (0,), 1, Registration(FreeParameters(truth)), GradientPrior())
        plane = SourcePlane(one, grid, (lens,))
        images.append(plane.observe(plane.lensing((lens,)), source))
    np.testing.assert_allclose(images[1], images[0], atol=1e-4 * images[0].max())
    np.testing.assert_allclose(light_grid(moved, seen, 1.3).middle_arcsec(), grid.middle_arcsec(), atol=1e-12)


def test_vector_and_its_parts(registration, vector, truth):
    n = len(registration.parameters)
    assert len(registration) == n + 2
    assert registration.lens(vector) == registration.parameters.lens(registration.parameters.start)
    np.testing.assert_array_equal(registration.offsets(vector), [(0, 0), SHIFT])
    first, second = (registration.trial(vector, k) for k in (0, 1))
    assert first.values == second.values == pytest.approx(registration.lens(vector).values(), rel=1e-14)
    assert (first.shift, second.shift) == ((0, 0), SHIFT)
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


def sources_of(exposures, registration, *, one_source):
    groups = [((0, 1), exposures)] if one_source else [((k,), (each,)) for k, each in enumerate(exposures)]
    return [LensedSource(group, where, 1, registration, GradientPrior()) for where, group in groups]


def plane_of(source, vector):
    lenses = source.lenses(vector)
    return SourcePlane(source, source.light_grid(lenses, 1.0), lenses)


def begun(source, vector):
    """The inversion of a source with all modes of a small grid."""
    plane, lenses = plane_of(source, vector), source.lenses(vector)
    prior = SourcePrior(GradientPrior().precision(plane.grid(lenses).shape))
    rng = np.random.default_rng(1)
    basis = SourceBasis.of(prior, plane, plane.lensing(lenses), prior.amplitude.size, rng)
    return invert(plane, basis, lenses, 3.0), prior


@pytest.mark.parametrize("one_source", [False, True], ids=["bands", "exposures"])
def test_gradient_is_that_of_the_joint_cost(exposures, registration, vector, one_source, monkeypatch):
    monkeypatch.setattr(evidence, "_DRAWS", 1000)
    sources = sources_of(exposures, registration, one_source=one_source)
    h = 1e-3 * registration.spread
    start = vector + 3 * h
    inversions = [begun(source, start)[0] for source in sources]

    def cost(where):
        found = [
            invert(old.plane, old.basis, source.lenses(where), 3.0)
            for source, old in zip(sources, inversions, strict=True)
        ]
        return refine._total(registration, where, found)

    gradient, information = refine._slopes(start, inversions, 3)
    expected = [(cost(start + e) - cost(start - e)) / (2 * e.sum()) for e in np.diag(h)]
    # in units of the standard deviation of each
    scale = np.sqrt(np.diag(information))
    np.testing.assert_allclose(gradient / scale, expected / scale, atol=0.1)
    assert np.linalg.eigvalsh(information).min() > 0


def test_observations_of_one_source_and_the_adjoint(exposures, registration, vector):
    (source,) = sources_of(exposures, registration, one_source=True)
    plane = plane_of(source, vector)
    lensing = plane.lensing(source.lenses(vector))
    rng = np.random.default_rng(3)
    sources = rng.standard_normal((3, lensing[0].shape[1])).astype(np.float32)
    data = rng.standard_normal((source.data.size, 3)).astype(np.float32)
    there, back = plane.observe(lensing, sources), plane.adjoint(lensing, data)
    np.testing.assert_allclose(np.sum(there * data), np.sum(back * sources), rtol=1e-3)
    # both see the same, as the shift makes up for the coordinates that are off
    first, second = source.of_each(there)
    whole = first[:, 0].reshape(exposures[0].part.shape)[1:, 2:].ravel()
    np.testing.assert_allclose(second[:, 0], whole, atol=2e-3 * np.abs(whole).max())
    assert source.others.shape == (source.data.size, 0)


def test_cost_of_one_source_is_its_marginal_likelihood(exposures, registration, vector):
    (source,) = sources_of(exposures, registration, one_source=True)
    found, prior = begun(source, vector)
    root = found.plane.observe(found.lensing, prior.source(np.eye(prior.amplitude.size))).astype(float)
    covariance = np.eye(len(source.data)) + root @ root.T / 3.0
    expected = multivariate_normal(cov=covariance).logpdf(source.data)
    expected += 0.5 * source.constant + 0.5 * len(source.data) * np.log(2 * np.pi)
    assert -found.cost == pytest.approx(expected, abs=2e-2)


def test_foreground_of_each_stays_with_it(small, registration, vector):
    parts = np.random.default_rng(0).uniform(0, 1, (2, *small.shape))
    exposures = (Exposure.of(small, parts), Exposure.of(small, None))
    (source,) = sources_of(exposures, registration, one_source=True)
    n = small.data.size
    assert source.others.shape == (2 * n, 3)  # with the sky
    assert not source.others[n:].any()
    assert source.others[:n].all()


def test_the_clearest_says_where_the_light_is(exposures, registration, vector):
    faint = exposures[0].observation
    faint = faint.with_weights(0.01 * faint.weights)
    both = (Exposure.of(faint, None), exposures[1])
    (source,) = sources_of(both, registration, one_source=True)
    assert source.clearest is exposures[1]
    assert source.gathering(source.lenses(vector)) < 0.5
