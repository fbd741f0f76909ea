"""The lens models: for each, its parameters, the functions of its potential, and its names in other codes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from astropy import units as u

from lenssuper.lens import cosmology as cosmo
from lenssuper.lens import halos, multipoles, profiles
from lenssuper.lens.interop.naming import Naming, multipole, polar, read_pjaffe, write_pjaffe
from lenssuper.lens.parameters import AXIS_RATIO, CENTER, POSITION_ANGLE, THETA_E, Parameter
from lenssuper.lens.profile import ProfileLens

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

_ORIGIN = 0 * u.arcsec


def _number(description: str, **options) -> Any:
    """Return a parameter without unit: to a type checker it is what the class says, a float."""
    return Parameter("number", description, **options)


_ALPHA_RS = Parameter("length", "Deflection at the scale radius, without truncation.", lower=0.0)
_RS = Parameter("length", "Scale radius.", lower=0.0, excluded=(0.0,))
_R_E = Parameter(
    "length",
    "Radius that normalises the logarithm in the deflection.",
    lower=0.0,
    excluded=(0.0,),
    default=1 * u.arcsec,
    observable=False,
)
_R_TRUNC = Parameter("length", "Truncation radius.", lower=0.0, excluded=(0.0,))
# lenstronomy's names for the point that a shear does not deflect
_ZERO = ("ra_0", "dec_0")


def _of_order(m):
    functions = multipoles.multipole_potential, multipoles.multipole_deflection, multipoles.multipole_hessian
    return tuple(partial(function, order=m) for function in functions)


class SIS(ProfileLens):
    """Singular isothermal sphere, kappa = theta_E / (2 r).

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    theta_E: u.Quantity = THETA_E

    _functions = (profiles.sis_potential, profiles.sis_deflection, profiles.sis_hessian)
    _lenstronomy = (Naming("SIS"),)
    _coolest = (Naming("SIE", write=lambda values: {**values, "q": 1.0, "phi": 0.0}, read=None),)
    torn = True

    @classmethod
    def from_velocity_dispersion(
        cls,
        sigma: u.Quantity,
        *,
        z_lens: float,
        z_source: float,
        cosmology: FLRW,
        x: u.Quantity = _ORIGIN,
        y: u.Quantity = _ORIGIN,
    ) -> SIS:
        """Return the sphere of a velocity dispersion, theta_E = 4 pi (sigma / c)^2 D_ls / D_s.

        Parameters
        ----------
        sigma : `~astropy.units.Quantity`
            One-dimensional velocity dispersion.
        z_lens, z_source : float
            Redshifts.
        cosmology : `~astropy.cosmology.FLRW`
            For example `astropy.cosmology.Planck18`.
        x, y : `~astropy.units.Quantity`, optional
            Centre.
        """
        return cls(theta_E=cosmo.isothermal_radius(sigma, z_lens, z_source, cosmology), x=x, y=y)


class SIE(ProfileLens):
    """Singular isothermal ellipsoid, kappa = theta_E / (2 sqrt(q x'^2 + y'^2 / q)) in the frame of its axes.

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius on the intermediate axis: the critical curve is an ellipse of area pi theta_E^2.
    q : float
        Axis ratio b / a, in (0, 1].
    phi : `~astropy.units.Quantity`, optional
        Direction of the major axis, counter-clockwise from +x.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    theta_E: u.Quantity = THETA_E
    q: float = AXIS_RATIO
    phi: u.Quantity = POSITION_ANGLE

    _functions = (profiles.sie_potential, profiles.sie_deflection, profiles.sie_hessian)
    _lenstronomy = (Naming("SIE"),)
    _coolest = (Naming("SIE"),)
    torn = True


class EPL(ProfileLens):
    """Elliptical power law, kappa = (3 - gamma) / 2 (theta_E / sqrt(q x'^2 + y'^2 / q))^(gamma - 1).

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius on the intermediate axis.
    gamma : float
        Slope of the density in three dimensions, between 1 and 3; 2 is isothermal.
    q : float
        Axis ratio b / a, in [0.01, 1].
    phi : `~astropy.units.Quantity`, optional
        Direction of the major axis, counter-clockwise from +x.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    theta_E: u.Quantity = THETA_E
    gamma: float = _number("Slope of the density in 3-D.", lower=1.0, upper=3.0, excluded=(1.0, 3.0))
    q: float = _number(AXIS_RATIO.description, lower=profiles.EPL_LOWEST_Q, upper=1.0)
    phi: u.Quantity = POSITION_ANGLE

    _functions = (profiles.epl_potential, profiles.epl_deflection, profiles.epl_hessian)
    _lenstronomy = (Naming("EPL"), Naming("EPL_NUMBA"), Naming("PEMD"))
    _coolest = (Naming("PEMD"),)

    @property
    def torn(self):
        return self._floats["gamma"] == 2


class DPIE(ProfileLens):
    """Dual pseudo-isothermal ellipsoid, or pseudo-Jaffe: an isothermal ellipsoid with a core and truncated.

    kappa = theta_E / 2 (1 / sqrt(r_core^2 + R^2) - 1 / sqrt(r_trunc^2 + R^2)), R^2 = q x'^2 + y'^2 / q. The
    mass is pi theta_E (r_trunc - r_core) in units of the critical surface density.

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius of the isothermal ellipsoid without core and truncation.
    r_trunc : `~astropy.units.Quantity`
        Truncation radius, beyond which the density falls as r^-4.
    r_core : `~astropy.units.Quantity`, optional
        Core radius, below r_trunc; zero for a pseudo-Jaffe profile.
    q : float, optional
        Axis ratio b / a, in (0, 1].
    phi : `~astropy.units.Quantity`, optional
        Direction of the major axis, counter-clockwise from +x.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    theta_E: u.Quantity = THETA_E
    r_trunc: u.Quantity = _R_TRUNC
    r_core: u.Quantity = Parameter("length", "Core radius.", lower=0.0, default=_ORIGIN)
    q: float = replace(AXIS_RATIO, default=1.0)
    phi: u.Quantity = POSITION_ANGLE

    _functions = (profiles.dpie_potential, profiles.dpie_deflection, profiles.dpie_hessian)
    _lenstronomy = (Naming("PJAFFE", write_pjaffe, read_pjaffe),)

    def _check(self):
        if not self._floats["r_core"] < self._floats["r_trunc"]:
            raise ValueError(f"r_core must be below r_trunc, {self.r_trunc}; got {self.r_core}")

    @property
    def singular(self):
        return self._floats["r_core"] == 0

    torn = singular


class _Multipole(ProfileLens):
    """Multipole of an isothermal ellipsoid."""

    a: u.Quantity = Parameter("length", "Strength of the part with the major axis, cos(m e).")
    b: u.Quantity = Parameter("length", "Strength of the part between, sin(m e).")
    q: float = _number(AXIS_RATIO.description, lower=profiles.EPL_LOWEST_Q, upper=1.0, default=1.0)
    phi: u.Quantity = POSITION_ANGLE

    def centers_arcsec(self):
        strength = abs(self._floats["a"]) + abs(self._floats["b"])
        return [(self._floats["x"], self._floats["y"])] if strength > 0 else []


class Multipole1(_Multipole):
    """Multipole of order 1, kappa = (a cos(e) + b sin(e)) / (2 R): makes a lens lopsided.

    R^2 = q x'^2 + y'^2 / q and tan(e) = y' / (q x') define the elliptical radius and angle. Added to an `SIE`
    or `EPL` of the same centre, q and phi, it moves the contours near the Einstein radius by a and b
    (Paugnat & Gilman 2025; "circular" multipoles, as of Xu et al. 2013, have q = 1).

    Parameters
    ----------
    a, b : `~astropy.units.Quantity`
        Strengths: a / theta_E is the largest relative change of the convergence of an `SIE`.
    q : float, optional
        Axis ratio b / a of the ellipse, in [0.01, 1].
    phi : `~astropy.units.Quantity`, optional
        Direction of its major axis, counter-clockwise from +x.
    r_E : `~astropy.units.Quantity`, optional
        Radius that normalises the deflection, which grows as ln(r / r_E); it only moves the source.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    r_E: u.Quantity = _R_E

    _functions = _of_order(1)
    _lenstronomy = multipole(1)


class Multipole3(_Multipole):
    """Multipole of order 3, kappa = (a cos(3 e) + b sin(3 e)) / (2 R): makes contours triangular.

    Parameters
    ----------
    a, b, q, phi, r_E, x, y
        As of `Multipole1`.
    """

    r_E: u.Quantity = _R_E

    _functions = _of_order(3)
    _lenstronomy = multipole(3)


class Multipole4(_Multipole):
    """Multipole of order 4, kappa = (a cos(4 e) + b sin(4 e)) / (2 R): makes contours disky (a > 0) or boxy.

    Parameters
    ----------
    a, b, q, phi, x, y
        As of `Multipole1`.
    """

    _functions = _of_order(4)
    _lenstronomy = multipole(4)
    torn = True


class PointMass(ProfileLens):
    """Point mass, alpha = theta_E^2 / r.

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius.
    x, y : `~astropy.units.Quantity`, optional
        Position.
    """

    theta_E: u.Quantity = THETA_E

    _functions = (profiles.point_potential, profiles.point_deflection, profiles.point_hessian)
    _lenstronomy = (Naming("POINT_MASS"),)


class ExternalShear(ProfileLens):
    """Uniform shear, from mass outside the field.

    Parameters
    ----------
    gamma1, gamma2 : float
        Components: positive gamma1 stretches images along x, positive gamma2 along the diagonal x = y.
    x, y : `~astropy.units.Quantity`, optional
        The point that is not deflected.
    """

    gamma1: float = _number("Component along the axes.")
    gamma2: float = _number("Component along the diagonals.")
    x: u.Quantity = replace(CENTER[0], observable=False)
    y: u.Quantity = replace(CENTER[1], observable=False)

    _functions = (profiles.shear_potential, profiles.shear_deflection, profiles.shear_hessian)
    _lenstronomy = (
        Naming("SHEAR", center=_ZERO),
        Naming("SHEAR_GAMMA_PSI", *polar("gamma1", "gamma2", "gamma_ext", "psi_ext", 2), center=_ZERO),
    )
    _coolest = (Naming("ExternalShear", *polar("gamma1", "gamma2", "gamma_ext", "phi_ext", 2), center=None),)

    def centers_arcsec(self):
        return []


class NFW(ProfileLens):
    """Spherical Navarro-Frenk-White halo.

    Parameters
    ----------
    alpha_Rs : `~astropy.units.Quantity`
        Deflection at the scale radius.
    Rs : `~astropy.units.Quantity`
        Scale radius.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    alpha_Rs: u.Quantity = _ALPHA_RS
    Rs: u.Quantity = _RS

    _functions = (halos.nfw_potential, halos.nfw_deflection, halos.nfw_hessian)
    _lenstronomy = (Naming("NFW"),)

    @classmethod
    def from_mass_concentration(
        cls,
        M200: u.Quantity,
        c: float,
        *,
        z_lens: float,
        z_source: float,
        cosmology: FLRW,
        x: u.Quantity = _ORIGIN,
        y: u.Quantity = _ORIGIN,
    ) -> NFW:
        """Return the halo of a mass and a concentration.

        Parameters
        ----------
        M200 : `~astropy.units.Quantity`
            Mass within the radius r200 inside which the mean density is 200 times the critical density at
            the redshift of the lens.
        c : float
            Concentration r200 / Rs.
        z_lens, z_source : float
            Redshifts.
        cosmology : `~astropy.cosmology.FLRW`
            For example `astropy.cosmology.Planck18`.
        x, y : `~astropy.units.Quantity`, optional
            Centre.
        """
        alpha_Rs, Rs = cosmo.halo_parameters(M200, c, z_lens, z_source, cosmology)
        return cls(alpha_Rs=alpha_Rs, Rs=Rs, x=x, y=y)


class TNFW(ProfileLens):
    """Truncated Navarro-Frenk-White halo, rho = rho_NFW r_trunc^2 / (r^2 + r_trunc^2).

    Parameters
    ----------
    alpha_Rs : `~astropy.units.Quantity`
        Deflection at the scale radius that the halo would have without truncation.
    Rs : `~astropy.units.Quantity`
        Scale radius.
    r_trunc : `~astropy.units.Quantity`
        Truncation radius.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    alpha_Rs: u.Quantity = _ALPHA_RS
    Rs: u.Quantity = _RS
    r_trunc: u.Quantity = _R_TRUNC

    _functions = (halos.tnfw_potential, halos.tnfw_deflection, halos.tnfw_hessian)
    _lenstronomy = (Naming("TNFW"),)
