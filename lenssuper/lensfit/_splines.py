"""Kernels for sources made of cubic B-splines: nothing but numbers and arrays."""

from __future__ import annotations

import math

import numpy as np

from lenssuper._utils.compile import compiled, inlined

__all__ = ["gradients", "weights"]

# Side of the window, in source pixels, in which the weights of an image pixel's rays are added up; rays of a
# pixel that is torn reach further, and stay apart
_WINDOW = 16


@inlined
def _cubic(t):
    """Values of the four splines that overlap between two nodes (de Boor 1978, ch. X)."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
        (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
        t * t * t / 6.0,
    )


@inlined
def _slope(t):
    """Derivatives of the four splines."""
    s = 1.0 - t
    return -0.5 * s * s, 0.5 * t * (3.0 * t - 4.0), -0.5 * s * (3.0 * s - 4.0), 0.5 * t * t


@compiled
def _fill(columns, rows, shape, pointer, indices, data):
    ny, nx = shape
    pixels, rays = columns.shape
    window = np.zeros((_WINDOW, _WINDOW))
    n = 0
    for p in range(pixels):
        left, right, bottom, top = nx + 2, -2, ny + 2, -2
        for k in range(rays):
            u, v = columns[p, k], rows[p, k]
            if -2.0 < u < nx + 1.0 and -2.0 < v < ny + 1.0:
                i, j = math.floor(u), math.floor(v)
                left, right = min(left, i), max(right, i)
                bottom, top = min(bottom, j), max(top, j)
        together = right - left + 4 <= _WINDOW and top - bottom + 4 <= _WINDOW
        for k in range(rays):
            u, v = columns[p, k], rows[p, k]
            if not (-2.0 < u < nx + 1.0 and -2.0 < v < ny + 1.0):
                continue
            i, j = math.floor(u), math.floor(v)
            across, along = _cubic(u - i), _cubic(v - j)
            for a in range(4):
                for b in range(4):
                    weight = along[a] * across[b] / rays
                    if together:
                        window[j - bottom + a, i - left + b] += weight
                    elif 0 <= j + a - 1 < ny and 0 <= i + b - 1 < nx:
                        indices[n] = (j + a - 1) * nx + i + b - 1
                        data[n] = weight
                        n += 1
        if together:
            for a in range(top - bottom + 4):
                for b in range(right - left + 4):
                    j, i = bottom + a - 1, left + b - 1
                    if window[a, b] != 0.0 and 0 <= j < ny and 0 <= i < nx:
                        indices[n] = j * nx + i
                        data[n] = window[a, b]
                        n += 1
                    window[a, b] = 0.0
        pointer[p + 1] = n


def weights(columns: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> tuple:
    """
    Give what each B-spline of a source adds to the mean over the rays of each pixel.

    Parameters
    ----------
    columns, rows : ndarray, shape (pixels, rays)
        Where rays land, in units of the splines' distance from the first of them.
    shape : (int, int)
        Rows and columns of splines; outside the source is dark.

    Returns
    -------
    data, indices, pointer : ndarray
        Of a matrix (pixels, splines) in compressed rows, single precision.
    """
    pixels, rays = columns.shape
    room = 16 * pixels * rays
    pointer = np.zeros(pixels + 1, dtype=np.int64)
    indices, data = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.float32)
    _fill(columns, rows, tuple(shape), pointer, indices, data)
    return data[: pointer[-1]].copy(), indices[: pointer[-1]].copy(), pointer


@compiled
def _gradients(columns, rows, shape, sources, along_x, along_y):
    ny, nx = shape
    for p in range(columns.size):
        u, v = columns[p], rows[p]
        if not (-2.0 < u < nx + 1.0 and -2.0 < v < ny + 1.0):
            continue
        i, j = math.floor(u), math.floor(v)
        across, along = _cubic(u - i), _cubic(v - j)
        across_slope, along_slope = _slope(u - i), _slope(v - j)
        for a in range(4):
            for b in range(4):
                y, x = j + a - 1, i + b - 1
                if 0 <= y < ny and 0 <= x < nx:
                    w_x = np.float32(along[a] * across_slope[b])
                    w_y = np.float32(along_slope[a] * across[b])
                    for s in range(sources.shape[1]):
                        along_x[p, s] += w_x * sources[y * nx + x, s]
                        along_y[p, s] += w_y * sources[y * nx + x, s]


def gradients(
    columns: np.ndarray, rows: np.ndarray, shape: tuple[int, int], sources: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Give the slopes of sources where rays land, along columns and along rows.

    Parameters
    ----------
    columns, rows : ndarray, shape (pixels, rays)
        Where rays land.
    shape : (int, int)
        Rows and columns of splines.
    sources : ndarray, shape (splines, n)
        Their coefficients.

    Returns
    -------
    along_columns, along_rows : ndarray, shape (pixels, rays, n)
    """
    sources = np.ascontiguousarray(sources, dtype=np.float32)
    found = np.zeros((2, columns.size, sources.shape[1]), dtype=np.float32)
    _gradients(columns.ravel(), rows.ravel(), tuple(shape), sources, found[0], found[1])
    return found[0].reshape(*columns.shape, -1), found[1].reshape(*columns.shape, -1)
