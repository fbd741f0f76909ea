"""Array helpers of the lens profiles: one code for numpy and torch, safe where a formula reads 0/0.

A branch that is not taken must not poison the gradient of the one that is: automatic differentiation
multiplies the infinite slope of the branch left out by zero and gets NaN. Every function here replaces the
argument before it divides or takes a root, and selects afterwards.
"""

from __future__ import annotations

import array_api_compat as compat
import array_api_compat.numpy as numpy_namespace
import numpy as np

# The square of a number that can be divided by, and whose arctan and arcsinh are itself to rounding
_NEXT_TO_NOTHING = 1e-30
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
    given = x, y, *parameters
    if all(isinstance(a, float) or (type(a) is np.ndarray and a.dtype == np.float64) for a in given):
        # nearly always, and what follows takes as long as the deflection of some thousand rays
        return numpy_namespace, *map(np.asarray, given)
    arrays = [a for a in given if _is_array(a)]
    xp = compat.array_namespace(*arrays) if arrays else numpy_namespace
    device = compat.device(arrays[0]) if arrays else None
    positions = [a for a in (x, y) if _is_array(a)]
    dtype = xp.result_type(*positions) if positions else xp.float64
    if not xp.isdtype(dtype, "real floating"):
        dtype = xp.float64

    def convert(value):
        if _is_array(value):
            return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, dtype)
        return xp.asarray(value, dtype=dtype, device=device)

    return xp, *map(convert, given)


def off_centre(xp, x, y, singular=True):
    """Return x, y moved off the points exactly at a singular centre, and where those are (to be masked)."""
    centre = (x == 0) & (y == 0)
    if singular is not True:
        centre = centre & singular
    if xp is numpy_namespace and not centre.any():
        return (x, y, centre) if x.shape == y.shape else (*np.broadcast_arrays(x, y), centre)
    one = xp.ones_like(x + y)
    return xp.where(centre, one, x), xp.where(centre, one, y), centre


def plug(xp, centre, *values):
    """Set the values at the centre to exactly zero ("plugging the hole")."""
    if xp is numpy_namespace and not centre.any():
        return values
    return tuple(xp.where(centre, xp.zeros_like(value), value) for value in values)


def branch(xp, condition, x, inside, outside, harmless):
    """Return ``inside(x)`` where the condition holds, else ``outside(x)``.

    Each function sees ``harmless`` (a pair of numbers, one for each) in place of the points of the other. Of
    NumPy, which differentiates nothing and needs no fixed shapes, each function sees its own points alone.
    """
    if xp is numpy_namespace:
        found = np.empty_like(x)
        found[condition] = inside(x[condition])
        found[~condition] = outside(x[~condition])
        return found
    for_inside, for_outside = (xp.full_like(x, number) for number in harmless)
    return xp.where(
        condition, inside(xp.where(condition, x, for_inside)), outside(xp.where(condition, for_outside, x))
    )


def atanhc(xp, m):
    """Return arctanh(sqrt(m)) / sqrt(m) for m < 1, which is arctan(sqrt(-m)) / sqrt(-m) for m < 0."""
    if xp is numpy_namespace and not np.any(m > 0):
        # the series is for derivatives of the root at zero: NumPy, which takes none, needs no branches
        root = np.sqrt(np.maximum(-m, _NEXT_TO_NOTHING))
        return np.arctan(root) / root

    def positive(m):
        root = xp.sqrt(m)
        return xp.atanh(root) / root

    def negative(m):
        root = xp.sqrt(-m)
        return xp.atan(root) / root

    def far(m):
        return branch(xp, m > 0, m, positive, negative, (0.5, -0.5))

    return branch(xp, xp.abs(m) < _SERIES_RADIUS, m, _polynomial(_ATANHC), far, (0.0, 0.5))


def asinhc(xp, m):
    """Return arcsinh(sqrt(m)) / sqrt(m) for m >= 0."""
    if xp is numpy_namespace:  # as above
        root = np.sqrt(np.maximum(m, _NEXT_TO_NOTHING))
        return np.arcsinh(root) / root

    def far(m):
        root = xp.sqrt(m)
        return xp.asinh(root) / root

    return branch(xp, m < _SERIES_RADIUS, m, _polynomial(_ASINHC), far, (0.0, 0.5))


def atanhc_slope(xp, m, value):
    """Return (value - 1) / m with value = atanhc(m), which the caller has, by its series near m = 0."""
    near = xp.abs(m) < _SERIES_RADIUS
    series = _polynomial(_ATANHC[1:])(xp.where(near, m, xp.zeros_like(m)))
    return xp.where(near, series, (value - 1) / xp.where(near, xp.ones_like(m), m))


def _polynomial(coefficients):
    def evaluate(m):
        total = coefficients[-1]
        for coefficient in reversed(coefficients[:-1]):
            total = total * m + coefficient
        return total

    return evaluate


def _is_array(value):
    return compat.is_array_api_obj(value) and not isinstance(value, np.generic)
