"""Critical curves, caustics, cuts and the Einstein radius against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import PixelGrid
from lenssuper.lens import (
    DPIE,
    EPL,
    NFW,
    SIE,
    SIS,
    ExternalShear,
    Multipole1,
    Multipole3,
    Multipole4,
    PointMass,
)

A = u.arcsec
GRID = PixelGrid((80, 80), 0.05 * A)
Q = 0.6
F = np.sqrt(1 - Q**2)


@pytest.fixture
def lens(lens):
    """Each lens model in turn, multipoles with the galaxy that they perturb."""
    if isinstance(lens, Multipole1 | Multipole3 | Multipole4):
        return lens + SIS(theta_E=1.1 * A, x=lens.x, y=lens.y)
    return lens


def _area(curve):
    x, y = curve.to_value(A).T
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def test_sis_critical_curve_is_a_circle():
    lens = SIS(theta_E=1.1 * A, x=0.05 * A, y=-0.1 * A)
    (curve,) = lens.critical_curves(GRID)
    np.testing.assert_allclose(np.hypot(*(curve.value - [0.05, -0.1]).T), 1.1, rtol=1e-10)
    np.testing.assert_array_equal(curve[0], curve[-1])
    (caustic,) = lens.caustics(GRID)
    np.testing.assert_allclose(caustic.value, np.broadcast_to([0.05, -0.1], caustic.shape), atol=1e-10)
    (cut,) = lens.cuts(100)
    assert cut.shape == (101, 2)
    np.testing.assert_array_equal(cut[0], cut[-1])
    np.testing.assert_allclose(np.hypot(*(cut.value - [0.05, -0.1]).T), 1.1, rtol=1e-12)
    assert lens.einstein_radius().to_value(A) == pytest.approx(1.1, rel=1e-7)


def test_every_point_is_critical(lens):
    for curve in lens.critical_curves(GRID):
        matrices = lens.jacobian(*curve.T).value
        size = 1 + np.sum(matrices**2, axis=(-1, -2))
        assert np.max(np.abs(np.linalg.det(matrices)) / size) < 1e-8


def test_sie_area_and_astroid():
    """The cusps and the cut of an SIE on its axes (Kormann et al. 1994, sect. 4)."""
    lens = SIE(theta_E=1.2 * A, q=Q)
    (curve,) = lens.critical_curves(GRID)
    assert _area(curve) == pytest.approx(np.pi * 1.2**2, rel=2e-4)
    assert lens.einstein_radius().to_value(A) == pytest.approx(1.2, rel=1e-7)
    scale = 1.2 * np.sqrt(Q) / F
    (caustic,) = lens.caustics(GRID)
    cusps = np.max(np.abs(caustic.value), axis=0)
    assert cusps[0] == pytest.approx(1.2 / np.sqrt(Q) - scale * np.arccos(Q), rel=1e-4)
    assert cusps[1] == pytest.approx(scale * np.arccosh(1 / Q) - 1.2 * np.sqrt(Q), rel=1e-4)
    (cut,) = lens.cuts(360)
    extent = np.max(np.abs(cut.value), axis=0)
    np.testing.assert_allclose(extent, [scale * np.arccos(Q), scale * np.arccosh(1 / Q)], rtol=1e-10)


def test_effective_radius_of_an_sie_does_not_depend_on_where_it_is():
    lens = SIE(theta_E=0.9 * A, q=0.4, phi=70 * u.deg, x=12.3 * A, y=-7.1 * A)
    assert lens.einstein_radius().to_value(A) == pytest.approx(0.9, rel=1e-7)


def test_radial_and_tangential_curves_of_a_circular_lens():
    """A circular lens has critical circles where alpha / r = 1 and where d alpha / d r = 1."""
    lens = EPL(theta_E=1.0 * A, gamma=1.7, q=1.0)
    tangential, radial = lens.critical_curves(GRID)
    np.testing.assert_allclose(np.hypot(*tangential.value.T), 1, rtol=1e-9)
    # alpha = r^0.3, so 0.3 r^-0.7 = 1
    np.testing.assert_allclose(np.hypot(*radial.value.T), 0.3 ** (1 / 0.7), rtol=1e-9)
    assert lens.cuts() == []


def test_curves_are_smooth(lens):
    """No piece of a curve or of its caustic is longer than a hundredth of it."""
    for curve in lens.critical_curves(GRID) + lens.caustics(GRID):
        pieces = np.hypot(*np.diff(curve.value, axis=0).T)
        assert pieces.max() < max(0.01 * pieces.sum(), 1e-8)


def test_tiny_radial_curve_is_found():
    """A weak halo has a radial critical curve far smaller than a pixel."""
    lens = NFW(alpha_Rs=0.6 * A, Rs=6 * A, x=0.012 * A, y=0.007 * A)
    tangential, radial = lens.critical_curves(PixelGrid((40, 40), 0.1 * A))
    radii = np.hypot(*(radial.value - [0.012, 0.007]).T)
    assert radii.max() < 0.01
    assert np.ptp(radii) < 1e-6 * radii.mean()
    step = 1e-4 * radii.mean()
    ahead, behind = (lens.deflection_arcsec(0.012 + radii.mean() + d, 0.007)[0] for d in (step, -step))
    assert (ahead - behind) / (2 * step) == pytest.approx(1, rel=1e-6)
    assert np.hypot(*(tangential.value - [0.012, 0.007]).T).mean() > 0.01


def test_point_mass():
    lens = PointMass(theta_E=0.8 * A)
    (curve,) = lens.critical_curves(GRID)
    np.testing.assert_allclose(np.hypot(*curve.value.T), 0.8, rtol=1e-9)
    assert lens.cuts() == []


def test_curves_are_on_the_sky_not_on_the_detector():
    """A turned grid finds the same curve."""
    lens = SIE(theta_E=1.0 * A, q=0.7, phi=20 * u.deg, x=0.2 * A) + ExternalShear(gamma1=0.05, gamma2=0.02)
    turned = PixelGrid((90, 110), 0.04 * A, rotation=33 * u.deg)
    areas = [_area(lens.critical_curves(grid)[0]) for grid in (GRID, turned)]
    assert areas[0] == pytest.approx(areas[1], rel=1e-3)
    assert _area(lens.caustics(GRID)[0]) == pytest.approx(_area(lens.caustics(turned)[0]), rel=1e-2)


def test_curve_that_leaves_the_field_is_open():
    curves = SIS(theta_E=1.1 * A).critical_curves(PixelGrid((40, 40), 0.05 * A, center=(1, 0) * A))
    (curve,) = curves
    assert not np.array_equal(curve[0], curve[-1])
    np.testing.assert_allclose(np.hypot(*curve.value.T), 1.1, rtol=1e-9)


def test_cut_of_one_lens_among_others():
    """The other lenses move the cut of a centre by their own deflection there."""
    sis, other = SIS(theta_E=0.3 * A, x=1.5 * A), SIS(theta_E=1.0 * A)
    first, second = (other + sis).cuts(50)
    np.testing.assert_allclose(np.hypot(*(second.value - [0.5, 0]).T), 0.3, rtol=1e-10)
    np.testing.assert_allclose(np.hypot(*(first.value - [0.3, 0]).T), 1.0, rtol=1e-10)


def test_lenses_without_an_einstein_radius():
    with pytest.raises(ValueError, match="no mass"):
        ExternalShear(gamma1=0.1, gamma2=0).einstein_radius()
    with pytest.raises(ValueError, match="no mass"):
        SIS(theta_E=0 * A).einstein_radius()
    with pytest.raises(ValueError, match="too weak"):
        NFW(alpha_Rs=0.001 * A, Rs=5 * A).einstein_radius()
    assert ExternalShear(gamma1=0.1, gamma2=0).critical_curves(GRID) == []
    assert NFW(alpha_Rs=0.001 * A, Rs=5 * A).critical_curves(GRID) == []


def test_two_lenses_share_one_curve():
    """A satellite on the ring bends the curve; the radius grows by about its share."""
    lens = SIE(theta_E=1.0 * A, q=0.9) + SIS(theta_E=0.1 * A, x=0.3 * A)
    assert 1.0 < lens.einstein_radius().to_value(A) < 1.15


def test_curve_through_a_centre_ends_there():
    """The critical curve of a satellite inside the ring is a figure of eight; its caustics end on the cut."""
    lens = SIE(theta_E=1.0 * A, q=0.9) + SIS(theta_E=0.1 * A, x=0.3 * A)
    tangential, *loops = lens.critical_curves(GRID)
    assert np.array_equal(tangential[0], tangential[-1])
    assert len(loops) == 2
    cut = lens.cuts(2000)[1].value
    for curve, caustic in zip(loops, lens.caustics(GRID)[1:], strict=True):
        ends = curve.value[[0, -1]]
        np.testing.assert_allclose(ends, [[0.3, 0]] * 2, atol=1e-5)
        for end in caustic.value[[0, -1]]:
            assert np.min(np.hypot(*(cut - end).T)) < 1e-3


def test_isothermal_profiles_of_one_centre_have_one_cut():
    center = {"x": 0.1 * A, "y": -0.2 * A}
    disky = SIE(theta_E=1 * A, q=Q, **center) + Multipole4(a=0.05 * A, b=0.02 * A, q=Q, **center)
    (cut,) = disky.cuts(90)
    angle = np.linspace(0, 2 * np.pi, 91)
    near = 1e-4 * np.stack([np.cos(angle), np.sin(angle)])
    expected = np.array([[0.1], [-0.2]]) - disky.deflection_arcsec(0.1 + near[0], -0.2 + near[1])
    np.testing.assert_allclose(cut.value.T, expected, atol=1e-10)


def test_cut_of_a_truncated_lens_is_that_of_its_isothermal_centre():
    (truncated,), (whole,) = (
        lens.cuts(60) for lens in (DPIE(theta_E=1 * A, q=Q, r_trunc=0.5 * A), SIE(theta_E=1 * A, q=Q))
    )
    np.testing.assert_allclose(truncated.value, whole.value, atol=1e-7)
    assert DPIE(theta_E=1 * A, r_core=0.1 * A, r_trunc=0.5 * A).cuts() == []
