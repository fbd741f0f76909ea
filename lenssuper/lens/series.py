"""Series in the multiples of an angle, for numpy and torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat.numpy as numpy_namespace
import numpy as np

import lenssuper.lens.circularsums as _circularsums

__all__ = ["circular_series"]


def circular_series(xp, cos, sin, coefficients: Sequence[Any]):
    """Return the sums of c_n cos(n a) and of c_n sin(n a), n = 0, 1, ..., for angles of cosine and sine.

    Both are summed together, from the last term to the first (Clenshaw 1955, Math. Comp. 9, 118).
    """
    if xp is numpy_namespace and cos.dtype == np.float64 and all(np.ndim(c) == 0 for c in coefficients):
        sums = np.empty((2, cos.size))
        flat = (np.ascontiguousarray(v).ravel() for v in (cos, sin))
        _circularsums.sums(np.array(coefficients, dtype=np.float64), *flat, *sums)
        return sums.reshape(2, *cos.shape)
    twice, later, last = 2 * cos, 0.0, xp.zeros_like(cos)
    for c in coefficients[:0:-1]:
        later, last = last, c + twice * last - later
    return coefficients[0] + cos * last - later, sin * last
