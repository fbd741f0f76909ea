"""Checks of arguments; every error names the argument, the rule and what came."""

from __future__ import annotations

import numbers
from math import inf
from types import NoneType, UnionType
from typing import get_args

import astropy.units as u
import numpy as np

from lenssuper._utils.units import in_unit, to_arcsec, to_number, to_radian

__all__ = [
    "check_angle",
    "check_choice",
    "check_count",
    "check_interval",
    "check_kind",
    "check_length",
    "check_number",
    "check_quantity",
    "check_range",
    "check_rng",
    "check_shape",
]


def check_kind(value, name: str, kind: type | UnionType, wanted: str = ""):
    """Return a value of the given kind, which may be a union of classes; ``wanted`` describes it in words."""
    kinds = get_args(kind) or (kind,)
    if isinstance(value, kinds) or (bool in kinds and isinstance(value, np.bool_)):
        return value
    raise TypeError(f"{name} must be {wanted or _in_words(kinds)}; got {value!r:.80}")


def _in_words(kinds):
    fixed = {bool: ["True", "False"], NoneType: ["None"]}
    words = []
    for kind in kinds:
        article = "an" if kind.__name__[0] in "AEIOaeio" else "a"
        words += fixed.get(kind, [f"{article} {kind.__name__}"])
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def check_choice(value, name: str, choices):
    """Return a value that is one of a few."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r:.80}")
    return value


def check_count(value, name: str, least: int = 1, *, even: bool = False) -> int:
    """Return an integer of at least ``least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer; got {value!r:.80}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")
    if even and value % 2:
        raise ValueError(f"{name} must be even; got {value}")
    return int(value)


def check_shape(shape, name: str = "shape") -> tuple[int, int]:
    """Return the shape (ny, nx) of an image with pixels in it."""
    try:
        ny, nx = shape
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be two integers (ny, nx); got {shape!r:.80}") from None
    return check_count(ny, name), check_count(nx, name)


def check_number(value, name: str, **limits: float) -> float:
    """Return one finite number without a unit, within ``limits`` as of `check_range`."""
    return check_range(_single(to_number(value, name), name), name, got=value, **limits)


def check_length(value: u.Quantity, name: str, **limits: float) -> float:
    """Return one length on the sky in arcsec, within ``limits`` (arcsec) as of `check_range`."""
    return check_range(_single(to_arcsec(value, name), name), name, got=value, unit=u.arcsec, **limits)


def check_angle(value: u.Quantity, name: str, **limits: float) -> float:
    """Return one direction in radian, within ``limits`` (radian) as of `check_range`."""
    return check_range(_single(to_radian(value, name), name), name, got=value, unit=u.radian, **limits)


def check_quantity(value: u.Quantity, name: str, unit, example: str, **limits: float) -> u.Quantity:
    """Return one finite Quantity that can be converted to ``unit``, within ``limits`` (in that unit)."""
    number = _single(in_unit(value, name, unit, example), name)
    check_range(number, name, got=value, unit=u.Unit(unit), **limits)
    return value


def check_rng(rng) -> np.random.Generator:
    """Return a generator of random numbers: a given one, one of a seed, or a fresh one for None."""
    if isinstance(rng, numbers.Integral) and not isinstance(rng, bool):
        rng = check_count(rng, "rng", 0)
    elif rng is not None:
        check_kind(rng, "rng", np.random.Generator, "a numpy.random.Generator, an integer or None")
    return np.random.default_rng(rng)


def check_interval(pair, name: str, check=check_number, **limits) -> tuple[float, float]:
    """Return two values, each as ``check`` returns it, of which the second is not below the first."""
    try:
        low, high = pair
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be two values (low, high); got {pair!r:.80}") from None
    low, high = (check(value, name, **limits) for value in (low, high))
    if low > high:
        raise ValueError(f"{name} must be two values (low, high), the lower first; got {pair!r:.80}")
    return low, high


def check_range(
    number: float,
    name: str,
    *,
    above: float = -inf,
    least: float = -inf,
    below: float = inf,
    most: float = inf,
    unit: u.UnitBase | None = None,
    got=None,
) -> float:
    """Return a number n with above < n < below and least <= n <= most; ``got`` is what the user gave."""
    if above < number < below and least <= number <= most:
        return number
    low, high = max(above, least), min(below, most)
    unit = f" {unit}" if unit is not None else ""
    if high == inf:
        rule = "be positive" if above == 0 else f"be {'above' if low == above else 'at least'} {low:g}{unit}"
    elif low == -inf:
        rule = f"be {'below' if high == below else 'at most'} {high:g}{unit}"
    else:
        rule = f"lie in {'(' if low == above else '['}{low:g}, {high:g}{')' if high == below else ']'}{unit}"
    raise ValueError(f"{name} must {rule}; got {number if got is None else got!s}")


def _single(value, name):
    if np.ndim(value):
        raise ValueError(f"{name} must be one value; got an array of shape {np.shape(value)}")
    return value
