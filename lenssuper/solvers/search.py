"""The maximum of a smooth function of a few variables, of which each value is expensive."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["maximise"]

# Values further below the largest count less in the fit of a parabola, as the function need not be one there.
_NEAR = 30.0
# Longest step from the best point, and shortest distance between two points, in units of the first steps
_FAR, _APART = 1.5, 0.2


def maximise(
    function: Callable[[np.ndarray], float],
    start: np.ndarray,
    steps: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    *,
    tol: float,
    most: int,
) -> np.ndarray:
    """
    Return the best point (n,) among those tried: each is the top of a parabola through the values before.

    Three points along each axis come first, then the tops of parabolas fitted to all points, until the
    parabola promises less than ``tol`` more than the best value or ``most`` values are known. ``steps`` (n,)
    are of the size on which the function changes; ``bounds`` are the least and the largest values (n,).
    As with Powell's UOBYQA (2002, Math. Program. 92, 555), no derivatives are needed.
    """
    low, high = bounds
    points: list[np.ndarray] = []
    values: list[float] = []

    def value(point):
        points.append(np.clip(point, low, high))
        values.append(function(points[-1]))
        return values[-1]

    def best():
        return points[int(np.argmax(values))]

    value(np.asarray(start, dtype=float))
    for axis in np.diag(steps):
        here, before = best(), max(values)
        # downhill on one side is uphill on the other
        if len(points) < most and value(here + axis) < before and len(points) < most:
            value(here - axis)
        elif len(points) < most:
            value(here + 2 * axis)
    while len(points) < most:
        top, gain = _top(np.array(points), np.array(values), best(), steps, bounds)
        if gain < tol:
            break
        near = np.min(np.max(np.abs(np.array(points) - top) / steps, axis=1))
        if near < _APART:
            break
        value(top)
    return best()


def _top(points, values, centre, steps, bounds):
    """Return the top of the fitted parabola within reach, and how far it is above the best value."""
    n = len(centre)
    moved = (points - centre) / steps
    pairs = np.triu_indices(n)
    design = np.hstack([np.ones((len(moved), 1)), moved, moved[:, pairs[0]] * moved[:, pairs[1]]])
    weights = np.exp((values - values.max()) / (2 * _NEAR)) + 1e-3
    weights /= 1 + np.sum(moved**2, axis=1) / 4
    fitted = np.linalg.lstsq(design * weights[:, None], (values - values.max()) * weights, rcond=1e-8)[0]
    slope, bend = fitted[1 : n + 1], np.zeros((n, n))
    bend[pairs] = fitted[n + 1 :]
    values_of, axes = np.linalg.eigh(bend + bend.T)
    # a parabola that opens upwards only says in which direction to go
    step = axes @ ((axes.T @ slope) / np.maximum(-values_of, 0.05 * np.abs(slope).max() + 1e-9))
    step *= min(1.0, _FAR / max(np.abs(step).max(), 1e-300))
    low, high = bounds
    top = np.clip(centre + step * steps, low, high)
    step = (top - centre) / steps
    gain = slope @ step + 0.5 * step @ (bend + bend.T) @ step
    return top, float(gain)
