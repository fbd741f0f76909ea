"""The evidence with the source integrated out, against dense linear algebra and finite differences."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.stats import multivariate_normal

from lenssuper import ForwardModel, Observation
from lenssuper.forward.whitening import Whitener
from lenssuper.lensfit import _splines, marginal
from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.marginal import SourceBasis, SourcePrior, invert
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.sourceplane import envelope, gathering, light_grid, moved_to, spline_image
from lenssuper.observation.noise import lit_pixels
from lenssuper.solvers import GradientPrior


@pytest.fixture(scope="module")
def small(mock):
    return Observation.from_nddata(mock.observation)[5:23, 6:23]


# what neighbouring pixels share of their noise
SHARED = np.array([[0.05, 0.3, 0.05], [0.3, 1.0, 0.3], [0.05, 0.3, 0.05]])


@pytest.fixture(scope="module", params=[None, SHARED], ids=["independent", "shared"])
def covariance(request):
    return request.param


@pytest.fixture(scope="module")
def camera(small, truth, covariance):
    lit = lit_pixels(small)
    grid = light_grid(small, truth, lit, 1.3)
    whitener = None if covariance is None else Whitener(small.weights > 0, covariance)
    return Camera(small, small.weights, lit, 1, truth, grid, whitener=whitener)


@pytest.fixture(scope="module")
def prior(camera, truth):
    shape = camera.source_grid(truth).shape
    bright = np.random.default_rng(0).uniform(0.5, 2, shape)
    return SourcePrior(GradientPrior().precision(shape), bright)


def full_basis(camera, prior, lens):
    rng = np.random.default_rng(1)
    return SourceBasis.of(prior, camera, camera.lensing(lens), prior.amplitude.size, rng)


def test_camera_is_the_forward_model(camera, small, truth, covariance):
    grid = camera.source_grid(truth)
    coefficients = ndimage.gaussian_filter(
        np.random.default_rng(2).uniform(0, 1, grid.shape), 1.5, mode="constant"
    )
    image = camera.observe(camera.lensing(truth), coefficients.reshape(1, -1))[:, 0]
    finer = grid.pad(3).refine(3)
    model = ForwardModel(small, truth, factor=1, source_grid=finer).with_noise_covariance(covariance)
    expected = model.whiten(model.forward(spline_image(coefficients, grid, finer))).ravel()
    error = np.abs(image - expected) / image.max()
    # two rays by two in a pixel are not its mean where the lens is torn
    assert error.max() < 0.05
    assert np.median(error) < 0.003
    np.testing.assert_allclose(camera.data, model.whiten(model.data).ravel(), atol=1e-10)
    (back,) = camera.pieces(camera.data)
    np.testing.assert_allclose(back, model.over_sigma(model.data).ravel(), atol=1e-10)
    assert camera.constant == pytest.approx(2 * model.log_norm)


def test_camera_and_its_adjoint(camera, truth):
    rng = np.random.default_rng(3)
    matrix = camera.lensing(truth)
    sources = rng.standard_normal((3, matrix.shape[1])).astype(np.float32)
    data = rng.standard_normal((camera.data.size, 3)).astype(np.float32)
    there, back = camera.observe(matrix, sources), camera.adjoint(matrix, data)
    np.testing.assert_allclose(np.sum(there * data), np.sum(back * sources), rtol=1e-3)
    np.testing.assert_allclose(camera.expose(matrix @ sources[1]), there[:, 1], rtol=1e-5, atol=1e-5)


def test_splines_add_up_to_one_and_are_dark_outside(camera, truth):
    grid = camera.source_grid(truth)
    ones = spline_image(np.ones(grid.shape), grid, grid.refine(2))
    np.testing.assert_allclose(ones[4:-4, 4:-4], 1, rtol=1e-6)
    assert np.all(ones[0] < 0.8)
    # a straight line comes out as it is
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    fine_x, fine_y = np.broadcast_arrays(*grid.refine(2).centers_arcsec())
    line = spline_image(x - 2 * y, grid, grid.refine(2))
    np.testing.assert_allclose(line[4:-4, 4:-4], (fine_x - 2 * fine_y)[4:-4, 4:-4], atol=1e-6)


def test_a_torn_pixel_counts_as_much_as_any(truth):
    # rays that land further apart than weights are added up in
    columns, rows = np.array([[3.2, 40.7, 8.0, 200.0]]), np.array([[5.1, 30.3, 7.0, 5.0]])
    data, indices, pointer = _splines.weights(columns, rows, (50, 60))
    assert data.sum() == pytest.approx(0.75, rel=1e-6)
    assert pointer[-1] == len(indices) == 48
    together = sparse.csr_array((data, indices, pointer), shape=(1, 3000)).toarray()
    alone = sum(
        sparse.csr_array(_splines.weights(c[None], r[None], (50, 60)), shape=(1, 3000)).toarray()
        for c, r in zip(columns.T, rows.T, strict=True)
    )
    np.testing.assert_allclose(together, alone / 4, rtol=1e-5, atol=1e-7)


def test_slopes_are_those_of_the_light(camera, truth):
    parameters = FreeParameters(truth)
    rng = np.random.default_rng(4)
    sources = ndimage.gaussian_filter(rng.uniform(0, 1, camera.source_grid(truth).shape), 1.0).reshape(1, -1)
    h = 1e-3 * parameters.spread
    directions = [(parameters.lens(parameters.start + 1e-2 * e), 1e-2 * e.sum()) for e in np.diag(h)]
    for slope, e in zip(camera.slopes(truth, directions, sources.T), np.diag(h), strict=True):
        low, high = (parameters.lens(parameters.start + sign * e) for sign in (-1, 1))
        ends = [camera.observe(camera.lensing(lens), sources).astype(float) for lens in (low, high)]
        expected = (ends[1] - ends[0]) / (2 * e.sum())
        np.testing.assert_allclose(slope, expected, atol=0.02 * np.abs(expected).max())


def test_cost_is_the_marginal_likelihood(camera, prior, truth):
    basis = full_basis(camera, prior, truth)
    found = invert(camera, basis, truth, 3.0)
    root = camera.observe(camera.lensing(truth), prior.source(np.eye(prior.amplitude.size))).astype(float)
    covariance = np.eye(len(camera.data)) + root @ root.T / 3.0
    # per pixel of data in units of the noise; the constant of the units comes on top
    expected = multivariate_normal(cov=covariance).logpdf(camera.data)
    expected += 0.5 * camera.constant + 0.5 * len(camera.data) * np.log(2 * np.pi)
    assert -found.cost == pytest.approx(expected, abs=1e-2)


def test_strength_is_where_the_evidence_is_largest(camera, prior, truth):
    basis = full_basis(camera, prior, truth)
    best = invert(camera, basis, truth, 1.0, tune=60)
    for factor in (0.8, 1.25):
        assert invert(camera, basis, truth, factor * best.strength).cost > best.cost
    # MacKay 1992, eq. 4.9
    size = best.strength * float(best.coefficients @ best.coefficients)
    assert size == pytest.approx(best.modes, rel=1e-2)


def test_gradient_is_that_of_the_cost(camera, prior, truth, monkeypatch):
    monkeypatch.setattr(marginal, "_DRAWS", 1000)
    parameters = FreeParameters(truth)
    basis = full_basis(camera, prior, truth)
    h = 1e-3 * parameters.spread
    start = parameters.start + 3 * h
    found = invert(camera, basis, parameters.lens(start), 3.0)
    pairs = [(parameters.lens(start - e), parameters.lens(start + e), 2 * e.sum()) for e in np.diag(h)]
    directions = [(parameters.lens(start + 1e-2 * e), 1e-2 * e.sum()) for e in np.diag(h)]
    gradient, information = found.derivatives(directions, np.random.default_rng(3))
    costs = [[invert(camera, basis, lens, 3.0).cost for lens in pair[:2]] for pair in pairs]
    expected = np.array([(high - low) / pair[2] for (low, high), pair in zip(costs, pairs, strict=True)])
    sigma = 1 / np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(gradient, expected, atol=0.1 * np.max(np.sqrt(np.diag(information))))
    assert (sigma > 0).all()
    assert np.linalg.eigvalsh(information).min() > 0


def test_few_modes_are_as_good_as_all(camera, prior, truth):
    matrix = camera.lensing(truth)
    every = invert(camera, full_basis(camera, prior, truth), truth, 30.0)
    few = SourceBasis.of(prior, camera, matrix, int(2.5 * every.modes), np.random.default_rng(1))
    some = invert(camera, few, truth, 30.0)
    assert len(some.coefficients) < 0.9 * prior.amplitude.size
    assert some.cost == pytest.approx(every.cost, abs=1.0)
    assert np.max(np.abs(some.source - every.source)) < 0.1 * every.source.max()


def test_grid_goes_along_with_the_lens(camera, small, truth):
    moved = truth.replace(**{"ExternalShear.gamma1": 0.06, "SIE.x": 0.06 * u.arcsec})
    lit = lit_pixels(small)
    x, y = (v[lit] for v in np.broadcast_arrays(*small.grid.centers_arcsec()))

    def pixels(lens, grid):
        alpha_x, alpha_y = lens.deflection_arcsec(x, y)
        return np.array(grid.to_pixel(x - alpha_x, y - alpha_y))

    before = pixels(truth, camera.source_grid(truth))
    along = pixels(moved, camera.source_grid(moved))
    stayed = pixels(moved, camera.source_grid(truth))
    weights = np.maximum(small.data[lit], 0)
    shift = np.average(stayed - before, weights=weights, axis=1)
    assert np.abs(np.average(along - before, weights=weights, axis=1)).max() < 1e-6 < np.abs(shift).max()
    assert np.std(along - before) < np.std(stayed - before)


def test_source_on_another_grid(small, truth):
    grid = light_grid(small, truth, lit_pixels(small), 2.0)
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    moved = moved_to(grid.refine(2), x + 2 * y, grid)
    x, y = np.broadcast_arrays(*grid.refine(2).centers_arcsec())
    np.testing.assert_allclose(moved[2:-2, 2:-2], (x + 2 * y)[2:-2, 2:-2], atol=1e-9)


def test_envelope_is_where_the_light_is(small, truth):
    grid = light_grid(small, truth, lit_pixels(small), 2.0)
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
    lit = lit_pixels(small) & ~mask
    camera = Camera(masked, masked.weights, lit, 1, truth, light_grid(small, truth, lit, 1.0))
    assert camera.data.size == np.count_nonzero(~mask)
    assert np.abs(camera.data).max() < 1e3


def test_light_gathers_behind_the_right_lens(small, truth):
    lit = lit_pixels(small)
    right = gathering(small, truth, lit)
    assert right < 0.4
    assert gathering(small, truth.replace(**{"SIE.theta_E": 0.4 * u.arcsec}), lit) > 0.5
    assert gathering(small, truth.replace(**{"SIE.theta_E": 1.1 * u.arcsec}), lit) > right
    none = truth.replace(
        **{"SIE.theta_E": 0 * u.arcsec, "ExternalShear.gamma1": 0, "ExternalShear.gamma2": 0}
    )
    assert gathering(small, none, lit) == pytest.approx(1)
