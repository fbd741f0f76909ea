"""Exact areas of overlap between mapped image elements and the cells of a regular grid.

Every coordinate is in cells of the source grid, cell (r, c) being the unit
square c <= x < c + 1, r <= y < r + 1.  An element is a triangle that carries a weight w (its share of its
image pixel); the kernels add w * overlap / area to every cell it touches.

The area under an edge is accumulated cell by cell as the edge is walked, and a running sum along the row
then gives the coverage of each cell, so no clipped polygon is ever formed.  That running sum lives in a small
window of the grid around the pixel; its cells are `window[row * stride + column]`.
"""

from __future__ import annotations

import numpy as np

from lenssuper._utils.compile import compiled, inner

# Elements narrower than this (in cells) are treated as segments.
_THIN = 1e-9
# Edges that bend less than this are straight but for rounding.
_STRAIGHT = 1e-12
# Elements that bend more than this part of their extent are too far from straight for a first-order
# correction.
_FOLDED = 0.25
# Entries below this are rounding noise of the running sums.
_NOISE = 1e-13


@inner
def _strip(window, row, xa, xb, dy):
    """Add the coverage right of a piece of edge from xa to xb that climbs dy within one row of cells."""
    if xa > xb:
        xa, xb = xb, xa
    ca = int(xa)
    cb = int(xb)
    if ca == cb:
        part = dy * (0.5 * (xa + xb) - ca)
        window[row + ca] += dy - part
        window[row + ca + 1] += part
        return
    slope = dy / (xb - xa)
    reach = ca + 1 - xa
    before = 0.5 * slope * reach * reach
    window[row + ca] += before
    for c in range(ca + 1, cb):
        cover = slope * (c + 0.5 - xa)
        window[row + c] += cover - before
        before = cover
    reach = xb - cb
    cover = dy - 0.5 * slope * reach * reach
    window[row + cb] += cover - before
    window[row + cb + 1] += dy - cover


@inner
def _edge(window, stride, x0, y0, x1, y1, scale):
    """Walk one edge that lies inside the window, adding `scale` times the coverage to its right."""
    if y0 > y1:
        x0, x1 = x1, x0
        y0, y1 = y1, y0
        scale = -scale
    first = int(y0)
    last = int(y1)
    row = first * stride
    if first == last:
        _strip(window, row, x0, x1, scale * (y1 - y0))
        return
    slope = (x1 - x0) / (y1 - y0)
    lo = min(x0, x1)
    hi = max(x0, x1)
    x = x0
    y = y0
    for r in range(first, last):
        x_next = min(max(x0 + slope * (r + 1 - y0), lo), hi)
        _strip(window, row, x, x_next, scale * (r + 1 - y))
        x = x_next
        y = r + 1.0
        row += stride
    _strip(window, row, x, x1, scale * (y1 - y))


@inner
def _edge_clipped(window, stride, width, height, x0, y0, x1, y1, scale):
    """Walk one edge that may leave the window; to the left of the window it covers whole rows."""
    if y0 > y1:
        x0, x1 = x1, x0
        y0, y1 = y1, y0
        scale = -scale
    if y1 <= 0.0 or y0 >= height or y0 == y1:
        return
    slope = (x1 - x0) / (y1 - y0)
    xa, ya, xb, yb = x0, y0, x1, y1
    if y0 < 0.0:
        ya = 0.0
        xa = x0 - slope * y0
    if y1 > height:
        yb = float(height)
        xb = x0 + slope * (height - y0)
    if xa > xb:  # from left to right: turn the piece over
        xa, xb = xb, xa
        ya, yb = yb, ya
        scale = -scale
    if xa < 0.0:
        y = yb if xb <= 0.0 else ya + (yb - ya) * (-xa / (xb - xa))
        y = min(max(y, 0.0), float(height))
        _edge(window, stride, 0.0, ya, 0.0, y, scale)
        if xb <= 0.0:
            return
        xa = 0.0
        ya = y
    if xa >= width:
        return
    if xb > width:
        yb = ya + (yb - ya) * ((width - xa) / (xb - xa))
        yb = min(max(yb, 0.0), float(height))
        xb = float(width)
    _edge(window, stride, xa, ya, xb, yb, scale)


@inner
def _put(window, cell, value):
    """Add to one cell of a window that holds differences along the row."""
    window[cell] += value
    window[cell + 1] -= value


@inner
def _segment(window, stride, width, height, x0, y0, x1, y1, x2, y2, weight):
    """Add a triangle that has shrunk to a segment, or to a point.

    The image-plane area of a triangle whose corners fall at 0 <= b <= 1 along a line is spread there with a
    density that rises linearly up to b and falls beyond it.
    """
    a = (x0 - x1) ** 2 + (y0 - y1) ** 2
    b = (x1 - x2) ** 2 + (y1 - y2) ** 2
    longest = (x2 - x0) ** 2 + (y2 - y0) ** 2  # turn the corners so that this is the longest side
    if a >= b and a > longest:
        x0, y0, x1, y1, x2, y2, longest = x0, y0, x2, y2, x1, y1, a
    elif b > longest:
        x0, y0, x1, y1, x2, y2, longest = x1, y1, x0, y0, x2, y2, b
    dx, dy = x2 - x0, y2 - y0
    if longest == 0.0:
        if 0.0 <= x0 < width and 0.0 <= y0 < height:
            _put(window, int(y0) * stride + int(x0), weight)
        return
    peak = min(max(((x1 - x0) * dx + (y1 - y0) * dy) / longest, 0.0), 1.0)
    start, stop = 0.0, 1.0  # the part of the segment inside the window
    for axis in range(2):
        o, d, size = (x0, dx, width) if axis == 0 else (y0, dy, height)
        if d != 0.0:
            a, b = -o / d, (size - o) / d
            start = max(start, min(a, b))
            stop = min(stop, max(a, b))
        elif o < 0.0 or o >= size:
            return
    c = int(min(max(np.floor(x0 + start * dx), 0.0), width - 1.0))
    r = int(min(max(np.floor(y0 + start * dy), 0.0), height - 1.0))
    step_c = 1 if dx > 0.0 else -1
    step_r = 1 if dy > 0.0 else -1
    s = start
    while s < stop and 0 <= c < width and 0 <= r < height:
        to_column = (c + (step_c + 1) // 2 - x0) / dx if dx != 0.0 else np.inf
        to_row = (r + (step_r + 1) // 2 - y0) / dy if dy != 0.0 else np.inf
        t = min(max(min(to_column, to_row), s), stop)
        _put(window, r * stride + c, weight * (_ramp(t, peak) - _ramp(s, peak)))
        if to_column <= to_row:
            c += step_c
        else:
            r += step_r
        s = t


@inner
def _ramp(s, peak):
    """Return the integral from 0 to s of the triangular density with its peak at `peak`."""
    if s < peak:
        return s * s / peak
    if peak < 1.0:
        return 1.0 - (1.0 - s) ** 2 / (1.0 - peak)
    return 1.0


@inner
def _shift(window, across, along, n_across, n_along, p0, q0, p1, q1, p2, q2, b01, b12, b02, scale):
    """Move light over the cell borders p = 1, 2, ... by as much as the curved map is off the straight one.

    Inside an element the map is the linear one through its corners plus the quadratic that vanishes there
    and takes the values b01, b12, b02 in the middle of the edges.  To first order in that quadratic the
    light crossing a border is its integral along the chord of the border inside the element.
    """
    if p0 > p1:
        p0, p1, q0, q1, b02, b12 = p1, p0, q1, q0, b12, b02
    if p1 > p2:
        p1, p2, q1, q2, b01, b02 = p2, p1, q2, q1, b02, b01
    if p0 > p1:
        p0, p1, q0, q1, b02, b12 = p1, p0, q1, q0, b12, b02
    first = int(max(np.floor(p0) + 1.0, 0.0))
    last = int(min(np.ceil(p2) - 1.0, float(n_across)))
    for line in range(first, last + 1):
        # the chord runs from the long edge 02 to one of the two others
        s = (line - p0) / (p2 - p0)
        qa = q0 + s * (q2 - q0)
        ba = 4.0 * s * (1.0 - s) * b02
        if line <= p1:
            t = (line - p0) / (p1 - p0)
            qb = q0 + t * (q1 - q0)
            bb = 4.0 * t * (1.0 - t) * b01
            l0, l1, l2 = 1.0 - 0.5 * (s + t), 0.5 * t, 0.5 * s
        else:
            t = (line - p1) / (p2 - p1)
            qb = q1 + t * (q2 - q1)
            bb = 4.0 * t * (1.0 - t) * b12
            l0, l1, l2 = 0.5 * (1.0 - s), 0.5 * (1.0 - t), 0.5 * (s + t)
        middle = 4.0 * (l0 * l1 * b01 + l1 * l2 * b12 + l0 * l2 * b02)
        if qa > qb:
            qa, qb, ba, bb = qb, qa, bb, ba
        length = qb - qa
        if length <= 0.0 or qb <= 0.0 or qa >= n_along:
            continue
        c2 = 2.0 * (ba + bb) - 4.0 * middle
        c1 = bb - ba - c2
        stop = int(min(np.floor(qb), n_along - 1.0))
        for k in range(int(max(qa, 0.0)), stop + 1):
            u = max(0.0, (k - qa) / length)
            v = min(1.0, (k + 1 - qa) / length)
            moved = ba * (v - u) + c1 * (v * v - u * u) / 2 + c2 * (v * v * v - u * u * u) / 3
            moved *= scale * length
            cell = line * across + k * along
            if line >= 1:
                _put(window, cell - across, -moved)
            if line < n_across:
                _put(window, cell, moved)


@inner
def add_triangle(window, stride, width, height, x, y, e, c, r, weight):
    """Spread `weight` over the cells of a window in proportion to their overlap with element e.

    `window` holds differences along the row, (height + 1) rows of `stride` >= width + 2, its first cell in
    column c and row r. `x` and `y` (elements, 6) are corners, and middles of the edges 01, 12, 20; they may
    lie outside.
    """
    x0, x1, x2 = x[e, 0] - c, x[e, 1] - c, x[e, 2] - c
    y0, y1, y2 = y[e, 0] - r, y[e, 1] - r, y[e, 2] - r
    x_lo, x_hi = min(x0, x1, x2), max(x0, x1, x2)
    y_lo, y_hi = min(y0, y1, y2), max(y0, y1, y2)
    if x_hi < 0.0 or y_hi < 0.0 or x_lo > width or y_lo > height:
        return
    inside = x_lo >= 0.0 and y_lo >= 0.0 and x_hi <= width and y_hi <= height
    if inside and x_hi < width and y_hi < height and int(x_lo) == int(x_hi) and int(y_lo) == int(y_hi):
        _put(window, int(y_lo) * stride + int(x_lo), weight)
        return
    twice = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if abs(twice) <= _THIN * max(x_hi - x_lo, y_hi - y_lo):
        _segment(window, stride, width, height, x0, y0, x1, y1, x2, y2, weight)
        return
    scale = -2.0 * weight / twice
    if inside:
        _edge(window, stride, x0, y0, x1, y1, scale)
        _edge(window, stride, x1, y1, x2, y2, scale)
        _edge(window, stride, x2, y2, x0, y0, scale)
    else:
        _edge_clipped(window, stride, width, height, x0, y0, x1, y1, scale)
        _edge_clipped(window, stride, width, height, x1, y1, x2, y2, scale)
        _edge_clipped(window, stride, width, height, x2, y2, x0, y0, scale)
    scale = abs(scale)
    b01 = x[e, 3] - c - 0.5 * (x0 + x1)
    b12 = x[e, 4] - c - 0.5 * (x1 + x2)
    b02 = x[e, 5] - c - 0.5 * (x2 + x0)
    bend = max(abs(b01), abs(b12), abs(b02))
    if _STRAIGHT < bend < _FOLDED * (x_hi - x_lo):
        _shift(window, 1, stride, width, height, x0, y0, x1, y1, x2, y2, b01, b12, b02, scale)
    b01 = y[e, 3] - r - 0.5 * (y0 + y1)
    b12 = y[e, 4] - r - 0.5 * (y1 + y2)
    b02 = y[e, 5] - r - 0.5 * (y2 + y0)
    bend = max(abs(b01), abs(b12), abs(b02))
    if _STRAIGHT < bend < _FOLDED * (y_hi - y_lo):
        _shift(window, stride, 1, height, width, y0, x0, y1, x1, y2, x2, b01, b12, b02, scale)


@inner
def emit(window, stride, width, height, first_cell, row_cells, total, cells, values, n):
    """Append the entries of a window to `cells` and `values`, in order, and clear the window.

    Negative entries (a border pushed past a corner) are dropped and the others rescaled, so that the sum
    stays what it was: `total` where that is known (>= 0), else that of the entries.
    """
    start = n
    kept = 0.0
    dropped = 0.0
    for r in range(height):
        run = 0.0
        k = r * stride
        cell = first_cell + r * row_cells
        for c in range(width):
            run += window[k + c]
            window[k + c] = 0.0
            if run > _NOISE:
                cells[n] = cell + c
                values[n] = run
                kept += run
                n += 1
            else:
                dropped += run
        window[k + width] = 0.0
        window[k + width + 1] = 0.0
    k = height * stride
    for c in range(stride):
        window[k + c] = 0.0
    if total < 0.0:
        total = kept + dropped
    if kept > 0.0 and total != kept:
        factor = max(total, 0.0) / kept
        for k in range(start, n):
            values[k] *= factor
    return n


@compiled
def fill(shares, cell, starts, stops, x, y, weights, rows, columns, window, pixel, cells, values, ends):
    """Write the entries of image pixels one after the other, from `pixel` on, until the output is full.

    Parameters
    ----------
    shares, cell : ndarrays, shapes (m, 9, n) and (m, n)
        Where `cell` is not negative, the shares of the 3 x 3 cells from it on are known.
    starts, stops : ndarray, shape (m * n,)
        Elsewhere, the elements of pixel p are those from starts[p] to stops[p].
    x, y : ndarrays, shape (elements, 6)
        Mapped corners, then middles of the edges 01, 12, 20.
    weights : ndarray, shape (elements,)
        Share of each element in its pixel.
    rows, columns : int
        Shape of the source grid.
    window : ndarray
        Zeros, at least (rows + 1) * (columns + 2); zeros again on return.
    cells, values, ends : ndarrays, filled
        Flat source cell and value of each entry; ends[p + 1] is the number of entries up to pixel p.

    Returns
    -------
    int
        The pixel at which to resume when there is more room; the number of pixels when all are done.
    """
    n = ends[pixel]
    across = cell.shape[1]
    i, j = pixel // across, pixel % across - 1
    for p in range(pixel, cell.size):
        if n + 9 > values.size:
            return p
        j += 1
        if j == across:
            i, j = i + 1, 0
        if cell[i, j] >= 0.0:
            first = int(cell[i, j])
            for k in range(0, 9, 3):  # three at a time: the compiler does not unroll more
                share = shares[i, k, j]
                cells[n], values[n] = first, share
                n += share > _NOISE
                share = shares[i, k + 1, j]
                cells[n], values[n] = first + 1, share
                n += share > _NOISE
                share = shares[i, k + 2, j]
                cells[n], values[n] = first + 2, share
                n += share > _NOISE
                first += columns
            ends[p + 1] = n
            continue
        x_lo = y_lo = np.inf
        x_hi = y_hi = -np.inf
        for e in range(starts[p], stops[p]):
            for k in range(3):
                x_lo, x_hi = min(x_lo, x[e, k]), max(x_hi, x[e, k])
                y_lo, y_hi = min(y_lo, y[e, k]), max(y_hi, y[e, k])
        inside = x_lo >= 0.0 and y_lo >= 0.0 and x_hi <= columns and y_hi <= rows
        c = int(min(max(x_lo, 0.0), columns))
        r = int(min(max(y_lo, 0.0), rows))
        width = min(int(max(min(x_hi, columns), -1.0)) + 1, columns) - c
        height = min(int(max(min(y_hi, rows), -1.0)) + 1, rows) - r
        if width <= 0 or height <= 0:
            ends[p + 1] = n
            continue
        if n + width * height > values.size:
            return p
        for e in range(starts[p], stops[p]):
            add_triangle(window, width + 2, width, height, x, y, e, c, r, weights[e])
        total = 1.0 if inside else -1.0
        n = emit(window, width + 2, width, height, r * columns + c, columns, total, cells, values, n)
        ends[p + 1] = n
    return cell.size


@compiled
def add_edges(window, rows, columns, x, y, scale):
    """Add to each cell `scale` times the area to the right of edges, in every row they climb through.

    `x` and `y` (2, edges) are where edges begin and end; around a region, a `scale` of -1 counter-clockwise
    gives its area. `window`, at least (rows + 1) * (columns + 2), holds differences along the rows: their
    running sum is the area.
    """
    for e in range(len(scale)):
        _edge_clipped(window, columns + 2, columns, rows, x[0, e], y[0, e], x[1, e], y[1, e], scale[e])
