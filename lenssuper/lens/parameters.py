"""Parameters of lens profiles: their kinds, ranges and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from astropy import units as u

from lenssuper._utils.checks import check_angle, check_length, check_number
from lenssuper._utils.units import to_number

_CHECKS = {"length": check_length, "angle": check_angle, "number": check_number}
_UNITS = {"length": u.arcsec, "angle": u.rad, "number": None}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a lens profile.

    Parameters
    ----------
    kind : {"length", "angle", "number"}
        A distance on the sky (kept in arcsec), a direction (kept in radian), or a number.
    description : str
        One line, the docstring of the attribute.
    lower, upper : float, optional
        Range, in the unit the parameter is kept in.
    excluded : tuple of float, optional
        The ends of the range that do not belong to it.
    default : `~astropy.units.Quantity` or float, optional
        Value if it is not given; without one it must be given.
    observable : bool, optional
        False for a parameter that only moves the source, whose true position is unknown.
    name : str, optional
        Set by the class that has the parameter: the name of the attribute.
    """

    kind: str
    description: str
    lower: float = -inf
    upper: float = inf
    excluded: tuple[float, ...] = ()
    default: u.Quantity | float | None = None
    observable: bool = True
    name: str = ""

    def to_float(self, value) -> float:
        """Return the value in arcsec, radian or 1, or raise an error that names the parameter."""
        lower = {"above" if self.lower in self.excluded else "least": self.lower}
        upper = {"below" if self.upper in self.excluded else "most": self.upper}
        return _CHECKS[self.kind](value, self.name, **lower, **upper)

    def keep(self, value) -> u.Quantity | float:
        """Return the value as the lens keeps it: a Quantity in the unit it was given, or a float."""
        if self.kind == "number":
            return to_number(value, self.name)
        return u.Quantity(value, dtype=float, copy=True)

    def to_public(self, number: float) -> u.Quantity | float:
        """Return a float (arcsec, radian, 1) as a Quantity, or as itself."""
        unit = _UNITS[self.kind]
        return number if unit is None else number * unit


THETA_E = Parameter("length", "Einstein radius, on the intermediate axis.", lower=0.0)
AXIS_RATIO: Any = Parameter(
    "number", "Axis ratio b / a of the convergence.", lower=0.0, upper=1.0, excluded=(0.0,)
)
POSITION_ANGLE = Parameter(
    "angle", "Direction of the major axis, counter-clockwise from +x.", default=0 * u.deg
)
CENTER = (
    Parameter("length", "Offset of the centre along x (west).", default=0 * u.arcsec, name="x"),
    Parameter("length", "Offset of the centre along y (north).", default=0 * u.arcsec, name="y"),
)
