"""Exact integrals of B-splines over mapped image elements, for sources that are smoother than cells.

A source of order n is a sum of tensor products of B-splines of degree n, 1 or 2 here; between knots, which
are one source pixel apart, it is a polynomial (de Boor 1978, A Practical Guide to Splines, ch. X).
Coordinates are in source pixels, shifted such that the knots are whole numbers: spline (i, j) rises from zero
at x = j, y = i and is zero again at x = j + n + 1, y = i + n + 1.  A *piece* is a unit square between knots,
where n + 1 splines overlap along each axis.

The integral of a spline over a triangle is one along its edges (Green's theorem): of B(y) dy times the
integral of B to the right of the edge.  Each edge is walked from knot to knot; between two of them the
integrand is a polynomial, for which Gauss quadrature is exact.  No clipped polygon is ever formed.

Where the edges of an element bend, the map is x -> x + d(x), with d the quadratic that vanishes at the
corners.  To first order in d the integral over it is that of B (1 - div d) over the straight triangle, plus
the flux of B d through its edges: both are polynomials between knots too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lenssuper._utils.compile import compiled, inlined, inner

# Elements narrower than this (in source pixels, relative to their length) are treated as segments.
_THIN = 1e-9
# Edges that bend less than this are straight but for rounding.
_STRAIGHT = 1e-12
# Elements that bend more than this part of their extent are too far from straight for a first-order
# correction; those whose height squared is less than this part of bend times extent, too narrow for it: the
# divergence of the bend would be all rounding.
_FOLDED = 0.25
_NARROW = 1e-7
# Weights below this are rounding noise.
_NOISE = 1e-13


def _gauss(n):
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


# Gauss-Legendre on (0, 1): row n has the n + 1 nodes that are exact for polynomials of degree 2 n + 1
_NODES, _WEIGHTS = np.zeros((4, 4)), np.zeros((4, 4))
for _n in range(4):
    _NODES[_n, : _n + 1], _WEIGHTS[_n, : _n + 1] = _gauss(_n + 1)


def _six_points():
    """Return a rule of six points for triangles, exact to degree 4 (Strang & Fix 1973, table 4.1)."""
    root = math.sqrt(10.0)
    spread = math.sqrt(38.0 - 44.0 * math.sqrt(0.4))
    rule = []
    for sign in (1.0, -1.0):
        a = (8.0 - root + sign * spread) / 18.0
        weight = (620.0 + sign * math.sqrt(213125.0 - 53320.0 * root)) / 3720.0
        corner = 1.0 - 2.0 * a
        rule += [(a, a, corner, weight), (a, corner, a, weight), (corner, a, a, weight)]
    return np.array(rule)


_SIX = _six_points()


class _Window(NamedTuple):
    """Splines around an image pixel that sum up its light: rows of `width` + 2 for `width` pieces."""

    light: np.ndarray
    order: int
    width: int  # in pieces
    height: int


@inlined
def _values(order, t):
    """Return the splines k - n, ... at t in the piece k (the third is zero for order 1)."""
    s = 1.0 - t
    if order == 1:
        return s, t, 0.0
    return 0.5 * s * s, 0.5 + t * s, 0.5 * t * t


@inlined
def _beyond(order, t):
    """Return the integrals of the splines k - n, ... over all that is to the right of t in the piece k."""
    s = 1.0 - t
    if order == 1:
        return 0.5 * s * s, 1.0 - 0.5 * t * t, 1.0
    return s * s * s / 6.0, 5.0 / 6.0 - t * (0.5 + t * (0.5 - t / 3.0)), 1.0 - t * t * t / 6.0


@inlined
def _moments(order, t):
    """Return the integrals of spline times x - k over all that is to the right of t in the piece k."""
    q = t * t
    if order == 1:
        return 1.0 / 6.0 + q * (t / 3.0 - 0.5), 1.0 - t * q / 3.0, 2.0
    return (
        1.0 / 24.0 - q * (0.25 - t * (1.0 / 3.0 - 0.125 * t)),
        13.0 / 24.0 - q * (0.25 + t * (1.0 / 3.0 - 0.25 * t)),
        1.5 - 0.125 * q * q,
    )


@inner
def _put(window, k, m, x, y, weight):
    """Add a point of light at x, y in the piece (m, k)."""
    order = window.order
    across, up = _values(order, x - k), _values(order, y - m)
    for j in range(order + 1):
        cell = (m + j) * (window.width + 2) + k
        for i in range(order + 1):
            window.light[cell + i] += weight * up[j] * across[i]


@inner
def _piece(window, element, edge, k, m, s, t):
    """Add the part of an edge from s to t that lies in the piece (m, k), or left of them all if k is -1."""
    order, stride = window.order, window.width + 2
    (d0, d_x, d_y), scale, last, n = element
    x0, y0, dx, dy, bend_x, bend_y = edge
    for g in range(n):
        at = s + (t - s) * _NODES[n - 1, g]
        weight = scale * (t - s) * _WEIGHTS[n - 1, g]
        x, y = x0 + at * dx, y0 + at * dy
        climb = weight * dy
        here = d0 + d_y * y + d_x * k
        flux = -4.0 * weight * at * (1.0 - at) * (bend_x * dy - bend_y * dx)
        up = _values(order, y - m)
        if k >= 0:
            across, beyond, moments = _values(order, x - k), _beyond(order, x - k), _moments(order, x - k)
            for i in range(order + 1):
                light = climb * (here * beyond[i] + d_x * moments[i]) + flux * across[i]
                for j in range(order + 1):
                    window.light[(m + j) * stride + k + i] += up[j] * light
        # all of the splines further to the right: their middles are at i - (order - 1) / 2
        for i in range(max(k + 1, 0) + order, last + 1):
            light = climb * (here + d_x * (i - k - 0.5 * (order - 1)))
            for j in range(order + 1):
                window.light[(m + j) * stride + i] += up[j] * light


@inner
def _piece_of(x, n):
    """Return the piece that holds x: -1 or n outside of n pieces."""
    return int(np.floor(min(max(x, -1.0), n + 0.5)))


@inner
def _to_knot(k, x, dx, n):
    """Return at which part of a line from x to x + dx it leaves the piece k; inf outside of n pieces."""
    knot = k + 1 if dx > 0.0 else k
    return (knot - x) / dx if dx != 0.0 and 0 <= knot <= n else np.inf


@inner
def _edge(window, element, edge):
    """Walk one edge from knot to knot."""
    x0, y0, dx, dy = edge[0], edge[1], edge[2], edge[3]
    width, height = window.width, window.height
    k, m = _piece_of(x0, width), _piece_of(y0, height)
    s = 0.0
    while s < 1.0:
        to_k, to_m = _to_knot(k, x0, dx, width), _to_knot(m, y0, dy, height)
        t = min(max(min(to_k, to_m), s), 1.0)
        if t > s and 0 <= m < height and k < width:
            _piece(window, element, edge, k, m, s, t)
        if to_k <= to_m:
            k += 1 if dx > 0.0 else -1
        else:
            m += 1 if dy > 0.0 else -1
        s = t


@inner
def _segment(window, corners, weight):
    """Add a triangle that has shrunk to a segment, or to a point.

    The image-plane area of a triangle whose corners fall at 0 <= b <= 1 along a line is spread there with a
    density that rises linearly up to b and falls beyond it.
    """
    x0, y0, x1, y1, x2, y2 = corners
    a = (x0 - x1) ** 2 + (y0 - y1) ** 2
    b = (x1 - x2) ** 2 + (y1 - y2) ** 2
    longest = (x2 - x0) ** 2 + (y2 - y0) ** 2  # turn the corners so that this is the longest side
    if a >= b and a > longest:
        x0, y0, x1, y1, x2, y2, longest = x0, y0, x2, y2, x1, y1, a
    elif b > longest:
        x0, y0, x1, y1, x2, y2, longest = x1, y1, x0, y0, x2, y2, b
    dx, dy = x2 - x0, y2 - y0
    peak = 0.5
    if longest > 0.0:
        peak = min(max(((x1 - x0) * dx + (y1 - y0) * dy) / longest, 0.0), 1.0)
    order, width, height = window.order, window.width, window.height
    k, m = _piece_of(x0, width), _piece_of(y0, height)
    s = 0.0
    while s < 1.0:
        to_k, to_m = _to_knot(k, x0, dx, width), _to_knot(m, y0, dy, height)
        end = min(max(min(to_k, to_m), s), 1.0)
        t = peak if s < peak < end else end
        if t > s and 0 <= m < height and 0 <= k < width:
            for g in range(order + 1):
                at = s + (t - s) * _NODES[order, g]
                density = 2.0 * (at / peak if t <= peak else (1.0 - at) / (1.0 - peak))
                part = weight * density * (t - s) * _WEIGHTS[order, g]
                _put(window, k, m, x0 + at * dx, y0 + at * dy, part)
        if t == end:
            if to_k <= to_m:
                k += 1 if dx > 0.0 else -1
            else:
                m += 1 if dy > 0.0 else -1
        s = t


@inner
def _in_one_piece(window, k, m, corners, middles, weight):
    """Add an element that lies in one piece, by a rule for triangles that is exact for its polynomial."""
    x0, y0, x1, y1, x2, y2 = corners
    x3, y3, x4, y4, x5, y5 = middles
    for i in range(6):
        a, b, c = _SIX[i, 0], _SIX[i, 1], _SIX[i, 2]
        # the quadratic through the nodes
        p, q, r = a * (2.0 * a - 1.0), b * (2.0 * b - 1.0), c * (2.0 * c - 1.0)
        x = p * x0 + q * x1 + r * x2 + 4.0 * (a * b * x3 + b * c * x4 + c * a * x5)
        y = p * y0 + q * y1 + r * y2 + 4.0 * (a * b * y3 + b * c * y4 + c * a * y5)
        _put(window, k, m, x, y, weight * _SIX[i, 3])


@inner
def add_triangle(window, x, y, e, c, r, weight):
    """Spread `weight` over the splines of a window by their integral over element e, divided by its area.

    The first piece of the window is in column c and row r. `x` and `y` (elements, 6) are corners, and middles
    of the edges 01, 12, 20; they may lie outside.
    """
    order, width, height = window.order, window.width, window.height
    x0, x1, x2, x3, x4, x5 = x[e, 0] - c, x[e, 1] - c, x[e, 2] - c, x[e, 3] - c, x[e, 4] - c, x[e, 5] - c
    y0, y1, y2, y3, y4, y5 = y[e, 0] - r, y[e, 1] - r, y[e, 2] - r, y[e, 3] - r, y[e, 4] - r, y[e, 5] - r
    x_lo, x_hi = min(x0, x1, x2), max(x0, x1, x2)
    y_lo, y_hi = min(y0, y1, y2), max(y0, y1, y2)
    if x_hi < 0.0 or y_hi < 0.0 or x_lo >= width or y_lo >= height:
        return
    corners = x0, y0, x1, y1, x2, y2
    k, m = int(np.floor(max(x_lo, -1.0))), int(np.floor(max(y_lo, -1.0)))
    if k >= 0 and m >= 0 and x_hi <= k + 1.0 and y_hi <= m + 1.0:
        _in_one_piece(window, k, m, corners, (x3, y3, x4, y4, x5, y5), weight)
        return
    twice = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    extent = max(x_hi - x_lo, y_hi - y_lo)
    if abs(twice) <= _THIN * extent:
        _segment(window, corners, weight)
        return
    u01, u12, u20 = x3 - 0.5 * (x0 + x1), x4 - 0.5 * (x1 + x2), x5 - 0.5 * (x2 + x0)
    v01, v12, v20 = y3 - 0.5 * (y0 + y1), y4 - 0.5 * (y1 + y2), y5 - 0.5 * (y2 + y0)
    density = 1.0, 0.0, 0.0
    n = order + 1
    if _bends(u01, u12, u20, v01, v12, v20, twice, extent):
        n = order + 2  # the bend adds one to the degree
        density = _density(corners, (u01, v01, u12, v12, u20, v20), twice)
    else:
        u01 = u12 = u20 = v01 = v12 = v20 = 0.0
    # the last spline that the element reaches
    last = int(np.floor(min(x_hi, width - 0.5))) + order
    element = density, -2.0 * weight / twice, last, n
    _edge(window, element, (x0, y0, x1 - x0, y1 - y0, u01, v01))
    _edge(window, element, (x1, y1, x2 - x1, y2 - y1, u12, v12))
    _edge(window, element, (x2, y2, x0 - x2, y0 - y2, u20, v20))


@inner
def _bends(u01, u12, u20, v01, v12, v20, twice, extent):
    """Check whether an element is bent, and not so much that the first order means nothing."""
    bend = max(abs(u01), abs(u12), abs(u20), abs(v01), abs(v12), abs(v20))
    return _STRAIGHT < bend < _FOLDED * extent and twice * twice > _NARROW * bend * extent**3


@inner
def _density(corners, bends, twice):
    """Return 1 - div d, a linear function: its value at the origin, and its derivatives along x and y."""
    x0, y0, x1, y1, x2, y2 = corners
    u01, v01, u12, v12, u20, v20 = bends
    # gradients of the barycentric coordinates
    g0x, g0y = (y1 - y2) / twice, (x2 - x1) / twice
    g1x, g1y = (y2 - y0) / twice, (x0 - x2) / twice
    g2x, g2y = (y0 - y1) / twice, (x1 - x0) / twice
    # the divergence at the corners
    at0 = 4.0 * (g1x * u01 + g1y * v01 + g2x * u20 + g2y * v20)
    at1 = 4.0 * (g0x * u01 + g0y * v01 + g2x * u12 + g2y * v12)
    at2 = 4.0 * (g0x * u20 + g0y * v20 + g1x * u12 + g1y * v12)
    along_x = -(g0x * at0 + g1x * at1 + g2x * at2)
    along_y = -(g0y * at0 + g1y * at1 + g2y * at2)
    return 1.0 - at0 - along_x * x0 - along_y * y0, along_x, along_y


@inner
def _emit(window, c, r, shape, total, cells, values, n):
    """Append the entries of a window whose first spline is (r, c), in order, and clear the window.

    Negative entries are dropped and the others rescaled, so that the sum stays what it was: `total` where
    that is known (>= 0), else that of the entries.
    """
    rows, columns = shape
    stride = window.width + 2
    start = n
    kept = 0.0
    dropped = 0.0
    for i in range(window.height + 2):
        for j in range(stride):
            value = window.light[i * stride + j]
            window.light[i * stride + j] = 0.0
            if 0 <= r + i < rows and 0 <= c + j < columns:
                if value > _NOISE:
                    cells[n] = (r + i) * columns + c + j
                    values[n] = value
                    kept += value
                    n += 1
                else:
                    dropped += value
    if total < 0.0:
        total = kept + dropped
    if kept > 0.0 and total != kept:
        factor = max(total, 0.0) / kept
        for k in range(start, n):
            values[k] *= factor
    return n


@compiled
def fill(order, elements, shape, light, pixel, cells, values, ends):
    """Write the entries of image pixels one after the other, from `pixel` on, until the output is full.

    Parameters
    ----------
    order : int
        1 or 2.
    elements : tuple of ndarrays
        starts, stops (pixels,): the elements of each pixel; x, y (elements, 6): mapped corners, then middles
        of the edges 01, 12, 20; and weights (elements,), the share of each element in its pixel.
    shape : tuple of int
        Rows and columns of splines.
    light : ndarray
        Zeros, at least (rows + order + 2) * (columns + order + 2); zeros again on return.
    pixel, cells, values, ends
        As of `lenssuper.operators.overlap.clip.fill`, which also says what is returned.
    """
    starts, stops, x, y, weights = elements
    rows, columns = shape
    n = ends[pixel]
    for p in range(pixel, starts.size):
        x_lo = y_lo = np.inf
        x_hi = y_hi = -np.inf
        for e in range(starts[p], stops[p]):
            for k in range(3):
                x_lo, x_hi = min(x_lo, x[e, k]), max(x_hi, x[e, k])
                y_lo, y_hi = min(y_lo, y[e, k]), max(y_hi, y[e, k])
        # where all splines that overlap are there, they add up to one
        inside = x_lo >= order and y_lo >= order and x_hi <= columns and y_hi <= rows
        c = int(min(max(x_lo, 0.0), columns + order))
        r = int(min(max(y_lo, 0.0), rows + order))
        width = int(max(min(x_hi, columns + order - 0.5), -1.0)) + 1 - c
        height = int(max(min(y_hi, rows + order - 0.5), -1.0)) + 1 - r
        ends[p + 1] = n
        if width <= 0 or height <= 0:
            continue
        if n + (width + 2) * (height + 2) > values.size:
            return p
        window = _Window(light, order, width, height)
        for e in range(starts[p], stops[p]):
            add_triangle(window, x, y, e, c, r, weights[e])
        n = _emit(window, c - order, r - order, shape, 1.0 if inside else -1.0, cells, values, n)
        ends[p + 1] = n
    return starts.size


@inner
def _along(source, before, order, start, end, out):
    """Write the integrals along one edge: of source * (1 - t), of source * t over t, and of `below` over y.

    `source` are coefficients of splines, `before` (rows, columns + 1) their sums along the row up to each
    column, and `below` is the integral of the source to the left of a point.
    """
    rows, columns = source.shape
    xa, ya = start
    dx, dy = end[0] - xa, end[1] - ya
    near = far = below = 0.0
    k, m = _piece_of(xa, columns + order), _piece_of(ya, rows + order)
    s = 0.0
    while s < 1.0:
        to_k, to_m = _to_knot(k, xa, dx, columns + order), _to_knot(m, ya, dy, rows + order)
        t = min(max(min(to_k, to_m), s), 1.0)
        if t > s and k >= 0 and 0 <= m < rows + order:
            for g in range(order + 1):
                at = s + (t - s) * _NODES[order, g]
                value, left = _here(source, before, order, k, m, xa + at * dx, ya + at * dy)
                weight = (t - s) * _WEIGHTS[order, g]
                near += weight * (1.0 - at) * value
                far += weight * at * value
                below += weight * dy * left
        if to_k <= to_m:
            k += 1 if dx > 0.0 else -1
        else:
            m += 1 if dy > 0.0 else -1
        s = t
    out[0], out[1], out[2] = near, far, below


@inner
def _here(source, before, order, k, m, x, y):
    """Return a source at a point of the piece (m, k), and its integral to the left of the point."""
    rows, columns = source.shape
    across, beyond, up = _values(order, x - k), _beyond(order, x - k), _values(order, y - m)
    value = 0.0
    left = 0.0
    for j in range(max(order - m, 0), min(order + 1, rows + order - m)):
        row = m - order + j
        left += up[j] * before[row, min(max(k - order, 0), columns)]
        for i in range(max(order - k, 0), min(order + 1, columns + order - k)):
            part = up[j] * source[row, k - order + i]
            value += part * across[i]
            left += part * (1.0 - beyond[i])
    return value, left


@compiled
def edge_integrals(source, before, order, lattice, edges):
    """Write what `lenssuper.operators.overlap.gradient.edge_integrals` does, for a source of splines.

    ``lattice`` holds u and v, ``edges`` the arrays to be filled.
    """
    u, v = lattice
    across, up, diagonal = edges
    m, n = diagonal.shape[:2]
    for i in range(m + 1):
        for j in range(n + 1):
            if j < n:
                _along(source, before, order, (u[i, j], v[i, j]), (u[i, j + 1], v[i, j + 1]), across[i, j])
            if i < m:
                _along(source, before, order, (u[i, j], v[i, j]), (u[i + 1, j], v[i + 1, j]), up[i, j])
            if i < m and j < n:
                _along(
                    source,
                    before,
                    order,
                    (u[i, j], v[i, j]),
                    (u[i + 1, j + 1], v[i + 1, j + 1]),
                    diagonal[i, j],
                )
