"""Count how many times the lensed image plane covers each source pixel.

Cut into small triangles, the image plane is laid over the source plane, each triangle the same way up as in
the image or turned over.  Where two neighbours agree in that, the edge between them belongs to one sheet and
adds nothing; only edges where the sheet ends or folds, on a critical curve, are walked.  So it does not
matter how little the triangles of a strongly curved sheet look like their images.  Where the sheet folds
within a pixel or so of a lens centre, the triangles there count with the parity further out, and a mesh of
rings adds what is missing.
"""

from __future__ import annotations

import numpy as np

import lenssuper.operators.overlap.clip as _clip
from lenssuper._utils.threads import in_threads
from lenssuper.operators.overlap.assemble import OverlapTask, row_ranges, touched
from lenssuper.operators.overlap.core import NEAR, distinct, find_core, is_hole

__all__ = ["area_map", "border_of_sheets"]

# Straight pieces in which a curved edge is walked.
_PIECES = 8
# Directions from which the limits at a lens centre are taken.
_DIRECTIONS = 4096
# Centroids of the halves of a pixel below and above its diagonal: this far to the right of its centre, and
# this far below it.
_HALVES = (1 / 6, -1 / 6)


def area_map(task: OverlapTask) -> np.ndarray:
    """Return the area of the lensed image plane over each source cell, in cells."""
    rows, columns = task.source_shape
    size = (rows + 1) * (columns + 2)
    centers = distinct(task.centers)
    inside = [at for at in centers if _in_image(task, *at)]
    cores = [find_core(task, at, [other for other in centers if other is not at]) for at in inside]
    folded = [core for core in cores if core is not None]

    def area(block_rows):
        window = np.zeros(size)
        _clip.add_edges(window, rows, columns, *_block_border(task, folded, *block_rows))
        return window

    window = np.zeros(size)
    for part in in_threads(area, row_ranges(task)):
        window += part
    for core, (column, row) in zip(cores, inside, strict=True):
        if core is not None:
            _clip.add_edges(window, rows, columns, *_missing(task, folded, core))
        elif is_hole(task, column, row):
            _clip.add_edges(window, rows, columns, *_cut(task, column, row))
    total = np.cumsum(window.reshape(rows + 1, columns + 2)[:rows], axis=1)[:, :columns]
    return np.maximum(total, 0.0)  # rounding may leave a little less than none


def _in_image(task, column, row):
    return bool(touched(column, task.image_shape[1]) and touched(row, task.image_shape[0]))


def _block_border(task, cores, first, last):
    """Return the edges of the sheets of some image rows: x and y (2, edges), scale (edges,)."""
    n = task.image_shape[1]
    column, row = (
        np.arange(2 * n + 1)[None, :] / 2 - 0.5,
        np.arange(2 * first, 2 * last + 1)[:, None] / 2 - 0.5,
    )
    u, v = task.trace(column, row)
    column, row = np.arange(n)[None, :], np.arange(first, last)[:, None]
    return border_of_sheets(u, v, *(_parity(task, cores, column, row, s) for s in _HALVES))


def _parity(task, cores, column, row, s):
    """Return the parity that one half of pixels counts with: near a core, that around the core."""
    column, row = column + s, row - s
    parity = task.parity(column, row)
    for core in cores:
        near = np.hypot(column - core.center[0], row - core.center[1]) < core.radius
        parity = np.where(near, core.parity, parity)
    return parity


def _missing(task, cores, core):
    """Return the edges of what the triangles of the pixels lack around a lens centre."""
    ny, nx = task.image_shape

    def lattice(x, y):
        column, row = np.rint(x), np.rint(y)
        below = (y - row) < (x - column)
        halves = [_parity(task, cores, column, row, s) for s in _HALVES]
        outside = (column < 0) | (column >= nx) | (row < 0) | (row >= ny)
        return np.where(outside, 0.0, np.where(below, *halves))

    u, v, missing = core.sheets(task, lattice)
    return border_of_sheets(u, v, missing, missing)


def border_of_sheets(u: np.ndarray, v: np.ndarray, lower: np.ndarray, upper: np.ndarray):
    """Return the edges between triangles of different parity, and of the whole lattice, for `clip.add_edges`.

    The map u, v (2 m + 1, 2 n + 1) is given at steps of half a pixel; ``lower`` and ``upper`` (m, n) are the
    parity, 1 or -1, of the halves of each pixel below and above its diagonal. x and y have the shape (2,
    edges), and scale (edges,); curved edges become short straight ones.
    """
    m, n = lower.shape
    along, up = np.zeros((m + 1, n)), np.zeros((m, n + 1))
    along[1:] += upper  # an edge to the right has the pixel above on its left ...
    along[:-1] -= lower  # ... and the one below on its right
    up[:, :-1] += upper
    up[:, 1:] -= lower
    nodes, scales = [], []
    for side, step in ((along, (0, 1)), (up, (1, 0)), (lower - upper, (1, 1))):
        start = np.argwhere(side)
        nodes.append([(2 * start + k * np.array(step)).T for k in range(3)])
        scales.append(side[tuple(start.T)])
    i, j = np.concatenate(nodes, axis=2).swapaxes(0, 1)
    s = np.linspace(0, 1, _PIECES + 1)
    parabola = np.stack([(1 - s) * (1 - 2 * s), 4 * s * (1 - s), s * (2 * s - 1)], axis=1)
    x, y = (_pairs(parabola @ w[i, j]) for w in (u, v))
    return x, y, np.tile(np.concatenate(scales), _PIECES)


def _pairs(points):
    """Return the segments from each row of points to the next."""
    return np.stack([points[:-1].ravel(), points[1:].ravel()])


def _cut(task, column, row):
    """Return the edges of the hole in the sheet that the limits at a lens centre enclose."""
    angle = np.linspace(0, 2 * np.pi, _DIRECTIONS + 1)
    around = column + NEAR * np.cos(angle), row + NEAR * np.sin(angle)
    parity = np.sign(task.parity(*around).sum())
    u, v = task.trace(*around)
    return _pairs(u[:, None]), _pairs(v[:, None]), np.full(_DIRECTIONS, float(parity))
