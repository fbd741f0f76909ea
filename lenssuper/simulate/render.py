"""
Pixel averages of a surface brightness by adaptive supersampling.

This is deliberately unlike the package's operators: rays are shot and averaged, no areas are clipped and
there is no source grid, so that mock data do not share the errors of the methods that are tested on them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import maximum_filter

from lenssuper.observation.grid import PixelGrid

__all__ = ["pixel_averages"]

_BLOCK = 1 << 14  # rays at a time: their arrays of 128 kB stay in the cache of a core
_MAX_RAYS = 64  # per pixel and direction; a jump in brightness would need ever more


def pixel_averages(
    brightness: Callable[[np.ndarray, np.ndarray], np.ndarray],
    grid: PixelGrid,
    *,
    rays: int = 4,
    tol: float = 1e-4,
) -> np.ndarray:
    """
    Average ``brightness`` over the pixels of ``grid``.

    Every pixel starts with ``rays`` x ``rays`` points on a regular lattice. Where the estimated error exceeds
    ``tol`` times the largest average, their number is doubled in each direction.

    ``brightness`` is a function of offsets x and y in arcsec; ``rays`` is 1 or at least 3.
    """
    ny, nx = grid.shape
    columns, rows = (c.ravel() for c in np.meshgrid(np.arange(nx), np.arange(ny)))
    mean, error = _sample(brightness, grid, columns, rows, rays)
    if rays == 1:
        error = _midpoint_error_of_neighbours(mean.reshape(ny, nx)).ravel()
    limit = tol * np.abs(mean).max(initial=0.0)
    rough = np.flatnonzero(error > limit)
    while rough.size and rays < _MAX_RAYS:
        rays = 3 if rays == 1 else 2 * rays
        mean[rough], error = _sample(brightness, grid, columns[rough], rows[rough], rays)
        rough = rough[error > limit]
    return mean.reshape(ny, nx)


def _sample(brightness, grid, columns, rows, rays):
    """Return the mean of rays x rays points inside each of the listed pixels, and its error."""
    step = (np.arange(rays) + 0.5) / rays - 0.5
    dx, dy = (d.ravel() for d in np.meshgrid(step, step))
    mean, error = np.empty(columns.size), np.empty(columns.size)
    block = max(1, _BLOCK // dx.size)
    for start in range(0, columns.size, block):
        part = slice(start, start + block)
        x, y = grid.to_offset(columns[part, None] + dx, rows[part, None] + dy)
        values = brightness(x, y)
        mean[part] = values.mean(axis=1)
        error[part] = _midpoint_error(values.reshape(-1, rays, rays))
    return mean, error


def _midpoint_error(values):
    """
    Return the error of the midpoint rule for each (rays, rays) lattice.

    It is the mean absolute second difference over 24, added up over both directions. Signed differences of a
    cusp and its surroundings can cancel, and two densities of rays can agree by chance.
    """
    if values.shape[-1] < 3:
        return np.full(len(values), np.inf)
    along = np.abs(np.diff(values, 2, axis=2)).mean(axis=(1, 2))
    return (along + np.abs(np.diff(values, 2, axis=1)).mean(axis=(1, 2))) / 24


def _midpoint_error_of_neighbours(image):
    """Return the same for one ray per pixel, from the pixels around; the largest value among neighbours."""
    padded = np.pad(image, 1, mode="edge")
    along = np.abs(np.diff(padded[1:-1], 2, axis=1))
    across = np.abs(np.diff(padded[:, 1:-1], 2, axis=0))
    return maximum_filter(along + across, size=3) / 24
