"""The noise of an image: measured in its sky, made from an exposure time, held against a map."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.ndimage import convolve1d

from lenssuper import Observation, PixelGrid
from lenssuper.exceptions import ObservationError
from lenssuper.preparation import measure_sky, noise_map, rescale_noise

SHAPE = (120, 120)


def galaxy(flux=400.0, width=5.0, shape=SHAPE):
    y, x = np.mgrid[: shape[0], : shape[1]]
    r = np.hypot(x - shape[1] / 2, y - shape[0] / 2)
    return flux * np.exp(-r / width)


def observe(data, sigma):
    sigma = np.broadcast_to(sigma, data.shape).copy()
    ccd = CCDData(data, unit="electron / s", uncertainty=StdDevUncertainty(sigma))
    return Observation.from_nddata(ccd, grid=PixelGrid(data.shape, 0.1 * u.arcsec))


@pytest.mark.parametrize("seed", range(4))
def test_sky_under_a_galaxy(seed):
    rng = np.random.default_rng(seed)
    sky = measure_sky(galaxy() + 7.0 + rng.normal(0, 2.0, SHAPE))
    assert sky.level == pytest.approx(7.0, abs=0.25)
    assert sky.rms == pytest.approx(2.0, rel=0.03)
    # clipping alone would take 1.5% off, three times the error of so many pixels
    wide = np.random.default_rng(8).normal(0, 2.0, (200, 200))
    assert measure_sky(wide).rms == pytest.approx(2.0, rel=0.008)
    assert not sky.pixels[50:70, 50:70].any()
    assert sky.pixels.sum() > 2000


def test_a_gradient_is_not_noise():
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 3, SHAPE[1])
    assert measure_sky(ramp + rng.normal(0, 1.0, SHAPE)).rms == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_the_outskirts_of_a_galaxy_that_fills_a_cutout_are_not_noise(seed):
    y, x = np.mgrid[-32:32, -32:32] + 0.5
    # a de Vaucouleurs galaxy; around the mean of 25 x 25 pixels its light alone makes a scatter of 2.6
    galaxy = 60 * np.exp(-7.67 * ((np.hypot(x, y) / 14) ** 0.25 - 1))
    rms = measure_sky(galaxy + np.random.default_rng(seed).normal(0, 1.0, galaxy.shape)).rms
    assert rms == pytest.approx(1.0, rel=0.05)  # 2000 pixels: three standard errors


def test_sky_ignores_masked_and_broken_pixels():
    rng = np.random.default_rng(2)
    data = rng.normal(0, 1.0, SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :20] = True
    data[mask] = 1e6
    data[60, 60] = np.nan
    assert measure_sky(data, mask).rms == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("seed", range(3))
def test_unused_pixels_change_nothing_elsewhere(seed, broken):
    data = galaxy(flux=40.0) + np.random.default_rng(seed).normal(0, 0.1, SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[0, :2] = mask[70:73, 40] = True
    mask[:, :9] = mask[:, -3:] = True  # as beyond the edge of an image
    expected = measure_sky(np.where(mask, 0.0, data), mask)
    sky = measure_sky(np.where(mask, broken, data), mask)
    assert sky.level == pytest.approx(expected.level, rel=1e-9)
    assert sky.rms == pytest.approx(expected.rms, rel=1e-9)
    assert sky.rms == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(sky.pixels, expected.pixels)


@pytest.mark.parametrize("data", [np.ones((10, 10)), np.full((64, 64), np.nan)])
def test_without_sky_is_an_error_that_says_what_to_do(data):
    with pytest.raises(ObservationError, match=r"rms="):
        measure_sky(data)


def test_noise_map_is_what_photons_do():
    """Electrons are drawn, turned into the unit of the data, and their scatter compared with the map."""
    rng = np.random.default_rng(3)
    light, seconds, per_adu = galaxy(), 50.0, 1.6  # adu / s
    electrons = rng.poisson(light * seconds * per_adu, size=(400, *SHAPE))
    images = electrons / (seconds * per_adu) + rng.normal(0, 0.8, size=electrons.shape)
    expected = images.std(axis=0)[55:65, 55:65]
    sigma = noise_map(
        light, 0.8, unit=u.adu / u.s, exposure_time=seconds * u.s, gain=per_adu * u.electron / u.adu
    )
    assert np.mean(sigma[55:65, 55:65] / expected) == pytest.approx(1, abs=0.02)
    assert sigma[0, 0] == pytest.approx(np.hypot(0.8, np.sqrt(light[0, 0] / 80)), rel=0.05)


def test_noise_map_does_not_follow_the_noise():
    """Weights that favour pixels which noise made darker would pull the mean of a flat field down."""
    rng = np.random.default_rng(4)
    flat = rng.poisson(9.0, size=(200, 200)).astype(float)
    own = 1 / np.maximum(flat, 1.0)
    weights = noise_map(flat, 1e-3, unit=u.electron, gain=1 * u.dimensionless_unscaled) ** -2
    biased = np.sum(own * flat) / own.sum() - flat.mean()
    assert abs(np.sum(weights * flat) / weights.sum() - flat.mean()) < 0.2 * abs(biased)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rms": -1.0}, "rms must be positive"),
        ({"rms": np.ones(3)}, "shape of the data"),
        ({"rms": 1.0, "exposure_time": -3 * u.s}, "exposure_time must be positive"),
        ({"rms": 1.0, "exposure_time": 3 * u.s, "unit": u.adu}, "must be electrons"),
        ({"rms": 1.0, "gain": 2 * u.electron / u.adu, "unit": u.MJy / u.sr}, "must be electrons"),
    ],
)
def test_noise_map_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise_map(np.ones((4, 4)), **arguments)
    with pytest.raises(TypeError, match="exposure_time must be a Quantity"):
        noise_map(np.ones((4, 4)), 1.0, exposure_time=100)


@pytest.mark.parametrize("factor", [0.4, 1.6])
def test_map_is_scaled_to_the_sky(factor):
    rng = np.random.default_rng(5)
    sigma = np.sqrt(1.0 + galaxy() / 30)
    data = galaxy() + rng.normal(size=SHAPE) * sigma
    observation, finding = rescale_noise(observe(data, sigma / factor))
    assert "multiplied" in finding
    np.testing.assert_allclose(observation.sigma, sigma, rtol=0.03)


def test_good_map_is_left_alone():
    data = np.random.default_rng(6).normal(size=SHAPE)
    given = observe(data, 1.0)
    observation, finding = rescale_noise(given)
    assert observation is given
    assert "agrees" in finding


def test_floor_is_found_and_replaced():
    """A map cut off from below says too much of the sky and the right thing of the bright core."""
    rng = np.random.default_rng(7)
    light = galaxy(flux=2000.0)
    sigma = np.sqrt(0.3**2 + 0.004 * light)
    data = light + rng.normal(size=SHAPE) * sigma
    observation, finding = rescale_noise(observe(data, np.maximum(sigma, 1.0)))
    assert "replaced" in finding
    np.testing.assert_allclose(np.median(observation.sigma / sigma), 1, atol=0.03)
    core = light > 500
    np.testing.assert_allclose(np.median((observation.sigma / sigma)[core]), 1, atol=0.03)


def test_photon_noise_is_spread_by_drizzling_too():
    """Above its floor the map has the noise before it was spread over neighbours."""
    rng = np.random.default_rng(7)
    light = galaxy(flux=2000.0)
    before = np.sqrt(0.3**2 + 0.004 * light)
    kernel = np.array([0.1, 0.8, 0.1])
    noise = rng.normal(size=SHAPE) * before
    for axis in (0, 1):
        noise = convolve1d(noise, kernel, axis=axis, mode="wrap")
    after = before * np.sum(kernel**2)  # the same factor for both axes, each of them its square root
    observation, finding = rescale_noise(observe(light + noise, np.maximum(before, 1.0)))
    assert "correlation" in finding
    core = light > 500
    np.testing.assert_allclose(np.median((observation.sigma / after)[core]), 1, atol=0.15)
    np.testing.assert_allclose(np.median(observation.sigma / after), 1, atol=0.05)
