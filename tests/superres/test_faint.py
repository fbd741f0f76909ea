"""The mean brightness of pixels that are too faint to be measured one by one."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest

from lenssuper import SIS, ForwardModel, Observation, PixelGrid, SuperResolution
from lenssuper.simulate import GaussianSource, mock_lens
from lenssuper.simulate.instruments import BENCHMARK
from lenssuper.solvers import Posterior
from lenssuper.superres.faint import faint_light

LENS = SIS(theta_E=0.7 * u.arcsec)
GRID = PixelGrid((20, 24), 0.06 * u.arcsec)
# what a source estimate is wrong by, in its faint pixels inside and outside of the aperture
INSIDE, OUTSIDE = 0.3, -0.2


@pytest.fixture(scope="module")
def case():
    """Observation without noise on the grid of sources, the source, and what is known of it."""
    mock = mock_lens(
        LENS,
        GaussianSource(0.1 * u.arcsec, x=0.1 * u.arcsec, y=0.03 * u.arcsec),
        BENCHMARK,
        shape=(36, 32),
        peak_snr=30,
        rng=1,
    )
    observation = Observation.of(mock.observation)
    model = ForwardModel(observation, LENS, source_grid=GRID)
    source = mock.source_image(GRID)
    observation = observation.with_data(model.forward(source))
    std = np.where(source > 0.05 * source.max(), 0.02, 2.0) * source.max()
    inside = np.zeros(GRID.shape, dtype=bool)
    inside[4:16, 5:19] = True
    return observation, source, std, inside


def wrong(source, std, inside):
    faint = source < std
    return source + np.where(faint, np.where(inside, INSIDE, OUTSIDE) * source.max() * 0.01, 0.0)


def test_error_of_a_source_is_found(case):
    """Without noise exactly, whatever it is outside of the aperture."""
    observation, source, std, inside = case
    model = ForwardModel(observation, LENS, source_grid=GRID)
    (faint, _), (correction, _), _ = faint_light(model, wrong(source, std, inside), std, inside)
    np.testing.assert_array_equal(faint, (source < std) & inside & (model.lensing.coverage > 0))
    np.testing.assert_allclose(correction, -0.01 * INSIDE * source.max(), rtol=1e-5)


def test_error_is_the_scatter_over_noise(case):
    observation, source, std, inside = case
    estimate = wrong(source, std, inside)
    model = ForwardModel(observation, LENS, source_grid=GRID)
    sigma, rng, found = 1 / np.sqrt(model.weights), np.random.default_rng(2), []
    for _ in range(150):
        noisy = model.with_data(model.data + sigma * rng.normal(size=sigma.shape))
        _, (correction, _), covariance = faint_light(noisy, estimate, std, inside)
        found.append(correction)
    # 150 numbers have a standard deviation to 6%, and a mean to 8% of it
    error = np.sqrt(covariance[0, 0])
    np.testing.assert_allclose(np.std(found), error, rtol=0.2)
    np.testing.assert_allclose(np.mean(found), -0.01 * INSIDE * source.max(), atol=0.3 * error)


def test_nothing_faint_is_not_corrected(case):
    observation, source, std, inside = case
    model = ForwardModel(observation, LENS, source_grid=GRID)
    faint, correction, covariance = faint_light(model, source, std, inside & (source > std))
    assert not faint[0].any()
    assert correction[0] == covariance[0, 0] == 0


def test_flux_is_right_although_the_source_is_too_bright_where_it_is_dark(case):
    """With draws that are as wrong and all alike: their flux has the error of the faint part alone."""
    observation, source, std, _ = case
    model = ForwardModel(observation, LENS, source_grid=GRID)
    scale = source.max()
    estimate = source + np.where(source < std, 0.01 * scale, 0.0)
    draws = np.stack([estimate] * 200)
    result = SuperResolution.from_posterior(model, Posterior(mean=estimate, std=std, draws=draws))
    truth, naive = (result.measure_sources(each)["flux"][0].value for each in (source, estimate))
    found = result.measure_draws()["flux"].value
    (faint, _), _, covariance = faint_light(model, estimate, std, result.aperture)
    error = np.sqrt(covariance[0, 0])
    error *= faint.sum() * GRID.area_arcsec2 / observation.grid.area_arcsec2
    assert naive > 1.02 * truth
    np.testing.assert_allclose(np.mean(found), truth, atol=0.3 * error)
    np.testing.assert_allclose(np.std(found), error, rtol=0.2)
