"""Array helpers of the lens profiles: one code for numpy and torch, safe where a formula reads 0/0.

A branch that is not taken must not poison the gradient of the one that is: automatic differentiation multiplies the
infinite slope of the branch left out by zero and gets NaN. Every function here replaces the argument before it
divides or takes a root, and selects afterwards.
"""

from __future__ import annotations

import array_api_compat as compat
import array_api_compat.numpy as numpy_namespace
import numpy as np

# Radius of the power series in atanhc and asinhc; ten terms leave 0.03**10 / 21 < 3e-17.
_SERIES_RADIUS = 0.03
_ATANHC = [1 / (2 * k + 1) for k in range(10)]
_ASINHC = [1.0]
for _k in range(1, 10):
    _ASINHC.append(-_ASINHC[-1] * (2 * _k - 1) ** 2 / ((2 * _k) * (2 * _k + 1)))


def as_arrays(x, y, *parameters):
    """Return the array namespace of the arguments, then all of them as floating arrays of it.

    Python numbers take the dtype and the device of the positions, so float32 stays float32.
    """
    arrays = [a for a in (x, y, *parameters) if _is_array(a)]
    xp = compat.array_namespace(*arrays) if arrays else numpy_namespace
    leader = arrays[0] if arrays else None
    positions = [a for a in (x, y) if _is_array(a)]
    dtype = xp.result_type(*positions) if positions else xp.float64
    if not xp.isdtype(dtype, "real floating"):
        dtype = xp.float64
    device = None if leader is None else compat.device(leader)

    def convert(value):
        if _is_array(value):
            return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, dtype)
        return xp.asarray(value, dtype=dtype, device=device)

    return xp, *(convert(value) for value in (x, y, *parameters))


def off_centre(xp, x, y):
    """Return (x, y, at_centre) with the points exactly at the centre moved away from it, to be masked afterwards."""
    at_centre = (x == 0) & (y == 0)
    one = xp.ones_like(x + y)
    return xp.where(at_centre, one, x), xp.where(at_centre, one, y), at_centre


def plug(xp, at_centre, *values):
    """Set the values at the centre to zero ("plugging the hole")."""
    return tuple(xp.where(at_centre, xp.zeros_like(value), value) for value in values)


def atanhc(xp, m):
    """Return arctanh(sqrt(m)) / sqrt(m) for m < 1, which is arctan(sqrt(-m)) / sqrt(-m) for m < 0."""
    small, near, far = _split(xp, m)
    positive = far > 0
    half = xp.full_like(far, 0.5)
    up, down = xp.sqrt(xp.where(positive, far, half)), xp.sqrt(xp.where(positive, half, -far))
    return xp.where(
        small, _polynomial(near, _ATANHC), xp.where(positive, xp.atanh(up) / up, xp.atan(down) / down)
    )


def atanhc_slope(xp, m):
    """Return (atanhc(m) - 1) / m for m < 1."""
    small, near, far = _split(xp, m)
    return xp.where(small, _polynomial(near, _ATANHC[1:]), (atanhc(xp, far) - 1) / far)


def asinhc(xp, m):
    """Return arcsinh(sqrt(m)) / sqrt(m) for m >= 0."""
    small, near, far = _split(xp, m)
    root = xp.sqrt(far)
    return xp.where(small, _polynomial(near, _ASINHC), xp.asinh(root) / root)


def _is_array(value):
    return compat.is_array_api_obj(value) and not isinstance(value, np.generic)


def _split(xp, m):
    small = xp.abs(m) < _SERIES_RADIUS
    return small, xp.where(small, m, xp.zeros_like(m)), xp.where(small, xp.full_like(m, 0.5), m)


def _polynomial(m, coefficients):
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * m + coefficient
    return total
