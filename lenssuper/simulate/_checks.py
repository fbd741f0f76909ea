"""Checks that the arguments of this package share: one number, of the right kind, within its range."""

from __future__ import annotations

import astropy.units as u
import numpy as np

from lenssuper._utils.units import to_arcsec, to_number, to_radian

__all__ = ["angle", "fraction", "length", "number", "positive", "positive_angle", "ratio"]


def number(value, name: str) -> float:
    """One dimensionless number."""
    return _scalar(to_number(value, name), name)


def length(value: u.Quantity, name: str) -> float:
    """One angle on the sky, in arcsec."""
    return _scalar(to_arcsec(value, name), name)


def angle(value: u.Quantity, name: str) -> float:
    """One position angle, in radian."""
    return _scalar(to_radian(value, name), name)


def positive(value, name: str) -> float:
    """One dimensionless number above zero."""
    return _above_zero(number(value, name), name)


def positive_angle(value: u.Quantity, name: str) -> float:
    """One angle on the sky above zero, in arcsec."""
    return _above_zero(length(value, name), name, " arcsec")


def ratio(value, name: str) -> float:
    """One number in (0, 1]."""
    result = number(value, name)
    if not 0 < result <= 1:
        raise ValueError(f"{name} must lie in (0, 1]; got {result}")
    return result


def fraction(value, name: str) -> float:
    """One number in [0, 1)."""
    result = number(value, name)
    if not 0 <= result < 1:
        raise ValueError(f"{name} must lie in [0, 1); got {result}")
    return result


def _scalar(value, name):
    if np.ndim(value):
        raise ValueError(f"{name} must be one value; got an array of shape {np.shape(value)}")
    return value


def _above_zero(value, name, unit=""):
    if not value > 0:
        raise ValueError(f"{name} must be positive; got {value}{unit}")
    return value
