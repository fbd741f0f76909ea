"""Stamps of random galaxies."""

from __future__ import annotations

import numpy as np
import pytest

from lenssuper.simulate import galaxy_stamp


@pytest.fixture(scope="module")
def stamps():
    return np.array([galaxy_stamp(np.random.default_rng([1, i])) for i in range(60)])


def test_the_seed_decides():
    np.testing.assert_array_equal(galaxy_stamp(3, size=40), galaxy_stamp(3, size=40))
    assert not np.allclose(galaxy_stamp(3, size=40), galaxy_stamp(4, size=40))
    assert galaxy_stamp(3, size=40).shape == (40, 40)


def test_the_brightest_pixel_is_about_one_and_the_sky_about_zero(stamps):
    assert np.isfinite(stamps).all()
    assert np.median(stamps.max((1, 2))) == pytest.approx(1.1, abs=0.2)
    corners = stamps[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert abs(np.median(corners)) < 0.02


def test_most_of_the_light_is_near_the_middle(stamps):
    y, x = np.mgrid[:64, :64] - 31.5
    mean = stamps.mean(0)
    assert mean[np.hypot(x, y) < 10].mean() > 5 * mean[np.hypot(x, y) > 25].mean()


def test_noise_has_the_range_it_is_said_to_have(stamps):
    # in the corners, where there is little else; the difference of neighbours is blind to slopes
    corner = np.concatenate([stamps[:, :12, :12], stamps[:, -12:, -12:]], axis=1)
    sigma = np.diff(corner, axis=2).std((1, 2)) / np.sqrt(2)
    assert sigma.max() < 1.3 / 8
    assert sigma.max() > 10 * sigma.min()
