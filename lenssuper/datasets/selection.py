"""Items of a sequence chosen by an index, a slice, a list of indices or a mask."""

from __future__ import annotations

import operator

import numpy as np

__all__ = ["select"]


def select(item, n: int, things: str) -> int | np.ndarray:
    """Return the index, or the array of indices, that ``item`` chooses among ``n`` things."""
    if isinstance(item, slice):
        return np.arange(n)[item]
    if np.ndim(item) == 0:
        return _checked(item, n, things)
    chosen = np.asarray(item)
    if chosen.size == 0:
        return np.array([], dtype=int)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iub":
        _checked(item, n, things)
    if chosen.dtype.kind == "b":
        if len(chosen) != n:
            raise IndexError(f"a mask must have one value for each of {n} {things}; got {len(chosen)}")
        return np.flatnonzero(chosen)
    for index in (chosen.min(), chosen.max()):
        _checked(index, n, things)
    return chosen


def _checked(item, n, things):
    try:
        index = operator.index(item)
    except TypeError:
        raise TypeError(
            f"{things} are chosen by an integer, a slice, a list of integers or a mask of booleans; "
            f"got {item!r:.80}"
        ) from None
    if not -n <= index < n:
        raise IndexError(f"the index must be below {n}, the number of {things}; got {index}")
    return index
