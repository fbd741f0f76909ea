"""From velocities, masses and redshifts to angles, through astropy.cosmology."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from astropy import constants as const
from astropy import units as u

from lenssuper._utils.checks import check_number, check_quantity

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

# Mean density of a halo within r200, in units of the critical density.
_OVERDENSITY = 200


def isothermal_radius(sigma: u.Quantity, z_lens: float, z_source: float, cosmology: FLRW) -> u.Quantity:
    """Return the Einstein radius of an isothermal sphere, 4 pi (sigma / c)^2 D_ls / D_s.

    Schneider, Ehlers & Falco 1992, eq. 8.34a. ``sigma`` is the one-dimensional velocity dispersion.
    """
    speed = check_quantity(sigma, "sigma", u.km / u.s, "250 * u.km / u.s", above=0)
    _, d_source, d_between = _distances(z_lens, z_source, cosmology)
    return _angle(4 * math.pi * (speed / const.c) ** 2 * d_between / d_source)


def halo_parameters(
    M200: u.Quantity, c: float, z_lens: float, z_source: float, cosmology: FLRW
) -> tuple[u.Quantity, u.Quantity]:
    """Return (alpha_Rs, Rs) of the NFW halo of mass M200 and concentration c.

    M200 = 800 pi / 3 rho_crit(z_lens) r200^3 (Navarro, Frenk & White 1997), Rs = r200 / c, and
    alpha_Rs = 4 rho_s Rs^2 (1 + ln 1/2) / Sigma_crit with rho_s from the mass.
    """
    mass = check_quantity(M200, "M200", u.Msun, "1e13 * u.Msun", above=0)
    c = check_number(c, "c", above=0)
    d_lens, d_source, d_between = _distances(z_lens, z_source, cosmology)
    density = _OVERDENSITY * cosmology.critical_density(float(z_lens))
    r200 = (3 * mass / (4 * math.pi * density)) ** (1 / 3)
    radius = r200 / c
    rho_s = mass / (4 * math.pi * radius**3 * (math.log1p(c) - c / (1 + c)))
    sigma_crit = const.c**2 / (4 * math.pi * const.G) * d_source / (d_lens * d_between)
    bending = 4 * rho_s * radius**2 * (1 + math.log(0.5)) / sigma_crit
    return _angle(bending / d_lens), _angle(radius / d_lens)


def _distances(z_lens, z_source, cosmology):
    """Return the angular diameter distances to the lens, to the source, and between them."""
    lens, source = check_number(z_lens, "z_lens", above=0), check_number(z_source, "z_source")
    if source <= lens:
        raise ValueError(f"z_source must be above z_lens = {lens:g}, behind the lens; got {z_source!s}")
    if not hasattr(cosmology, "angular_diameter_distance"):
        raise TypeError(f"cosmology must be an astropy.cosmology FLRW, e.g. Planck18; got {cosmology!r}")
    distance = cosmology.angular_diameter_distance
    d_lens, d_source = distance(lens), distance(source)
    return d_lens, d_source, _distance_between(cosmology, lens, source)


def _distance_between(cosmology, z1, z2):
    try:
        return cosmology.angular_diameter_distance(z1, z2)
    except TypeError:
        # in astropy 7 this has another name, which astropy 8 deprecates
        return cosmology.angular_diameter_distance_z1z2(z1, z2)


def _angle(ratio):
    return (ratio.to_value(u.dimensionless_unscaled) * u.rad).to(u.arcsec)
