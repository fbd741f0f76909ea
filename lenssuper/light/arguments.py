"""Values of parameters that the user gives by name, as floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lenssuper._utils.units import to_arcsec, to_number, to_radian
from lenssuper.light.sersic.components import NAMES

__all__ = ["per_component", "read_bounds", "read_start", "read_value"]

_READ = {"x": to_arcsec, "y": to_arcsec, "R_e": to_arcsec, "n": to_number, "q": to_number, "phi": to_radian}
_LARGEST = {"q": 1.0}
_POSITIVE = ("R_e", "n", "q")


def per_component(given, what, n, read):
    """A list of one mapping of floats, for all components, or of one for each; None if nothing is given."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        each = [given]
    elif isinstance(given, Sequence) and all(isinstance(g, Mapping) for g in given):
        each = list(given)
        if n is None or len(each) != n:
            raise ValueError(
                f"{what} must be one mapping, or one for each of n_components={n}; got {len(each)} mappings"
            )
    else:
        raise TypeError(f"{what} must be a mapping of names to values, or a list of them; got {given!r:.80}")
    return [{name: read(name, value, f"{what}[{name!r}]") for name, value in one.items()} for one in each]


def _check_name(name, what):
    if name not in NAMES:
        raise ValueError(f"{what} is unknown; the parameters are {', '.join(NAMES)}")


def read_value(name, value, what):
    _check_name(name, what)
    number = _READ[name](value, what)
    if np.ndim(number):
        raise ValueError(f"{what} must be one value; got {value!r}")
    if (name in _POSITIVE and number <= 0) or number > _LARGEST.get(name, np.inf):
        raise ValueError(f"{what} must be {'in (0, 1]' if name == 'q' else 'positive'}; got {value}")
    return number


def read_bounds(name, pair, what):
    _check_name(name, what)
    try:
        low, high = pair
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be two values, the lowest and the highest; got {pair!r}") from None
    low, high = (read_value(name, value, what) for value in (low, high))
    if not low < high:
        raise ValueError(f"{what} must be the lowest and a higher value; got {pair!r}")
    return low, high


def read_start(rows, n):
    """Parameters (K, 6) of where a search starts."""
    parameters = []
    for k, row in enumerate(rows):
        try:
            values = [row[name] for name in NAMES]
        except (KeyError, TypeError, IndexError):
            raise ValueError(
                f"initial must have {', '.join(NAMES)} of every profile; got {row!r:.80}"
            ) from None
        parameters.append(
            [read_value(name, v, f"initial[{k}][{name!r}]") for name, v in zip(NAMES, values, strict=True)]
        )
    if not parameters or (n is not None and len(parameters) != n):
        raise ValueError(f"initial must have n_components={n} profiles; got {len(parameters)}")
    return np.array(parameters)
