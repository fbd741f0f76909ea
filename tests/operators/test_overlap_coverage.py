"""The number of images of every source pixel, against triangles that are counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import EPL, NFW, SIE, SIS, ExternalShear, PixelGrid
from lenssuper.lens import DPIE, Multipole4
from lenssuper.operators import OverlapOperator

ARCSEC = u.arcsec
SCALE, SIDE = 0.06, 0.05  # of the image's pixels and the source's, in arcsec
CENTRES = {"corner": (0.0, 0.0), "pixel": (0.03, 0.03), "anywhere": (0.017, -0.011)}
ANYWHERE = {"x": 0.017 * ARCSEC, "y": -0.011 * ARCSEC}
ELLIPSE = SIE(theta_E=1 * ARCSEC, q=0.7)
GAMMAS = (1.9, 1.93, 1.95, 1.97, 1.98, 1.99, 1.995, 1.999, 1.99999, 2.0, 2.01, 2.05)


def coverage_of(lens, flip=1):
    source_grid = PixelGrid((60, 60), SIDE * ARCSEC)
    matrix = SCALE * np.diag([flip, 1.0])
    image_grid = PixelGrid.from_affine((100, 100), matrix, -matrix @ [49.5, 49.5])
    return OverlapOperator(lens, image_grid, source_grid).coverage, source_grid


def count_images(lens, centre, points, continuous):
    """Count the triangles of a fine mesh of rings around the centre that each of some points lies in."""
    radius = np.geomspace(1e-8 * SCALE, 2.9, 220)[:, None]
    angle = np.linspace(0, 2 * np.pi, 241)
    angle[-1] = 0
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    u, v = (w - a for w, a in zip((x, y), lens.deflection_arcsec(x, y), strict=True))
    b = np.stack([u, v], axis=-1)
    triangles = [np.stack([b[:-1, :-1], b[1:, :-1], b[1:, 1:]], axis=2)]
    triangles += [np.stack([b[:-1, :-1], b[1:, 1:], b[:-1, 1:]], axis=2)]
    if continuous:
        alpha = lens.deflection_arcsec(*np.array(centre))
        middle = np.broadcast_to(np.subtract(centre, alpha), b[0, 1:].shape)
        triangles += [np.stack([middle, b[0, :-1], b[0, 1:]], axis=1)[None]]
    triangles = np.concatenate([each.reshape(-1, 3, 2) for each in triangles])
    found = []
    for point in points:
        d = triangles - point
        e = np.roll(d, -1, axis=1)
        turn = d[..., 0] * e[..., 1] - d[..., 1] * e[..., 0]
        found.append(np.count_nonzero(np.all(turn > 0, axis=1) | np.all(turn < 0, axis=1)))
    return np.array(found)


def check(lens, centre, continuous, seed, flip=1):
    coverage, grid = coverage_of(lens, flip)
    compared, around = [], 1.5 * SIDE * np.array([(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]) + 1e-5
    middle = np.rint(grid.to_pixel(*centre)[::-1]).astype(int)
    places = np.random.default_rng(seed).integers(-26, 27, (8, 2))
    places = np.concatenate([places, [[0, 9], [11, 0]]])  # between a cut or caustic and the diamond
    for row, column in middle + places:
        points = np.array([float(w) for w in grid.to_offset(column, row)]) + around
        counts = count_images(lens, centre, points, continuous)
        if np.all(counts == counts[0]):  # no caustic near
            assert coverage[row, column] == pytest.approx(counts[0], abs=1e-6)
            compared.append(counts[0])
    assert len(compared) > 5
    assert len(set(compared)) > 1
    assert coverage[5:-5, 5:-5].min() > 0.999  # nothing is missing that rounding up to none would hide


@pytest.mark.parametrize("place", CENTRES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_slopes_near_the_isothermal_one(gamma, place):
    x, y = CENTRES[place]
    seed = GAMMAS.index(gamma)
    lens = EPL(theta_E=1 * ARCSEC, gamma=gamma, q=0.75, phi=70 * u.deg, x=x * ARCSEC, y=y * ARCSEC)
    if seed % 2:
        lens = lens + ExternalShear(gamma1=-0.03, gamma2=0.03)
    if gamma > 2.02:  # two images or four all over the source
        coverage, _ = coverage_of(lens)
        assert coverage[5:-5, 5:-5].min() > 1.9
    else:
        check(lens, (x, y), gamma < 2, seed, flip=-1 if seed % 3 == 1 else 1)


@pytest.mark.parametrize("gamma", [1.9, 1.95, 1.98, 1.995, 1.99999])
def test_the_area_inside_the_radial_caustic_of_a_round_lens(gamma):
    """It adds up over the source pixels, also where the critical curve is as large as a pixel."""
    lens = EPL(theta_E=1 * ARCSEC, gamma=gamma, q=1.0, **ANYWHERE)
    coverage, grid = coverage_of(lens)
    x, y = grid.centers_arcsec()
    near = np.hypot(x - 0.017, y + 0.011) < 0.15  # the image of the tangential critical curve, a point
    rest = 2.0 * np.count_nonzero(near) + np.sum((coverage - 1)[~near])
    critical = (2 - gamma) ** (1 / (gamma - 1))
    caustic = critical ** (2 - gamma) - critical
    assert 0.5 * rest * SIDE**2 == pytest.approx(np.pi * caustic**2, rel=1e-3)


@pytest.mark.parametrize(
    "lens",
    [
        DPIE(theta_E=1 * ARCSEC, r_trunc=20 * ARCSEC, r_core=0.001 * ARCSEC, q=0.75, **ANYWHERE),
        DPIE(theta_E=1 * ARCSEC, r_trunc=20 * ARCSEC, r_core=0.05 * ARCSEC, q=0.75, **ANYWHERE),
        NFW(alpha_Rs=1.2 * ARCSEC, Rs=0.6 * ARCSEC, **ANYWHERE),
    ],
    ids=["tiny core", "core", "NFW"],
)
def test_soft_cores(lens):
    check(lens, CENTRES["anywhere"], True, 1)


@pytest.mark.parametrize(
    ("together", "alone"),
    [
        (SIS(theta_E=0.5 * ARCSEC) + SIS(theta_E=0.6 * ARCSEC), SIS(theta_E=1.1 * ARCSEC)),
        (ELLIPSE + Multipole4(a=0 * ARCSEC, b=1e-9 * ARCSEC, q=0.7), ELLIPSE),
    ],
    ids=["SIS", "multipole"],
)
def test_components_at_one_place_tear_the_plane_once(together, alone):
    np.testing.assert_allclose(coverage_of(together)[0], coverage_of(alone)[0], rtol=0, atol=1e-6)
