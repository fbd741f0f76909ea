"""What the parameters of a lens are: their kind, their range, and the error when a value does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from astropy import units as u

from lenssuper._utils.units import to_arcsec, to_number, to_radian

_CONVERTERS = {"length": to_arcsec, "angle": to_radian, "number": to_number}
_UNITS = {"length": u.arcsec, "angle": u.rad, "number": None}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a lens profile.

    Parameters
    ----------
    name : str
        Name of the argument and of the attribute.
    kind : {"length", "angle", "number"}
        A distance on the sky (kept in arcsec), a direction (kept in radian), or a number.
    description : str
        One line, the docstring of the attribute.
    lower, upper : float, optional
        Range, in the unit the parameter is kept in.
    excluded : tuple of float, optional
        The ends of the range that do not belong to it.
    """

    name: str
    kind: str
    description: str
    lower: float = -inf
    upper: float = inf
    excluded: tuple[float, ...] = ()

    def to_float(self, value) -> float:
        """Return the value in arcsec, radian or 1, or raise an error that names the parameter."""
        number = _CONVERTERS[self.kind](value, self.name)
        if not isinstance(number, float):
            raise ValueError(f"{self.name} must be a scalar; got an array of shape {number.shape}")
        if not self.lower <= number <= self.upper or number in self.excluded:
            raise ValueError(f"{self.name} must {self._rule}; got {value!s}")
        return number

    def keep(self, value) -> u.Quantity | float:
        """Return the value as the lens keeps it: a Quantity in the unit it was given, or a float."""
        if self.kind == "number":
            return to_number(value, self.name)
        return u.Quantity(value, dtype=float, copy=True)

    def to_public(self, number: float) -> u.Quantity | float:
        """Return a float (arcsec, radian, 1) as a Quantity, or as itself."""
        unit = _UNITS[self.kind]
        return number if unit is None else number * unit

    @property
    def _rule(self) -> str:
        unit = " arcsec" if self.kind == "length" else ""
        if self.upper == inf:
            return f"be {'above' if self.lower in self.excluded else 'at least'} {self.lower:g}{unit}"
        opening = "(" if self.lower in self.excluded else "["
        closing = ")" if self.upper in self.excluded else "]"
        return f"lie in {opening}{self.lower:g}, {self.upper:g}{closing}{unit}"


CENTER = (
    Parameter("x", "length", "Offset of the centre along x (west)."),
    Parameter("y", "length", "Offset of the centre along y (north)."),
)
THETA_E = Parameter("theta_E", "length", "Einstein radius, on the intermediate axis.", lower=0.0)
AXIS_RATIO = Parameter(
    "q", "number", "Axis ratio b / a of the convergence.", lower=0.0, upper=1.0, excluded=(0.0,)
)
POSITION_ANGLE = Parameter("phi", "angle", "Direction of the major axis, counter-clockwise from +x.")
