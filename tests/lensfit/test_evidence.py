"""The evidence with the source integrated out, against dense linear algebra and finite differences."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import NDData, StdDevUncertainty
from scipy import ndimage
from scipy.stats import multivariate_normal

from lenssuper import SIE, ForwardModel, Observation, PixelGrid
from lenssuper.forward.model import blur_of
from lenssuper.lensfit import evidence
from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.evidence import SourceBasis, SourcePrior, invert
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.lensedsource import LensedSource, SourcePlane
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.registration import Registration
from lenssuper.lensfit.sourceplane import envelope, gathering, light_grid, moved_to
from lenssuper.operators import SplineSampling
from lenssuper.operators.boxed import product_in_box
from lenssuper.operators.splines import spline_image
from lenssuper.solvers import GradientPrior


@pytest.fixture(scope="module")
def small(mock):
    return Observation.from_nddata(mock.observation)[5:23, 6:23]


# what neighbouring pixels share of their noise
SHARED = np.array([[0.05, 0.3, 0.05], [0.3, 1.0, 0.3], [0.05, 0.3, 0.05]])


@pytest.fixture(scope="module", params=[None, SHARED], ids=["independent", "shared"])
def covariance(request):
    return request.param


def exposure_of(observation, covariance=None):
    noise = 1.0 if covariance is None else covariance
    return Exposure.of(replace(observation, noise_given=noise), None)


def plane_of(exposure, lens, finer):
    """The source plane of one observation, by the parameters of a lens."""
    source = LensedSource((exposure,), (0,), 1, Registration(FreeParameters(lens)), GradientPrior())
    return SourcePlane(source, light_grid(exposure, lens, finer), (lens,))


@pytest.fixture(scope="module")
def exposure(small, covariance):
    return exposure_of(small, covariance)


@pytest.fixture(scope="module")
def plane(exposure, truth):
    return plane_of(exposure, truth, 1.3)


@pytest.fixture(scope="module")
def lensing(plane, truth):
    return plane.lensing((truth,))


@pytest.fixture(scope="module")
def prior(plane, truth):
    shape = plane.grid((truth,)).shape
    bright = np.random.default_rng(0).uniform(0.5, 2, shape)
    return SourcePrior(GradientPrior().precision(shape), bright)


def full_basis(plane, prior, lens):
    rng = np.random.default_rng(1)
    return SourceBasis.of(prior, plane, plane.lensing((lens,)), prior.amplitude.size, rng)


def test_camera_is_the_forward_model(plane, lensing, small, truth, covariance):
    grid, (camera,) = plane.grid((truth,)), plane.source.cameras
    coefficients = ndimage.gaussian_filter(
        np.random.default_rng(2).uniform(0, 1, grid.shape), 1.5, mode="constant"
    )
    image = plane.observe(lensing, coefficients.reshape(1, -1))[:, 0]
    finer = grid.pad(3).refine(3)
    model = ForwardModel(small, truth, factor=1, source_grid=finer).with_noise_covariance(covariance)
    expected = model.whiten(model.forward(spline_image(coefficients, grid, finer))).ravel()
    error = np.abs(image - expected) / image.max()
    # two rays by two in a pixel are not its mean where the lens is torn
    assert error.max() < 0.05
    assert np.median(error) < 0.003
    # on the same operator nothing but the precision differs
    model = ForwardModel(small, truth, factor=1, source_grid=grid, lensing=SplineSampling)
    expected = model.with_noise_covariance(covariance).whitened.forward(coefficients).ravel()
    np.testing.assert_allclose(image, expected, atol=1e-5 * image.max())
    model = model.with_noise_covariance(covariance)
    np.testing.assert_allclose(camera.data, model.whiten(model.data).ravel(), atol=1e-10)
    np.testing.assert_allclose(
        camera.unwhitened(camera.data), model.over_sigma(model.data).ravel(), atol=1e-10
    )
    assert plane.source.constant == pytest.approx(2 * model.log_norm)


def test_camera_and_its_adjoint(plane, lensing):
    rng = np.random.default_rng(3)
    (camera,), (operator,) = plane.source.cameras, lensing
    sources = rng.standard_normal((3, operator.shape[1])).astype(np.float32)
    data = rng.standard_normal((plane.source.data.size, 3)).astype(np.float32)
    there, back = plane.observe(lensing, sources), plane.adjoint(lensing, data)
    np.testing.assert_allclose(np.sum(there * data), np.sum(back * sources), rtol=1e-3)
    images = operator.forward(sources.reshape(-1, *operator.in_shape))
    np.testing.assert_allclose(camera.observe(images), there, rtol=1e-5, atol=1e-5)


def test_sources_that_light_a_part_of_the_field(covariance):
    # the same with and without the box; a compact source leaves most of the field dark
    observation = simulated_field()
    camera = Camera(exposure_of(observation, covariance), 2)
    source_grid = PixelGrid(shape=(12, 10), pixel_scale=0.02 * u.arcsec, center=(0.1, 0.05) * u.arcsec)
    operator = SplineSampling(
        SIE(theta_E=0.5 * u.arcsec, q=0.8, phi=20 * u.deg), camera.image_grid, source_grid
    )
    rng = np.random.default_rng(6)
    sources = rng.standard_normal((18, *operator.in_shape)).astype(np.float32)
    data = rng.standard_normal((len(camera.data), 18)).astype(np.float32)
    assert product_in_box(blur_of(observation, 2), operator) is not None
    boxed = camera.observe(sources, operator), camera.adjoint(data, operator)
    whole = camera.observe(operator.forward(sources)), operator.adjoint(camera.adjoint(data))
    for part, expected in zip(boxed, whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-5 * np.abs(expected).max())


def simulated_field():
    psf = np.outer(*[np.exp(-(np.arange(-5, 6) ** 2) / 4)] * 2)
    image = NDData(
        np.random.default_rng(5).standard_normal((70, 64)),
        uncertainty=StdDevUncertainty(np.ones((70, 64))),
        psf=psf / psf.sum(),
    )
    grid = PixelGrid(shape=(70, 64), pixel_scale=0.05 * u.arcsec)
    return Observation.from_nddata(image, grid=grid)


def test_slopes_are_those_of_the_light(plane, lensing, truth):
    parameters = FreeParameters(truth)
    rng = np.random.default_rng(4)
    sources = ndimage.gaussian_filter(rng.uniform(0, 1, (2, *lensing[0].in_shape)), (0, 1, 1)).reshape(2, -1)
    weights = rng.standard_normal((len(plane.source.data), 2))
    h = 1e-3 * parameters.spread
    lenses = [plane.source.lenses(parameters.start + 1e-2 * e) for e in np.diag(h)]
    slopes, sums = plane.derivatives(
        lensing, zip(lenses, 1e-2 * h, strict=True), sources[0], sources, weights
    )
    for slope, total, e in zip(slopes.T, sums, np.diag(h), strict=True):
        low, high = (plane.source.lenses(parameters.start + sign * e) for sign in (-1, 1))
        ends = [plane.observe(plane.lensing(each), sources).astype(float) for each in (low, high)]
        expected = (ends[1] - ends[0]) / (2 * e.sum())
        np.testing.assert_allclose(slope, expected[:, 0], atol=0.02 * np.abs(expected).max())
        assert total == pytest.approx(np.vdot(weights, expected), abs=0.02 * np.linalg.norm(expected))


def test_cost_is_the_marginal_likelihood(plane, lensing, prior, truth):
    source = plane.source
    found = invert(plane, full_basis(plane, prior, truth), (truth,), 3.0)
    root = plane.observe(lensing, prior.source(np.eye(prior.amplitude.size))).astype(float)
    covariance = np.eye(len(source.data)) + root @ root.T / 3.0
    # per pixel of data in units of the noise; the constant of the units comes on top
    expected = multivariate_normal(cov=covariance).logpdf(source.data)
    expected += 0.5 * source.constant + 0.5 * len(source.data) * np.log(2 * np.pi)
    assert -found.cost == pytest.approx(expected, abs=1e-2)


def test_strength_is_where_the_evidence_is_largest(plane, prior, truth):
    basis = full_basis(plane, prior, truth)
    best = invert(plane, basis, (truth,), 1.0, tune=60)
    for factor in (0.8, 1.25):
        assert invert(plane, basis, (truth,), factor * best.strength).cost > best.cost
    # MacKay 1992, eq. 4.9
    size = best.strength * float(best.coefficients @ best.coefficients)
    assert size == pytest.approx(best.modes, rel=1e-2)


def test_gradient_is_that_of_the_cost(plane, prior, truth, monkeypatch):
    monkeypatch.setattr(evidence, "_DRAWS", 1000)
    parameters, lenses = FreeParameters(truth), plane.source.lenses
    basis = full_basis(plane, prior, truth)
    h = 1e-3 * parameters.spread
    start = parameters.start + 3 * h
    found = invert(plane, basis, lenses(start), 3.0)
    directions = [(lenses(start + 1e-2 * e), 1e-2 * e.sum()) for e in np.diag(h)]
    gradient, information = found.derivatives(directions, np.random.default_rng(3))

    def cost(vector):
        return invert(plane, basis, lenses(vector), 3.0).cost

    expected = [(cost(start + e) - cost(start - e)) / (2 * e.sum()) for e in np.diag(h)]
    sigma = 1 / np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(gradient, expected, atol=0.1 * np.max(np.sqrt(np.diag(information))))
    assert (sigma > 0).all()
    assert np.linalg.eigvalsh(information).min() > 0


def test_few_modes_are_as_good_as_all(plane, lensing, prior, truth):
    every = invert(plane, full_basis(plane, prior, truth), (truth,), 30.0)
    few = SourceBasis.of(prior, plane, lensing, int(2.5 * every.modes), np.random.default_rng(1))
    some = invert(plane, few, (truth,), 30.0)
    assert len(some.coefficients) < 0.9 * prior.amplitude.size
    assert some.cost == pytest.approx(every.cost, abs=1.0)
    assert np.max(np.abs(some.source - every.source)) < 0.1 * every.source.max()


def test_grid_goes_along_with_the_lens(plane, exposure, truth):
    moved = truth.replace(**{"ExternalShear.gamma1": 0.06, "SIE.x": 0.06 * u.arcsec})
    x, y, weights = exposure.light

    def pixels(lens, grid):
        return np.array(grid.to_pixel(*lens.rays_arcsec(x, y)))

    before = pixels(truth, plane.grid((truth,)))
    along = pixels(moved, plane.grid((moved,)))
    stayed = pixels(moved, plane.grid((truth,)))
    shift = np.average(stayed - before, weights=weights, axis=1)
    assert np.abs(np.average(along - before, weights=weights, axis=1)).max() < 1e-6 < np.abs(shift).max()
    assert np.std(along - before) < np.std(stayed - before)


def test_source_on_another_grid(small, truth):
    grid = light_grid(exposure_of(small), truth, 2.0)
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    moved = moved_to(grid.refine(2), x + 2 * y, grid)
    x, y = np.broadcast_arrays(*grid.refine(2).centers_arcsec())
    np.testing.assert_allclose(moved[2:-2, 2:-2], (x + 2 * y)[2:-2, 2:-2], atol=1e-9)


def test_envelope_is_where_the_light_is(small, truth):
    grid = light_grid(exposure_of(small), truth, 2.0)
    source = np.zeros(grid.shape)
    source[8, 9] = 5.0
    bright = envelope(source, grid, small.grid.side_arcsec)
    assert np.unravel_index(bright.argmax(), bright.shape) == (8, 9)
    assert bright.max() == pytest.approx(1.02)
    assert bright.min() == pytest.approx(0.02, abs=1e-3)
    np.testing.assert_allclose(envelope(0 * source, grid, 0.1), 1.02)


def test_masked_pixels_do_not_count(small, truth):
    mask = small.mask.copy()
    mask[3:6, 4:9] = True
    data = np.where(mask, 1e6, small.data)
    masked = replace(small, data=data, weights=np.where(mask, 0, small.weights), mask=mask)
    (camera,) = plane_of(exposure_of(masked), truth, 1.0).source.cameras
    assert camera.data.size == np.count_nonzero(~mask)
    assert np.abs(camera.data).max() < 1e3


def test_light_gathers_behind_the_right_lens(small, truth):
    exposure = exposure_of(small)
    right = gathering(exposure, truth)
    assert right < 0.4
    assert gathering(exposure, truth.replace(**{"SIE.theta_E": 0.4 * u.arcsec})) > 0.5
    assert gathering(exposure, truth.replace(**{"SIE.theta_E": 1.1 * u.arcsec})) > right
    none = truth.replace(
        **{"SIE.theta_E": 0 * u.arcsec, "ExternalShear.gamma1": 0, "ExternalShear.gamma2": 0}
    )
    assert gathering(exposure, none) == pytest.approx(1)


def test_the_data_beyond_the_field_count_as_dark(small, covariance):
    whole = exposure_of(small, covariance)
    field = whole.within((0.0, 0.0), 0.7)
    assert 0 < field.field.sum() < whole.field.sum()
    camera, part = (Camera(each, 1) for each in (whole, field))
    # with no light at all, the likelihood is that of all data, whatever the field
    dark = [each.constant - each.data @ each.data for each in (camera, part)]
    assert dark[1] == pytest.approx(dark[0], abs=1e-8)
    assert len(part.data) == field.field.sum()
    assert whole.beyond_field == 0
