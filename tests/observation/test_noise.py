"""Correlated noise and light, measured in the sky of an observation."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.ndimage import convolve, gaussian_filter

from lenssuper import Observation, PixelGrid
from lenssuper.observation.noise import bright_pixels, measure_covariance
from lenssuper.simulate import benchmark_set


def observe(data, sigma=1.0, mask=None):
    ccd = CCDData(data, unit="adu", uncertainty=StdDevUncertainty(np.full(data.shape, sigma)), mask=mask)
    return Observation.from_nddata(ccd, grid=PixelGrid(data.shape, 0.1 * u.arcsec))


def correlated(shape, kernel, rng):
    """Noise of unit variance, and the sum of its autocorrelation: (sum k)^2 / sum k^2."""
    kernel = kernel / np.sqrt(np.sum(kernel**2))
    return convolve(rng.normal(size=shape), kernel, mode="wrap"), np.sum(kernel) ** 2


@pytest.mark.parametrize("seed", range(5))
def test_white_noise_is_not_correlated(seed):
    noise = np.random.default_rng(seed).normal(size=(64, 64))
    assert observe(noise).noise_correlation == 1.0


@pytest.mark.parametrize(
    "kernel",
    [
        np.ones((2, 2)),
        np.array([[1, 3, 1], [3, 9, 3], [1, 3, 1]]),
        np.array([[0, 2, 0], [2, 9, 2], [0, 2, 0]]),
    ],
)
def test_sum_of_the_autocorrelation(kernel):
    noise, truth = correlated((200, 200), kernel.astype(float), np.random.default_rng(1))
    assert observe(noise).noise_correlation == pytest.approx(truth, rel=0.12)


def test_noise_map_that_is_too_large_makes_up_for_correlations():
    noise, truth = correlated((200, 200), np.ones((2, 2)), np.random.default_rng(2))
    assert observe(noise, sigma=1.4).noise_correlation == pytest.approx(truth / 1.4**2, rel=0.12)
    assert observe(noise, sigma=2.5).noise_correlation == 1.0


def test_unit_does_not_matter():
    noise, _ = correlated((100, 100), np.ones((2, 2)), np.random.default_rng(3))
    expected = observe(noise).noise_correlation
    assert expected > 3
    assert observe(1e-20 * noise, sigma=1e-20).noise_correlation == pytest.approx(expected)


@pytest.mark.parametrize("broken", [np.nan, 1e30])
def test_unused_pixels_change_neither_covariance_nor_light(broken):
    noise, _ = correlated((100, 100), np.ones((2, 2)), np.random.default_rng(3))
    noise[40:50, 40:50] += 20
    mask = np.zeros(noise.shape, dtype=bool)
    mask[0, 0] = mask[44, 30] = True
    weights = np.where(mask, 0.0, 1.0)
    clean, dirty = (np.where(mask, value, noise) for value in (0.0, broken))
    np.testing.assert_allclose(
        measure_covariance(dirty, weights, mask), measure_covariance(clean, weights, mask), rtol=1e-9
    )
    bright = bright_pixels(clean, weights, mask, 4.0)
    assert bright[40:50, 40:50].all()
    np.testing.assert_array_equal(bright_pixels(dirty, weights, mask, 4.0), bright)


def test_light_is_not_taken_for_noise():
    for mock in benchmark_set(6, seed=5):
        assert Observation.from_nddata(mock.observation).noise_correlation == 1.0


def test_gradient_is_not_taken_for_noise():
    rng = np.random.default_rng(4)
    background = 0.02 * np.add.outer(np.arange(120.0), -np.arange(120.0))
    assert observe(rng.normal(size=(120, 120)) + background - background.mean()).noise_correlation == 1.0


def test_too_little_sky_to_tell():
    noise, _ = correlated((64, 64), np.ones((2, 2)), np.random.default_rng(5))
    mask = np.ones((64, 64), dtype=bool)
    mask[:20, :20] = False
    assert observe(noise, mask=mask).noise_correlation == 1.0


@pytest.mark.parametrize("seed", [3, 4, 5, 9])
def test_light_that_fills_the_field_is_not_taken_for_noise(seed):
    """The commonest brightness is then that of the light, and what is darker or brighter looks like noise."""
    rng = np.random.default_rng(seed)
    light = 15 + 50 * gaussian_filter(rng.standard_normal((40, 40)), 2)
    y, x = np.mgrid[:40, :40] - 19.5
    observation = observe(np.where(np.hypot(x, y) < 19, light, 0.0) + rng.standard_normal((40, 40)))
    assert observation.noise_correlation == 1
    assert observation.bright.sum() > 1000


def test_masked_pixels_do_not_count():
    rng = np.random.default_rng(6)
    data = rng.normal(size=(80, 80))
    mask = np.zeros((80, 80), dtype=bool)
    mask[20:60, 30:50] = True
    data[mask] = 1e6
    assert observe(data, mask=mask).noise_correlation == 1.0
    assert not observe(data, mask=mask).bright.any()


def test_bright_pixels_are_those_of_a_star_and_not_of_noise():
    rng = np.random.default_rng(7)
    star = np.zeros((64, 64))
    star[40, 20] = 1
    star = 60 * gaussian_filter(star, 1.2)
    lit = observe(star + rng.normal(size=(64, 64))).bright
    assert lit[40, 20]
    rows, columns = np.nonzero(lit)
    assert max(abs(rows - 40).max(), abs(columns - 20).max()) <= 5
    assert not observe(rng.normal(size=(64, 64))).bright.any()


def test_bright_pixels_heed_correlations():
    noise, _ = correlated((200, 200), np.ones((2, 2)), np.random.default_rng(8))
    assert np.count_nonzero(observe(noise).bright) < 20
