"""Images of a point source: all of them, where they are, and how bright."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from matplotlib.path import Path

from lenssuper import PixelGrid
from lenssuper.exceptions import LensSuperWarning
from lenssuper.lens import EPL, NFW, SIE, SIS, ExternalShear, PointMass

A = u.arcsec


def _images(lens, bx, by, **kwargs):
    x, y = lens.image_positions(bx * A, by * A, **kwargs)
    assert x.unit == y.unit == A
    return np.stack([x.value, y.value], axis=-1)


@pytest.mark.parametrize("beta", [1e-3, 0.2, 0.77, 1.09])
def test_sis_inside_its_cut(beta):
    """Two images, at beta + theta_E and on the other side at theta_E - beta; mu = theta_E / beta +- 1."""
    lens = SIS(theta_E=1.1 * A, x=0.05 * A, y=-0.1 * A)
    direction = np.array([0.6, 0.8])
    found = _images(lens, *(np.array([0.05, -0.1]) + beta * direction))
    expected = np.array([0.05, -0.1]) + np.outer([beta + 1.1, beta - 1.1], direction)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    mu = lens.magnification(*(found.T * A)).value
    np.testing.assert_allclose(mu, [1.1 / beta + 1, 1 - 1.1 / beta], rtol=1e-6)


@pytest.mark.parametrize("beta", [1.11, 3.0, 40.0])
def test_sis_outside_its_cut(beta):
    found = _images(SIS(theta_E=1.1 * A), 0, -beta)
    np.testing.assert_allclose(found, [[0, -beta - 1.1]], atol=1e-9)


@pytest.mark.parametrize("beta", [0.01, 0.5, 5.0, 300.0])
def test_point_mass(beta):
    """theta = (beta +- sqrt(beta^2 + 4 theta_E^2)) / 2, whatever the distance."""
    found = _images(PointMass(theta_E=0.8 * A, y=0.3 * A), beta, 0.3)
    root = np.sqrt(beta**2 + 4 * 0.8**2)
    np.testing.assert_allclose(found[:, 0], [(beta + root) / 2, 2 * 0.8**2 / -(beta + root)], rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], 0.3, atol=1e-9)


def test_shear_alone():
    found = _images(ExternalShear(gamma1=0.2, gamma2=0, x=1 * A), 2, 3)
    np.testing.assert_allclose(found, [[1 + 1 / 0.8, 3 / 1.2]], rtol=1e-12)


@pytest.mark.parametrize(
    "lens",
    [
        SIE(theta_E=1.2 * A, q=0.6, phi=30 * u.deg, x=0.1 * A) + ExternalShear(gamma1=0.05, gamma2=-0.03),
        EPL(theta_E=1.1 * A, gamma=1.7, q=0.7) + ExternalShear(gamma1=0.05, gamma2=-0.03),
        NFW(alpha_Rs=2.5 * A, Rs=6 * A) + ExternalShear(gamma1=0.1, gamma2=0),
    ],
    ids=["SIE", "EPL", "NFW"],
)
def test_number_of_images(lens):
    """Two more inside each caustic, one more inside a cut; all of them map to the source; one each."""
    grid = PixelGrid((100, 100), 0.06 * A)
    caustics, cuts = ([Path(c.value) for c in curves] for curves in (lens.caustics(grid), lens.cuts()))
    counts = set()
    for beta in np.random.default_rng(5).uniform(-0.5, 0.5, (12, 2)):
        found = _images(lens, *beta)
        np.testing.assert_allclose(
            np.stack(lens.ray_shooting(*(found.T * A))).T.value, [beta] * len(found), atol=1e-9
        )
        apart = np.hypot(*(found[:, None] - found[None]).T)[np.triu_indices(len(found), 1)]
        assert np.all(apart > 1e-6)
        expected = (
            1 + 2 * sum(c.contains_point(beta) for c in caustics) + sum(c.contains_point(beta) for c in cuts)
        )
        assert len(found) == expected
        counts.add(len(found))
    assert len(counts) > 1


def test_order_of_arrival():
    """First the minimum of the arrival time, farthest out on the side of the source; parities follow."""
    lens = SIE(theta_E=1.2 * A, q=0.6)
    found = _images(lens, 0.05, 0.04)
    fermat = np.sum((found - [0.05, 0.04]) ** 2, axis=1) / 2 - lens.potential(*(found.T * A)).value
    assert np.all(np.diff(fermat) > 0)
    mu = lens.magnification(*(found.T * A)).value
    np.testing.assert_array_equal(np.sign(mu), [1, 1, -1, -1])


@pytest.mark.parametrize("inside", [1e-3, 1e-5, 1e-7])
def test_merging_images_are_told_apart(inside):
    """Just inside a fold, of either caustic, there are two images more, close together and mirrored."""
    lens = EPL(theta_E=1.0 * A, gamma=1.8, q=0.7) + ExternalShear(gamma1=0.03, gamma2=0.02)
    for curve in lens.caustics(PixelGrid((80, 80), 0.05 * A)):
        for beta in curve.value[20::200]:
            found, others = _images(lens, *(beta * (1 - inside))), _images(lens, *(beta * (1 + inside)))
            assert len(found) == len(others) + 2
            mu = lens.magnification(*(found.T * A)).value
            first, second = mu[np.argsort(-np.abs(mu))[:2]]
            assert first * second < 0


def test_satellite_adds_images():
    lens = SIS(theta_E=1.0 * A) + SIS(theta_E=0.02 * A, x=1.3 * A, y=0.01 * A)
    found = _images(lens, 0.3, 0.0)
    near = np.hypot(*(found - [1.3, 0.01]).T) < 0.1
    assert near.sum() >= 2
    np.testing.assert_allclose(lens.ray_shooting(*(found.T * A))[0].value, 0.3, atol=1e-9)


def test_search_in_a_field():
    lens = SIS(theta_E=1.0 * A)
    right = PixelGrid((40, 40), 0.05 * A, center=(1, 0) * A)
    np.testing.assert_allclose(_images(lens, 0.3, 0.0, grid=right), [[1.3, 0]], atol=1e-9)


def test_source_behind_the_centre_is_a_ring():
    with pytest.warns(LensSuperWarning, match="lies on a caustic"):
        found = _images(SIS(theta_E=1.0 * A), 0, 0)
    np.testing.assert_allclose(np.hypot(*found.T), 1, rtol=1e-6)


def test_source_position_is_checked():
    lens = SIS(theta_E=1.0 * A)
    with pytest.raises(TypeError, match="beta_x must be a Quantity"):
        lens.image_positions(0.1, 0 * A)
    with pytest.raises(ValueError, match="beta_x and beta_y must be scalars"):
        lens.image_positions([0.1, 0.2] * A, [0, 0] * A)
