"""Kinds of perturbers: their masses in lensing, and what they refuse."""

import astropy.units as u
import numpy as np
import pytest
from astropy import constants as const
from astropy.cosmology import Planck18

from lenssuper import SIS, ExternalShear
from lenssuper.substructure import FixedShape, JaffeClump, MassLine, PointClump, TidalHalo

KINDS = [
    TidalHalo(0.3, 0.8),
    JaffeClump(0.3, 0.8, theta_E=1.2 * u.arcsec),
    PointClump(0.3, 0.8),
    MassLine(0.3, 0.8, phi=30 * u.deg),
]


def projected_mass(lens, radius):
    """Mass within a circle, from the deflection on it: pi Sigma_crit times the mean of its radial part."""
    phi = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    x, y = radius * np.cos(phi), radius * np.sin(phi)
    alpha_x, alpha_y = lens.deflection_arcsec(x, y)
    kappa = np.mean(alpha_x * np.cos(phi) + alpha_y * np.sin(phi)) / radius
    d_lens, d_source = Planck18.angular_diameter_distance([0.3, 0.8])
    between = d_source - d_lens * 1.3 / 1.8  # in a flat universe
    critical = const.c**2 / (4 * np.pi * const.G) * d_source / (d_lens * between)
    area = np.pi * (radius * u.arcsec.to(u.rad) * d_lens) ** 2
    return (kappa * critical * area).to_value(u.Msun)


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: type(kind).__name__)
def test_mass_is_that_of_the_lens(kind):
    # the density of the clump falls as r^-4: all of its mass is within a hundred truncation radii to 1%
    assert projected_mass(kind.lens(3e9), 50.0) == pytest.approx(3e9, rel=0.01)


def test_mass_of_a_halo_is_m200():
    mass = 1e9
    lens = TidalHalo(0.3, 0.8, distance=1e7 * u.kpc).lens(mass)  # far from tides
    # the projected mass within r200 of c = 10 exceeds the mass within the sphere by about a quarter
    density = 200 * Planck18.critical_density(0.3)
    r200 = ((3 * mass * u.Msun / (4 * np.pi * density)) ** (1 / 3)).to(u.kpc)
    angle = (r200 / Planck18.angular_diameter_distance(0.3)).to_value(u.arcsec, u.dimensionless_angles())
    assert 1.15 * mass < projected_mass(lens, angle) < 1.4 * mass


def test_a_concentrated_halo_bends_more():
    plain, tight = (TidalHalo(0.3, 0.8, concentration=c).lens(1e9) for c in (1, 5))
    assert tight.deflection_arcsec(0.05, 0.0)[0] > 2 * plain.deflection_arcsec(0.05, 0.0)[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_position_moves_the_lens(kind):
    here, there = kind.lens(1e9), kind.lens(1e9, 0.4, -0.3)
    np.testing.assert_allclose(there.deflection_arcsec(0.6, 0.1), here.deflection_arcsec(0.2, 0.4), rtol=1e-9)
    assert "z_lens = 0.3" in kind.described()


def test_a_fixed_shape_is_the_lens():
    lens = SIS(theta_E=0.01 * u.arcsec)
    assert FixedShape(lens).lens(1.0) == lens
    with pytest.raises(ValueError, match="with a centre"):
        FixedShape(ExternalShear(gamma1=0.1, gamma2=0.0))


def test_masses_need_redshifts():
    with pytest.raises(ValueError, match="z_lens and z_source must be given"):
        TidalHalo(None, 0.5)
    with pytest.raises(ValueError, match="z_source must be above z_lens"):
        PointClump(0.5, 0.3)
