"""Quantities to floats at the door, floats to Quantities at the exit.

The numerics of lenssuper hold no units: lengths on the sky are float64 arcsec and angles float64 radian. This
module is the only place where a unit is stripped, so it is also the one that says what is wrong with an
argument.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u

from lenssuper.exceptions import ArgumentUnitError

__all__ = ["arcsec", "in_unit", "quoted", "to_arcsec", "to_number", "to_radian"]


def to_arcsec(value: u.Quantity, name: str, *, finite: bool = True) -> float | np.ndarray:
    """
    Return an angular Quantity as float64 arcsec: a float for a scalar, else a new array.

    ``name`` is that of the argument, for messages. What is not a Quantity is a TypeError, another unit an
    ArgumentUnitError, and NaN or infinity a ValueError unless ``finite`` is False.
    """
    return in_unit(value, name, u.arcsec, "1.2 * u.arcsec", finite=finite)


def to_radian(value: u.Quantity, name: str, *, finite: bool = True) -> float | np.ndarray:
    """Return an angular Quantity as float64 radian; arguments and errors as `to_arcsec`."""
    return in_unit(value, name, u.radian, "45 * u.deg", finite=finite)


def to_number(value: float | u.Quantity, name: str, *, finite: bool = True) -> float | np.ndarray:
    """Return a dimensionless number, array or Quantity as float64; errors as `to_arcsec`."""
    if isinstance(value, u.Quantity):
        try:
            value = value.to_value(u.dimensionless_unscaled)
        except u.UnitConversionError:
            raise ArgumentUnitError(f"{name} must be a number without a unit; got {value!s}") from None
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a real number; got {value!r}")
    return _checked(numbers.astype(np.float64), name, value, finite)


def arcsec(values: float | np.ndarray) -> u.Quantity:
    """Attach arcsec to float values, without a copy."""
    return values << u.arcsec


def quoted(value: float | u.Quantity, error: float | u.Quantity) -> tuple[float, float, str]:
    """Return a parameter, its error and their unit as they are quoted: directions in degrees."""
    if not isinstance(value, u.Quantity):
        return float(value), float(error), ""
    unit = u.deg if value.unit == u.rad else value.unit
    return float(value.to_value(unit)), float(u.Quantity(error).to_value(unit)), unit.to_string()


def in_unit(value: u.Quantity, name: str, unit, example: str, *, finite: bool = True) -> float | np.ndarray:
    """Return a Quantity as float64 in ``unit``; arguments and errors as `to_arcsec`."""
    kind = "an angular unit" if u.Unit(unit).is_equivalent(u.radian) else f"a unit like {unit}"
    if not isinstance(value, u.Quantity):
        raise TypeError(f"{name} must be a Quantity with {kind}, e.g. {example}; got {value!r:.200}")
    try:
        numbers = value.to_value(unit)
    except u.UnitConversionError:
        raise ArgumentUnitError(f"{name} must have {kind}, e.g. {example}; got {value!s}") from None
    return _checked(np.array(numbers, dtype=np.float64), name, value, finite)


def _checked(numbers, name, value, finite):
    if finite and not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} must be finite; got {value!s}")
    return float(numbers) if numbers.ndim == 0 else numbers
