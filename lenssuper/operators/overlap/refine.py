"""Elements halved level by level until each image pixel is accurate, and pixels opened at a lens centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import lenssuper.operators.overlap.halving as _halving

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Elements", "FineElements", "open_at_centers", "refine"]

# Every halving leaves half the weight on either side, and no element is further wrong than its weight.
_MOST_LEVELS = 64
# Distance from a lens centre, in sizes of the element, at which the direction-dependent limit is taken.
_NEAR = 1e-4
# Distances in pixels below which a centre counts as lying on a corner or an edge.
ON_BORDER = 1e-9


class Elements(NamedTuple):
    """Elements as rows of arrays, see `lenssuper.operators.overlap.elements`."""

    pixel: np.ndarray  # (n,) index of the image pixel in its block
    plane: np.ndarray  # (n, 3, 2) corners in the image plane, in image pixels
    x: np.ndarray  # (n, 6) mapped corners and middles, in source cells
    y: np.ndarray
    weights: np.ndarray  # (n,) share of the image pixel
    cubic_x: np.ndarray  # (n, 5) third derivatives (ppp, ppq, pqq, qqq), and how far off the map is beyond
    cubic_y: np.ndarray
    torn: np.ndarray  # (n, 3) whether the corner is a lens centre

    def grown(self, n: int) -> Elements:
        larger = Elements.empty(n)
        for a, b in zip(self, larger, strict=True):
            b[: len(a)] = a
        return larger

    @staticmethod
    def empty(n: int) -> Elements:
        return Elements(
            np.empty(n, np.int64), np.empty((n, 3, 2)), np.empty((n, 6)), np.empty((n, 6)),
            np.empty(n), np.empty((n, 5)), np.empty((n, 5)), np.zeros((n, 3), bool),
        )  # fmt: skip


class FineElements(NamedTuple):
    """What is left to know of elements that are fine enough, in order of pixel."""

    pixel: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray

    def take(self, which) -> FineElements:
        return FineElements(*(a[which] for a in self))

    @staticmethod
    def join(parts) -> FineElements:
        return FineElements(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @staticmethod
    def of(elements: Elements) -> FineElements:
        return FineElements(elements.pixel, elements.x, elements.y, elements.weights)


def refine(
    trace: Callable, elements: Elements, tol: float, shape: tuple[int, int], order: int = 0
) -> FineElements:
    """Halve elements until each pixel sends less than `tol` of its light into the wrong cell, for every cell.

    ``trace`` maps arrays of column and row in the image plane to x and y in source cells, and ``shape`` is
    that of the source grid, or of the pieces of a source of B-splines of an ``order``. The elements are
    changed in place, and returned in order of pixel.
    """
    n = len(elements.pixel)
    slots = 1 << max(14, int(np.ceil(np.log2(16 * n + 1))))
    table = np.zeros((slots, 2))
    errors, edges = np.empty(n), np.empty(n, np.int64)
    new = np.arange(n)
    left = new[:0]
    for _ in range(_MOST_LEVELS):
        pixel, plane, x, y, weights, cubic_x, cubic_y, _ = elements
        _halving.judge(
            new, pixel, plane, x, y, weights, cubic_x, cubic_y, *shape, order, errors, edges, table
        )
        looked_at = np.concatenate([left, new])
        split, left = np.empty_like(looked_at), np.empty_like(looked_at)
        found = _halving.choose(looked_at, pixel, x, y, errors, *shape, table, tol, split, left)
        split, left = split[: found[0]], left[: found[1]]
        if len(split) == 0:
            break
        _halving.forget(split, pixel, x, y, errors, *shape, table)
        if n + len(split) > len(pixel):
            elements = elements.grown(2 * (n + len(split)))
            errors = np.resize(errors, len(elements.pixel))
            edges = np.resize(edges, len(elements.pixel))
        new = np.concatenate([split, np.arange(n, n + len(split))])
        _halve(trace, elements, split, n, edges, new)
        n += len(split)
    return FineElements.of(elements).take(np.argsort(elements.pixel[:n], kind="stable"))


def _halve(trace, elements, split, n, edges, new):
    pixel, plane, x, y, weights, cubic_x, cubic_y, torn = elements
    middles, most = 3 * len(split), 3 * len(new)
    points = np.empty((middles + most, 2))  # new middles, then places near torn corners
    _halving.halve_plane(split, n, edges, pixel, plane, weights, torn, points)
    e, corner = np.empty(most, np.int64), np.empty(most, np.int64)
    near = _halving.torn_corners(new, plane, torn, _NEAR, points[middles:], e, corner)
    u, v = trace(*points[: middles + near].T)
    _halving.halve_map(split, n, edges, u, plane, x, cubic_x)
    _halving.halve_map(split, n, edges, v, plane, y, cubic_y)
    e, corner = e[:near], corner[:near]
    x[e, corner], y[e, corner] = u[middles:], v[middles:]


def open_at_centers(trace: Callable, pixels) -> Elements:
    """Cut pixels into triangles that have the lens centres in them as corners; `cubic` is an upper estimate.

    ``pixels`` lists index, column, row, and the (column, row) of the centres in each pixel or on its border;
    ``trace`` is as in `refine`.
    """
    triangles = []
    for pixel, column, row, centers in pixels:
        corners = [(column + i, row + j) for i, j in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]
        pieces: list[Any] = [((corners[0], corners[k], corners[k + 1]), (False,) * 3) for k in (1, 2)]
        for centre in centers:
            pieces = [p for piece in pieces for p in _split_at(piece[0], piece[1], centre)]
        triangles += [(pixel, *piece) for piece in pieces]
    elements = Elements.empty(len(triangles))
    for k, (pixel, triangle, torn) in enumerate(triangles):
        elements.pixel[k], elements.plane[k], elements.torn[k] = pixel, triangle, torn
        elements.weights[k] = 0.5 * abs(_cross(*triangle))
    middles = 0.5 * (elements.plane + elements.plane[:, [1, 2, 0]])
    points = np.concatenate([elements.plane, middles], axis=1)
    e, corner = np.nonzero(elements.torn)
    centre = elements.plane[e, corner]
    points[e, corner] = centre + _NEAR * (elements.plane[e].mean(axis=1) - centre)
    elements.x[:], elements.y[:] = trace(points[..., 0], points[..., 1])
    for v, cubic in ((elements.x, elements.cubic_x), (elements.y, elements.cubic_y)):
        cubic[:, :4] = 0
        cubic[:, 4] = np.abs(v[:, 3:] - 0.5 * (v[:, :3] + v[:, [1, 2, 0]])).max(axis=1)
    return elements


def _split_at(corners, torn, centre):
    """Split a triangle into those that have the centre as a corner; itself if the centre is outside."""
    area = _cross(*corners)
    opposite = [_cross(centre, corners[(k + 1) % 3], corners[(k + 2) % 3]) / area for k in range(3)]
    if min(opposite) < -ON_BORDER:
        return [(corners, torn)]
    pieces = []
    for k in range(3):  # the piece over the edge opposite to corner k
        if opposite[k] > ON_BORDER:
            i, j = (k + 1) % 3, (k + 2) % 3
            pieces.append(((centre, corners[i], corners[j]), (True, torn[i], torn[j])))
    return pieces


def _cross(o, a, b):
    """Return twice the signed area of the triangle o, a, b."""
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
