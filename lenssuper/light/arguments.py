"""Values of parameters that the user gives by name, as floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from lenssuper._utils.checks import check_angle, check_choice, check_interval, check_length, check_number
from lenssuper.light.sersic.components import NAMES

__all__ = ["per_component", "read_bounds", "read_start", "read_value"]

_CHECKS = {
    "x": check_length,
    "y": check_length,
    "R_e": partial(check_length, above=0),
    "n": partial(check_number, above=0),
    "q": partial(check_number, above=0, most=1),
    "phi": check_angle,
}


def per_component(given, what, n, read):
    """Return a list of one mapping of floats for all components, or of one for each; None for None."""
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


def read_value(name, value, what):
    """Return one value of a parameter."""
    check_choice(name, f"the name in {what}", NAMES)
    return _CHECKS[name](value, what)


def read_bounds(name, pair, what):
    """Return the lowest and the highest value of a parameter."""
    check_choice(name, f"the name in {what}", NAMES)
    low, high = check_interval(pair, what, _CHECKS[name])
    if low == high:
        raise ValueError(f"{what} must be two different values (low, high); got {pair!r}")
    return low, high


def read_start(rows, n):
    """Return the parameters (K, 6) of the start of a search."""
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
