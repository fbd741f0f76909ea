"""The lens models: a parameter list and the functions of ``lenssuper.lens.profiles`` each stands on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from astropy import units as u

from lenssuper.lens import cosmology as cosmo
from lenssuper.lens import halos, profiles
from lenssuper.lens.parameters import AXIS_RATIO, CENTER, POSITION_ANGLE, THETA_E, Parameter
from lenssuper.lens.profile import ProfileLens

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

_ORIGIN = 0 * u.arcsec
_NO_TURN = 0 * u.deg
_HALO = (
    Parameter("alpha_Rs", "length", "Deflection at the scale radius, without truncation.", lower=0.0),
    Parameter("Rs", "length", "Scale radius.", lower=0.0, excluded=(0.0,)),
)


class SIS(ProfileLens):
    """Singular isothermal sphere, kappa = theta_E / (2 r).

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    """

    _schema = (THETA_E, *CENTER)
    _functions = (profiles.sis_potential, profiles.sis_deflection, profiles.sis_hessian)
    _arguments = ("theta_E",)

    def __init__(self, *, theta_E: u.Quantity, x: u.Quantity = _ORIGIN, y: u.Quantity = _ORIGIN):
        super().__init__(theta_E=theta_E, x=x, y=y)

    @property
    def torn(self):
        return True

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

        Raises
        ------
        ValueError
            If the source is not behind the lens.
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

    _schema = (THETA_E, AXIS_RATIO, POSITION_ANGLE, *CENTER)
    _functions = (profiles.sie_potential, profiles.sie_deflection, profiles.sie_hessian)
    _arguments = ("theta_E", "q")

    def __init__(
        self,
        *,
        theta_E: u.Quantity,
        q: float,
        phi: u.Quantity = _NO_TURN,
        x: u.Quantity = _ORIGIN,
        y: u.Quantity = _ORIGIN,
    ):
        super().__init__(theta_E=theta_E, q=q, phi=phi, x=x, y=y)

    @property
    def torn(self):
        return True


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

    _schema = (
        THETA_E,
        Parameter(
            "gamma", "number", "Slope of the density in 3-D.", lower=1.0, upper=3.0, excluded=(1.0, 3.0)
        ),
        replace(AXIS_RATIO, lower=profiles.EPL_LOWEST_Q, excluded=()),
        POSITION_ANGLE,
        *CENTER,
    )
    _functions = (profiles.epl_potential, profiles.epl_deflection, profiles.epl_hessian)
    _arguments = ("theta_E", "q", "gamma")

    def __init__(
        self,
        *,
        theta_E: u.Quantity,
        gamma: float,
        q: float,
        phi: u.Quantity = _NO_TURN,
        x: u.Quantity = _ORIGIN,
        y: u.Quantity = _ORIGIN,
    ):
        super().__init__(theta_E=theta_E, gamma=gamma, q=q, phi=phi, x=x, y=y)

    @property
    def torn(self):
        return self._floats["gamma"] == 2


class PointMass(ProfileLens):
    """Point mass, alpha = theta_E^2 / r.

    Parameters
    ----------
    theta_E : `~astropy.units.Quantity`
        Einstein radius.
    x, y : `~astropy.units.Quantity`, optional
        Position.
    """

    _schema = (THETA_E, *CENTER)
    _functions = (profiles.point_potential, profiles.point_deflection, profiles.point_hessian)
    _arguments = ("theta_E",)

    def __init__(self, *, theta_E: u.Quantity, x: u.Quantity = _ORIGIN, y: u.Quantity = _ORIGIN):
        super().__init__(theta_E=theta_E, x=x, y=y)


class ExternalShear(ProfileLens):
    """Shear that is the same everywhere, by what lies outside the field.

    Parameters
    ----------
    gamma1, gamma2 : float
        Components: positive gamma1 stretches images along x, positive gamma2 along the diagonal x = y.
    x, y : `~astropy.units.Quantity`, optional
        The point that is not deflected.
    """

    _schema = (
        Parameter("gamma1", "number", "Component along the axes."),
        Parameter("gamma2", "number", "Component along the diagonals."),
        *CENTER,
    )
    _functions = (profiles.shear_potential, profiles.shear_deflection, profiles.shear_hessian)
    _arguments = ("gamma1", "gamma2")
    _singular = False

    def __init__(self, *, gamma1: float, gamma2: float, x: u.Quantity = _ORIGIN, y: u.Quantity = _ORIGIN):
        super().__init__(gamma1=gamma1, gamma2=gamma2, x=x, y=y)


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

    _schema = (*_HALO, *CENTER)
    _functions = (halos.nfw_potential, halos.nfw_deflection, halos.nfw_hessian)
    _arguments = ("alpha_Rs", "Rs")

    def __init__(
        self, *, alpha_Rs: u.Quantity, Rs: u.Quantity, x: u.Quantity = _ORIGIN, y: u.Quantity = _ORIGIN
    ):
        super().__init__(alpha_Rs=alpha_Rs, Rs=Rs, x=x, y=y)

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

        Raises
        ------
        ValueError
            If the source is not behind the lens.
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

    _schema = (
        *_HALO,
        Parameter("r_trunc", "length", "Truncation radius.", lower=0.0, excluded=(0.0,)),
        *CENTER,
    )
    _functions = (halos.tnfw_potential, halos.tnfw_deflection, halos.tnfw_hessian)
    _arguments = ("alpha_Rs", "Rs", "r_trunc")

    def __init__(
        self,
        *,
        alpha_Rs: u.Quantity,
        Rs: u.Quantity,
        r_trunc: u.Quantity,
        x: u.Quantity = _ORIGIN,
        y: u.Quantity = _ORIGIN,
    ):
        super().__init__(alpha_Rs=alpha_Rs, Rs=Rs, r_trunc=r_trunc, x=x, y=y)
