"""The lens models: a parameter list and the functions of `lenssuper.lens.profiles` each stands on."""

from __future__ import annotations

from astropy import units as u

from . import profiles
from ._parameters import AXIS_RATIO, CENTER, POSITION_ANGLE, THETA_E, Parameter
from .base import ProfileLens

_ORIGIN = 0 * u.arcsec
_NO_TURN = 0 * u.deg


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
