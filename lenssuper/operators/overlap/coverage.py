"""Count how many times the lensed image plane covers each source pixel.

Cut into small triangles, the image plane is laid over the source plane, each triangle the same way up as in
the image or turned over.  Where two neighbours agree in that, the edge between them belongs to one sheet and
adds nothing; only edges where the sheet ends or folds, on a critical curve, are walked.  So it does not
matter how little the triangles of a strongly curved sheet look like their images.
"""

from __future__ import annotations

import numpy as np

import lenssuper.operators.overlap.clip as _clip
from lenssuper._utils.threads import in_threads
from lenssuper.operators.overlap.assemble import OverlapTask, row_ranges, touched

__all__ = ["area_map", "border_of_sheets"]

# Straight pieces in which a curved edge is walked.
_PIECES = 8
# Directions and distance (in image pixels) from which the limits at a lens centre are taken.
_DIRECTIONS = 4096
_NEAR = 1e-8


def area_map(task: OverlapTask) -> np.ndarray:
    """Return the area of the lensed image plane over each source cell, in cells."""
    rows, columns = task.source_shape
    size = (rows + 1) * (columns + 2)

    def area(block_rows):
        window = np.zeros(size)
        _clip.add_edges(window, rows, columns, *_block_border(task, *block_rows))
        return window

    window = np.zeros(size)
    for part in in_threads(area, row_ranges(task)):
        window += part
    for column, row in task.centers:
        if touched(column, task.image_shape[1]) and touched(row, task.image_shape[0]):
            _clip.add_edges(window, rows, columns, *_cut(task, column, row))
    total = np.cumsum(window.reshape(rows + 1, columns + 2)[:rows], axis=1)[:, :columns]
    return np.maximum(total, 0.0)


def _block_border(task, first, last):
    """Return the edges of the sheets of some image rows: x and y (2, edges), scale (edges,)."""
    n = task.image_shape[1]
    column, row = (
        np.arange(2 * n + 1)[None, :] / 2 - 0.5,
        np.arange(2 * first, 2 * last + 1)[:, None] / 2 - 0.5,
    )
    u, v = task.trace(column, row)
    column, row = np.arange(n)[None, :], np.arange(first, last)[:, None]
    # a sixth of a pixel from its centre: the centroids of the halves below and above the diagonal
    parity = [task.parity(column + s, row - s) for s in (1 / 6, -1 / 6)]
    return border_of_sheets(u, v, *parity)


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
    around = column + _NEAR * np.cos(angle), row + _NEAR * np.sin(angle)
    parity = np.sign(task.parity(*around).sum())
    u, v = task.trace(*around)
    return _pairs(u[:, None]), _pairs(v[:, None]), np.full(_DIRECTIONS, float(parity))
