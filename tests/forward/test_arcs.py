"""The pixels that can show light of the source."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest

from lenssuper import EPL, SIE, ExternalShear, PixelGrid, PointMass
from lenssuper.forward.arcs import _RAYS, _landings, _may_land

IMAGE = PixelGrid((50, 46), 0.1 * u.arcsec)
SOURCES = PixelGrid((12, 16), 0.05 * u.arcsec, center=(0.1, -0.05) * u.arcsec)
SHEAR = ExternalShear(gamma1=0.05, gamma2=-0.03)
# centres on a pixel's centre, corner, and elsewhere
LENSES = [
    SIE(theta_E=1.2 * u.arcsec, q=0.7, phi=20 * u.deg) + SHEAR,
    SIE(theta_E=0.8 * u.arcsec, q=0.9, phi=70 * u.deg, x=0.05 * u.arcsec, y=0.05 * u.arcsec) + SHEAR,
    EPL(theta_E=1.1 * u.arcsec, gamma=2.3, q=0.6, phi=110 * u.deg, x=0.02 * u.arcsec) + SHEAR,
    EPL(theta_E=1.1 * u.arcsec, gamma=1.6, q=0.8, phi=10 * u.deg, y=0.031 * u.arcsec),
    SIE(theta_E=1.2 * u.arcsec, q=0.7, phi=20 * u.deg)
    + PointMass(theta_E=0.08 * u.arcsec, x=1.13 * u.arcsec, y=0.2 * u.arcsec),
]


@pytest.mark.parametrize("lens", LENSES)
def test_every_ray_that_lands_is_found(lens):
    """Rays are traced through few pixels; the others are all shown to miss."""
    pixels, cells = _landings(IMAGE, lens, SOURCES)
    x, y = IMAGE.refine(_RAYS).centers_arcsec()
    column, row = (np.rint(v).astype(int) for v in SOURCES.to_pixel(*lens.rays_arcsec(x, y)))
    on = (column >= 0) & (column < 16) & (row >= 0) & (row < 12)
    number = np.kron(np.arange(50 * 46).reshape(50, 46), np.ones((_RAYS, _RAYS), dtype=int))
    expected = np.bincount(number[on] * 192 + (row * 16 + column)[on], minlength=50 * 46 * 192)
    np.testing.assert_array_equal(np.bincount(pixels * 192 + cells, minlength=len(expected)), expected)
    assert np.mean(_may_land(IMAGE, lens, SOURCES)) < 0.5
