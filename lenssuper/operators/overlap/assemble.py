"""From a map between the planes to the overlap matrix: blocks of image rows, one after the other or in
threads.

Each block maps its own points, cuts them into elements and computes their overlap, so that memory beyond the
matrix stays the same however large the image is, and the result does not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

import lenssuper.operators.overlap.bsplines as _bsplines
import lenssuper.operators.overlap.clip as _clip
import lenssuper.operators.overlap.elements as _elements
import lenssuper.operators.overlap.quads as _quads
from lenssuper._utils import threads
from lenssuper.operators.overlap.refine import ON_BORDER, Elements, FineElements, open_at_centers, refine

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OverlapTask", "overlap_matrix", "row_ranges", "straight_matrix", "touched"]

# Image pixels per block: few enough for the arrays of a block to stay in the processor's cache. Which pixels
# are refined together decides which of them share slots in a table, so this does not depend on the threads.
_BLOCK = 8192


class OverlapTask(NamedTuple):
    """An overlap matrix to compute: the map between the planes, the two shapes and the accuracy."""

    trace: Callable  # (column, row) in the image plane, in pixels -> (x, y) in source cells, between knots
    image_shape: tuple[int, int]
    source_shape: tuple[int, int]
    centers: list[tuple[float, float]]  # column and row of the lens centres, where the map may have no limit
    tol: float | None
    subdivide: int | None  # instead of tol
    parity: Callable | None = None  # (column, row) in the image plane -> 1 or -1, the sign of the Jacobian
    order: int = 0  # of the B-splines that the source consists of
    maximum: Callable | None = None  # (column, row) -> whether an image there is a maximum of arrival time

    @property
    def pieces(self) -> tuple[int, int]:
        """Rows and columns of unit squares on which the source is one polynomial: with order 0, its cells."""
        ny, nx = self.source_shape
        return ny + self.order, nx + self.order


class _Block(NamedTuple):
    """The pixels of some image rows: shares of 3 x 3 cells where `cell` is set, elements elsewhere."""

    shares: np.ndarray
    cell: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


class _Entries:
    """The entries of a matrix, row after row: columns, values, and where rows end; with room for more."""

    def __init__(self, room: int) -> None:
        self.cells, self.values = np.empty(room, np.int32), np.empty(room)
        self.ends = [np.zeros(1, np.int64)]

    @property
    def count(self) -> int:
        return int(self.ends[-1][-1])

    def make_room(self, more: int) -> None:
        room = len(self.values)
        if room < self.count + more:
            extra = max(more, room // 4)  # not touched before it is needed, so it costs no memory
            self.cells, self.values = (
                np.concatenate([old, np.empty(extra, old.dtype)]) for old in (self.cells, self.values)
            )

    def append(self, other: _Entries) -> None:
        self.make_room(other.count)
        new = slice(self.count, self.count + other.count)
        self.cells[new], self.values[new] = other.cells[: other.count], other.values[: other.count]
        self.ends.append(self.count + np.concatenate(other.ends[1:]))

    def matrix(self, shape: tuple[int, int]) -> sparse.csr_array:
        ends, count = np.concatenate(self.ends), self.count
        index = np.int32 if max(count, *shape) <= np.iinfo(np.int32).max else np.int64
        # not shrunk: room that was never touched costs nothing, and arrays of one size are taken out again
        columns, ends = self.cells[:count].astype(index, copy=False), ends.astype(index)
        matrix = sparse.csr_array((self.values[:count], columns, ends), shape=shape)
        matrix.has_canonical_format = True  # rows and columns were written in order
        return matrix


def overlap_matrix(task: OverlapTask) -> sparse.csr_array:
    """Return the overlap matrix, image pixels x source cells."""
    cores = _cores(task)
    pixels = math.prod(task.image_shape)
    entries = _Entries(5 * pixels + 64)
    blocks = row_ranges(task)
    windows: list[tuple] = []  # where light is added up, taken out and put back by one block after the other
    # with one square per pixel threads mostly wait for the interpreter's lock, and are slower together
    if task.subdivide == 1 or min(threads.thread_count(), len(blocks)) == 1:
        for rows in blocks:
            _fill(task, _cut(task, cores, *rows), windows, entries)
    else:

        def part(rows):
            block = _cut(task, cores, *rows)
            return _fill(task, block, windows, _Entries(8 * block.cell.size))

        for piece in threads.in_threads(part, blocks):
            entries.append(piece)
    return entries.matrix((pixels, math.prod(task.source_shape)))


def straight_matrix(
    u: np.ndarray, v: np.ndarray, k: int, source_shape: tuple[int, int], order: int = 0
) -> sparse.csr_array:
    """Return the overlap matrix of pixels of k x k squares with mapped corners u, v (k ny + 1, k nx + 1)."""

    def trace(column, row):
        rows = np.rint(k * (row[:, 0] + 0.5)).astype(int)
        return (np.ascontiguousarray(w[rows]) for w in (u, v))

    image_shape = ((u.shape[0] - 1) // k, (u.shape[1] - 1) // k)
    return overlap_matrix(OverlapTask(trace, image_shape, source_shape, [], None, k, None, order))


def row_ranges(task: OverlapTask) -> list[tuple[int, int]]:
    """Return the first and the last image row (excluded) of each block."""
    ny, nx = task.image_shape
    step = max(1, _BLOCK // (nx * (task.subdivide or 1) ** 2))
    return [(first, min(first + step, ny)) for first in range(0, ny, step)]


def _cores(task: OverlapTask) -> FineElements:
    """Return the elements of the pixels with a lens centre in them or on their border, in order of pixel."""
    ny, nx = task.image_shape
    torn: dict[int, list] = {}
    for column, row in task.centers:
        for i in touched(row, ny):
            for j in touched(column, nx):
                torn.setdefault(i * nx + j, []).append((column, row))
    if not torn:
        return FineElements.of(Elements.empty(0))
    elements = open_at_centers(task.trace, [(p, p % nx, p // nx, at) for p, at in torn.items()])
    tol = max(1e-3, 5e-2 / (task.subdivide or 1) ** 2) if task.tol is None else task.tol
    return refine(task.trace, elements, tol, task.pieces, task.order)


def touched(position: float, n: int) -> list[int]:
    """Return the pixels (of n along an axis) that contain a position or have it on their border."""
    near = int(min(max(np.floor(position), -2.0), n + 1.0))
    return [i for i in (near, near + 1) if 0 <= i < n and abs(position - i) <= 0.5 + ON_BORDER]


def _cut(task: OverlapTask, cores: FineElements, first: int, last: int) -> _Block:
    """Cut the pixels of some image rows into elements, except those whose shares have a closed form."""
    m, n = last - first, task.image_shape[1]
    cores = cores.take(slice(*np.searchsorted(cores.pixel, [first * n, last * n])))
    cores = cores._replace(pixel=cores.pixel - first * n)
    torn = np.zeros((m, n), bool)
    torn.flat[cores.pixel] = True
    shares, cell = np.empty((m, 9, n)), np.full((m, n), -1.0)
    if task.subdivide is None:
        regular, fine = _two_per_pixel(task, first, torn)
        if len(cores.pixel):
            fine = FineElements.join([fine, cores])
            fine = fine.take(np.argsort(fine.pixel, kind="stable"))
    else:
        regular, fine = _fixed(task, first, torn, shares, cell), cores
    starts, x, y, weights = regular
    starts, stops = starts[:-1], starts[1:]
    if len(fine.pixel):
        counts = np.bincount(fine.pixel, minlength=m * n)
        ends = len(weights) + np.cumsum(counts)
        starts, stops = np.where(counts, ends - counts, starts), np.where(counts, ends, stops)
        x, y = np.concatenate([x, fine.x]), np.concatenate([y, fine.y])
        weights = np.concatenate([weights, fine.weights])
    return _Block(shares, cell, starts, stops, x, y, weights)


def _two_per_pixel(task, first, torn):
    """Return two curved elements per pixel, and finer ones for the pixels that need them."""
    m, n = torn.shape
    u, v = task.trace(np.arange(-1.0, n + 0.5, 0.5)[None, :], first + np.arange(-1.0, m + 0.5, 0.5)[:, None])
    cubic = np.empty((2, m * n, 5))
    rough = np.empty((m, n), bool)
    _elements.screen(u, v, *task.pieces, task.order, task.tol, *cubic, rough)
    rough &= ~torn
    pixel = np.repeat(np.flatnonzero(rough), 2)
    coarse = Elements.empty(len(pixel))
    _elements.from_half_steps(u, v, rough, np.empty(m * n + 1, np.int64), coarse.x, coarse.y)
    coarse.pixel[:] = pixel
    coarse.weights[:] = 0.5
    coarse.cubic_x[:], coarse.cubic_y[:] = cubic[:, pixel]
    corner = np.stack([pixel % n - 0.5, first + pixel // n - 0.5], axis=-1)
    coarse.plane[:, 0], coarse.plane[:, 2] = corner, corner + 1.0
    coarse.plane[:, 1] = corner
    coarse.plane[0::2, 1, 0] += 1.0
    coarse.plane[1::2, 1, 1] += 1.0
    if len(pixel):
        fine = refine(task.trace, coarse, task.tol, task.pieces, task.order)
    else:
        fine = FineElements.of(coarse)
    good = ~(rough | torn)
    count = 2 * np.count_nonzero(good)
    starts, x, y = np.empty(m * n + 1, np.int64), np.empty((count, 6)), np.empty((count, 6))
    _elements.from_half_steps(u, v, good, starts, x, y)
    return (starts, x, y, np.full(count, 0.5)), fine


def _fixed(task, first, torn, shares, cell):
    """Return k x k squares per pixel, their shares in closed form where that is possible."""
    m, n = torn.shape
    k = task.subdivide
    u, v = task.trace(
        (np.arange(k * n + 1) / k - 0.5)[None, :], first + (np.arange(k * m + 1) / k - 0.5)[:, None]
    )
    wanted = ~torn
    if k == 1 and task.order == 0:
        _quads.quad_shares(u, v, *task.source_shape, shares, cell)
        cell[torn] = -1.0
        wanted &= cell < 0.0
    count = 2 * k * k * np.count_nonzero(wanted)
    starts, x, y = np.empty(m * n + 1, np.int64), np.empty((count, 6)), np.empty((count, 6))
    _elements.from_corners(u, v, k, wanted, starts, x, y)
    return starts, x, y, np.full(count, 0.5 / k**2)


def _fill(task, block, windows, entries):
    """Append the entries of a block's pixels."""
    rows, columns = task.source_shape
    pixels, order = block.cell.size, task.order
    size = (rows + order + 2) * (columns + order + 2)
    try:
        window = windows.pop()
    except IndexError:
        window = np.zeros(size)
    ends = np.empty(pixels + 1, np.int64)
    ends[0] = entries.count
    pixel = 0
    while True:
        arrays = entries.cells, entries.values, ends
        if order == 0:
            pixel = _clip.fill(*block, rows, columns, window, pixel, *arrays)
        else:
            pixel = _bsplines.fill(order, *block[2:], rows, columns, window, pixel, *arrays)
        if pixel == pixels:
            break
        # as many again as there were so far, and enough for a pixel that covers the whole grid
        more = ends[pixel] * (pixels - pixel) // max(pixel, 1) + size + 9
        entries.make_room(int(ends[pixel] - entries.count + more))
    windows.append(window)
    entries.ends.append(ends[1:])
    return entries
