"""Massive lens galaxies: closed forms of their profile, and lenses of them."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest

from lenssuper.simulate import MassiveGalaxy, SersicSource, hard_lenses, random_massive_galaxy

arcsec = u.arcsec
SHAPE = {"q": 0.7, "phi": 30 * u.deg, "x": 0.1 * arcsec, "y": -0.05 * arcsec, "amplitude": 2.0}


def positions(n=200, seed=1):
    return np.random.default_rng(seed).uniform(-3, 3, (2, n))


def test_without_anything_else_it_is_a_sersic_profile():
    x, y = positions()
    expected = SersicSource(1.2 * arcsec, 4.0, **SHAPE).surface_brightness(x, y)
    found = MassiveGalaxy(1.2 * arcsec, 4.0, **SHAPE).surface_brightness(x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_core_has_its_slope_and_the_outskirts_that_of_the_sersic_profile():
    galaxy = MassiveGalaxy(1.0 * arcsec, 4.0, core=0.1 * arcsec, cusp=0.4)
    r = np.array([1e-4, 1.1e-4])
    inner = galaxy.surface_brightness(r, 0 * r)
    assert np.diff(np.log(inner)) / np.diff(np.log(r)) == pytest.approx(-0.4, abs=1e-3)
    sersic = SersicSource(1.0 * arcsec, 4.0)
    outer = np.array([2.0, 4.0])
    np.testing.assert_allclose(
        galaxy.surface_brightness(outer, 0 * outer), sersic.surface_brightness(outer, 0 * outer), rtol=1e-3
    )


def test_isophotes_have_their_harmonics():
    sersic = SersicSource(1.0 * arcsec, 2.0)
    galaxy = MassiveGalaxy(1.0 * arcsec, 2.0, boxiness=0.03, lopsidedness=0.01)
    angle = np.linspace(0, 2 * np.pi, 40)
    radius = 0.8 * (1 + 0.01 * np.cos(3 * angle) + 0.03 * np.cos(4 * angle))
    along = galaxy.surface_brightness(radius * np.cos(angle), radius * np.sin(angle))
    np.testing.assert_allclose(along, sersic.surface_brightness(0.8, 0.0), rtol=1e-12)


def test_isophotes_turn():
    galaxy = MassiveGalaxy(1.0 * arcsec, 2.0, q=0.6, twist=20 * u.deg)
    angle = np.radians(np.arange(0, 180, 0.5))
    for radius in (0.5, 1.0, 2.0):
        brightest = np.argmax(galaxy.surface_brightness(radius * np.cos(angle), radius * np.sin(angle)))
        expected = (20 * np.log(radius)) % 180
        assert np.degrees(angle[brightest]) == pytest.approx(expected, abs=0.3)


def test_dust_dims_a_lane():
    clear, dusty = (MassiveGalaxy(1.0 * arcsec, 2.0, dust=d, dust_phi=90 * u.deg) for d in (0.0, 0.5))
    ratio = dusty.surface_brightness([0.0, 0.0, 0.3], [1e-9, 0.3, 0.0]) / clear.surface_brightness(
        [0.0, 0.0, 0.3], [1e-9, 0.3, 0.0]
    )
    # the lane is 0.3" long along y, and a quarter as wide
    np.testing.assert_allclose(-np.log(ratio), 0.5 * np.exp([0.0, -0.5, -8.0]), atol=1e-7)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"boxiness": 0.6}, ValueError, "isophotes would cross"),
        ({"core": -1 * arcsec}, ValueError, "core"),
        ({"dust": -0.1}, ValueError, "dust"),
        ({"twist": 0.1}, TypeError, "twist"),
    ],
)
def test_bad_arguments(wrong, error, message):
    with pytest.raises(error, match=message):
        MassiveGalaxy(1.0 * arcsec, 4.0, **wrong)


def test_hard_lenses_are_what_they_say():
    one, two = hard_lenses(2, 3, shape=(41, 41))
    again = next(iter(hard_lenses(1, 3, shape=(41, 41))))
    np.testing.assert_array_equal(one.observation.data, again.observation.data)
    assert not np.array_equal(one.observation.data, two.observation.data)
    for mock in (one, two):
        mass = mock.lens.parameters
        assert 0.7 <= mass["EPL.theta_E"].to_value(arcsec) <= 1.5
        # the galaxy in front, with its centre where the mass has it
        row, column = np.unravel_index(np.argmax(mock.noiseless), mock.noiseless.shape)
        x, y = mock.grid.to_offset(column, row)
        assert abs(x - mass["EPL.x"].to_value(arcsec)) < 0.06
        assert abs(y - mass["EPL.y"].to_value(arcsec)) < 0.06
    with pytest.raises(ValueError, match="n must"):
        next(iter(hard_lenses(0)))


def test_the_galaxy_is_as_bright_at_the_ring_as_asked():
    lens = next(iter(hard_lenses(1, 4, shape=(31, 31)))).lens
    one, two = (random_massive_galaxy(lens, 2, at_ring=value) for value in (1.0, 3.0))
    x, y = positions()
    np.testing.assert_allclose(3 * one.surface_brightness(x, y), two.surface_brightness(x, y))
