"""From a map between the planes to the overlap matrix: blocks of image rows, one after the other or in threads.

Each block maps its own points, cuts them into elements and computes their overlap, so that memory beyond the
matrix stays the same however large the image is, and the result does not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from lenssuper.operators import _clip, _elements, _quads
from lenssuper.operators._refine import ON_BORDER, Elements, open_at_centers, refine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Job", "area_map", "matrix_parts"]

# Image pixels per block, as long as a pixel has few elements.
_BLOCK = 8192
# Straight pieces of an element's edge in the map of areas.
_PIECES = 4


class Job(NamedTuple):
    """What to compute: the map, the two shapes and the accuracy."""

    trace: Callable  # (column, row) in the image plane, in pixels -> (x, y) in source cells
    image_shape: tuple[int, int]
    source_shape: tuple[int, int]
    centers: list[tuple[float, float]]  # column and row of the points where the map may be torn
    tol: float | None
    subdivide: int | None  # instead of tol


class _Block(NamedTuple):
    """Pixels of some image rows: the shares of 3 x 3 cells where there is a `cell`, elements elsewhere."""

    shares: np.ndarray
    cell: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


def matrix_parts(job: Job) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Entries of the overlap matrix block by block: source cells, values, and number of entries per pixel."""
    cores = _cores(job)
    return _run(lambda rows: _fill(job, _cut(job, cores, *rows, close=True)), _row_ranges(job))


def area_map(job: Job) -> np.ndarray:
    """Area of all elements over each source cell, in cells: how often the image plane covers it."""
    rows, columns = job.source_shape
    cores = _cores(job)

    def area(block_rows):
        block = _cut(job, cores, *block_rows, close=False)
        window = np.zeros((rows + 1) * (columns + 2))
        _clip.add_area(window, rows, columns, block.x, block.y, _PIECES)
        return window

    window = np.zeros((rows + 1) * (columns + 2))
    for part in _run(area, _row_ranges(job)):
        window += part
    total = np.cumsum(window.reshape(rows + 1, columns + 2)[:rows], axis=1)[:, :columns]
    return np.maximum(total, 0.0)


def threads() -> int:
    """How many blocks are worked on at once: NUMBA_NUM_THREADS, within the cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(numba.config.NUMBA_NUM_THREADS, cores)


def _row_ranges(job):
    ny, nx = job.image_shape
    step = max(1, _BLOCK // (nx * (job.subdivide or 1) ** 2))
    return [(first, min(first + step, ny)) for first in range(0, ny, step)]


def _run(function: Callable, items: Iterable) -> Iterator:
    """Apply a function in threads, giving the results in order and holding no more than are being worked on."""
    items = list(items)
    workers = min(threads(), len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(function, item) for item in items[: 2 * workers])
        for item in items[2 * workers :]:
            yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


def _cores(job: Job) -> Elements:
    """The elements of the pixels with a lens centre in them or on their border, in order of pixel."""
    ny, nx = job.image_shape
    torn = {}
    for column, row in job.centers:
        for i in _touched(row, ny):
            for j in _touched(column, nx):
                torn.setdefault(i * nx + j, []).append((column, row))
    if not torn:
        return Elements.empty(0)
    elements = open_at_centers(job.trace, [(p, p % nx, p // nx, at) for p, at in torn.items()])
    tol = max(1e-3, 1e-2 / job.subdivide**2) if job.tol is None else job.tol
    return refine(job.trace, elements, tol, job.source_shape)


def _touched(position, n):
    """The pixels (of n along an axis) that a position is in, or on the border of."""
    near = int(min(max(np.floor(position), -2.0), n + 1.0))
    return [i for i in (near, near + 1) if 0 <= i < n and abs(position - i) <= 0.5 + ON_BORDER]


def _cut(job: Job, cores: Elements, first: int, last: int, *, close: bool) -> _Block:
    """Cut the pixels of image rows first to last into elements, but for those with a closed form if `close`."""
    m, n = last - first, job.image_shape[1]
    cores = cores.take(slice(*np.searchsorted(cores.pixel, [first * n, last * n])))
    cores = cores._replace(pixel=cores.pixel - first * n)
    torn = np.zeros((m, n), bool)
    torn.flat[cores.pixel] = True
    shares, cell = np.empty((m, 9, n)), np.full((m, n), -1.0)
    if job.subdivide is None:
        regular, fine = _two_per_pixel(job, first, torn)
        fine = Elements.join([fine, cores])
        fine = fine.take(np.argsort(fine.pixel, kind="stable"))
    else:
        regular, fine = _fixed(job, first, torn, (shares, cell) if close else None), cores
    starts, x, y, weights = regular
    starts, stops = starts[:-1], starts[1:]
    if len(fine.pixel):
        counts = np.bincount(fine.pixel, minlength=m * n)
        ends = len(weights) + np.cumsum(counts)
        starts, stops = np.where(counts, ends - counts, starts), np.where(counts, ends, stops)
        x, y = np.concatenate([x, fine.x]), np.concatenate([y, fine.y])
        weights = np.concatenate([weights, fine.weights])
    return _Block(shares, cell, starts, stops, x, y, weights)


def _two_per_pixel(job, first, torn):
    """Two curved elements per pixel, and the elements of those pixels for which that is not accurate enough."""
    m, n = torn.shape
    u, v = job.trace(np.arange(-1.0, n + 0.5, 0.5)[None, :], first + np.arange(-1.0, m + 0.5, 0.5)[:, None])
    rest = np.empty((2, m, n))
    rough = np.empty((m, n), bool)
    _elements.screen(u, v, *job.source_shape, job.tol, *rest, rough)
    rough &= ~torn
    pixel = np.repeat(np.flatnonzero(rough), 2)
    coarse = Elements.empty(len(pixel))
    _elements.from_half_steps(u, v, rough, np.empty(m * n + 1, np.int64), coarse.x, coarse.y)
    coarse.pixel[:] = pixel
    coarse.weights[:] = 0.5
    coarse.rest_x[:], coarse.rest_y[:] = rest.reshape(2, -1)[:, pixel]
    corner = np.stack([pixel % n - 0.5, first + pixel // n - 0.5], axis=-1)
    coarse.plane[:, 0], coarse.plane[:, 2] = corner, corner + 1.0
    coarse.plane[0::2, 1], coarse.plane[1::2, 1] = corner[0::2] + [1.0, 0.0], corner[1::2] + [0.0, 1.0]
    fine = refine(job.trace, coarse, job.tol, job.source_shape) if len(pixel) else coarse
    good = ~(rough | torn)
    count = 2 * np.count_nonzero(good)
    starts, x, y = np.empty(m * n + 1, np.int64), np.empty((count, 6)), np.empty((count, 6))
    _elements.from_half_steps(u, v, good, starts, x, y)
    return (starts, x, y, np.full(count, 0.5)), fine


def _fixed(job, first, torn, closed_form):
    """k x k squares per pixel; their shares in closed form where that is possible."""
    m, n = torn.shape
    k = job.subdivide
    u, v = job.trace(
        (np.arange(k * n + 1) / k - 0.5)[None, :], first + (np.arange(k * m + 1) / k - 0.5)[:, None]
    )
    wanted = ~torn
    if k == 1 and closed_form is not None:
        shares, cell = closed_form
        _quads.quad_shares(u, v, *job.source_shape, shares, cell)
        cell[torn] = -1.0
        wanted &= cell < 0.0
    count = 2 * k * k * np.count_nonzero(wanted)
    starts, x, y = np.empty(m * n + 1, np.int64), np.empty((count, 6)), np.empty((count, 6))
    _elements.from_corners(u, v, k, wanted, starts, x, y)
    return starts, x, y, np.full(count, 0.5 / k**2)


def _fill(job, block):
    """The entries of a block's pixels; the output grows when it was guessed too small."""
    rows, columns = job.source_shape
    pixels = block.cell.size
    window = np.zeros((rows + 1) * (columns + 2))
    ends = np.zeros(pixels + 1, np.int64)
    size = 8 * pixels + 64
    cells, values = np.empty(size, np.int32), np.empty(size)
    pixel = _clip.fill(*block, rows, columns, window, 0, cells, values, ends)
    while pixel < pixels:
        size = 2 * size + rows * columns
        cells, values = (np.concatenate([a, np.empty(size - len(a), a.dtype)]) for a in (cells, values))
        pixel = _clip.fill(*block, rows, columns, window, pixel, cells, values, ends)
    return cells[: ends[-1]], values[: ends[-1]], np.diff(ends)
