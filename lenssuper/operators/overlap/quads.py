"""Overlap of small mapped pixels with the grid, in closed form and without branches.

Most pixels of a lens fall on three by three cells or fewer.  Then the shares of the nine cells follow from
the areas left of two vertical lines, below two horizontal lines, and in the quarter planes between them,
each a sum over the edges (Green's theorem).  Nothing branches on the data, so the compiler can vectorise
over pixels.

Coordinates are in cells of the source grid, as in `lenssuper.operators.overlap.clip`.
"""

from __future__ import annotations

import numpy as np

from lenssuper._utils.compile import compiled, inlined, inner

# Below this mapped area (in cells) the differences of the areas would be more than rounding noise.
_SMALL = 1e-2


@inner
def _lower(a, b):
    return a if a < b else b


@inner
def _higher(a, b):
    return a if a > b else b


@inner
def _negative(a, b):
    """Return twice the mean of min(x, 0) for x between a and b."""
    p = a if a < 0.0 else 0.0
    q = b if b < 0.0 else 0.0
    d = a - b
    return (p + q) * ((p - q) / d if d != 0.0 else 1.0)


@inlined
def _areas(x0, y0, x1, y1):
    """Return twice an edge's part of the areas x < 0, x < 1, y < 0, y < 1 and their four intersections."""
    dy = y1 - y0
    slope = (x1 - x0) / dy if dy != 0.0 else 0.0
    west0 = dy * _negative(x0, x1)
    west1 = dy * _negative(x0 - 1.0, x1 - 1.0)
    ya = y0 if y0 < 0.0 else 0.0
    yb = y1 if y1 < 0.0 else 0.0
    xa = x0 + (ya - y0) * slope
    xb = x0 + (yb - y0) * slope
    south0 = (yb - ya) * (xa + xb)
    both00 = (yb - ya) * _negative(xa, xb)
    both01 = (yb - ya) * _negative(xa - 1.0, xb - 1.0)
    ya = y0 if y0 < 1.0 else 1.0
    yb = y1 if y1 < 1.0 else 1.0
    xa = x0 + (ya - y0) * slope
    xb = x0 + (yb - y0) * slope
    south1 = (yb - ya) * (xa + xb)
    both10 = (yb - ya) * _negative(xa, xb)
    both11 = (yb - ya) * _negative(xa - 1.0, xb - 1.0)
    return west0, west1, south0, south1, both00, both01, both10, both11


@inner
def _join(f, g, a, b, c, d, e):
    """Return the sum over the two triangles of a pixel, of scales f and g, that have edge c in common."""
    return f * (a + b + c) + g * (d + e - c)


@inner
def _row(ua, ub, va, vb, rows, columns, shares, cell):
    """Write the shares of one row of pixels, from the corners below (ua, va) and above (ub, vb)."""
    for j in range(cell.size):  # with more than ten outputs it is not vectorised
        ax, bx, cx, dx = ua[j], ua[j + 1], ub[j + 1], ub[j]
        ay, by, cy, dy = va[j], va[j + 1], vb[j + 1], vb[j]
        left = _lower(_lower(ax, bx), _lower(cx, dx))
        right = _higher(_higher(ax, bx), _higher(cx, dx))
        bottom = _lower(_lower(ay, by), _lower(cy, dy))
        top = _higher(_higher(ay, by), _higher(cy, dy))
        column = np.floor(left)
        row = np.floor(bottom)
        # from here on the lines between the three cells are at 0 and 1
        ax, bx, cx, dx = ax - column - 1.0, bx - column - 1.0, cx - column - 1.0, dx - column - 1.0
        ay, by, cy, dy = ay - row - 1.0, by - row - 1.0, cy - row - 1.0, dy - row - 1.0
        first = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        second = (cx - ax) * (dy - ay) - (cy - ay) * (dx - ax)
        f = 0.5 / first
        g = 0.5 / second
        wa0, wa1, sa0, sa1, qa00, qa01, qa10, qa11 = _areas(ax, ay, bx, by)
        wb0, wb1, sb0, sb1, qb00, qb01, qb10, qb11 = _areas(bx, by, cx, cy)
        wc0, wc1, sc0, sc1, qc00, qc01, qc10, qc11 = _areas(cx, cy, ax, ay)
        wd0, wd1, sd0, sd1, qd00, qd01, qd10, qd11 = _areas(cx, cy, dx, dy)
        we0, we1, se0, se1, qe00, qe01, qe10, qe11 = _areas(dx, dy, ax, ay)
        west0 = _join(f, g, wa0, wb0, wc0, wd0, we0)
        west1 = _join(f, g, wa1, wb1, wc1, wd1, we1)
        south0 = _join(f, g, sa0, sb0, sc0, sd0, se0)
        south1 = _join(f, g, sa1, sb1, sc1, sd1, se1)
        q00 = _join(f, g, qa00, qb00, qc00, qd00, qe00)
        q01 = _join(f, g, qa01, qb01, qc01, qd01, qe01)
        q10 = _join(f, g, qa10, qb10, qc10, qd10, qe10)
        q11 = _join(f, g, qa11, qb11, qc11, qd11, qe11)
        # rows and columns that are not reached may lie past the end of the grid
        wide1, wide2 = right > column + 1.0, right > column + 2.0
        tall1, tall2 = top > row + 1.0, top > row + 2.0
        shares[0, j] = q00
        shares[1, j] = q01 - q00 if wide1 else 0.0
        shares[2, j] = south0 - q01 if wide2 else 0.0
        shares[3, j] = q10 - q00 if tall1 else 0.0
        shares[4, j] = q11 - q10 - q01 + q00 if wide1 & tall1 else 0.0
        shares[5, j] = south1 - south0 - q11 + q01 if wide2 & tall1 else 0.0
        shares[6, j] = west0 - q10 if tall2 else 0.0
        shares[7, j] = west1 - west0 - q11 + q10 if wide1 & tall2 else 0.0
        shares[8, j] = 1.0 - west1 - south1 + q11 if wide2 & tall2 else 0.0
        inside = (left >= 0.0) & (bottom >= 0.0) & (right < columns) & (top < rows)
        fits = (right < column + 3.0) & (top < row + 3.0)
        thick = (abs(first) > 2.0 * _SMALL) & (abs(second) > 2.0 * _SMALL)
        cell[j] = row * columns + column if inside & fits & thick else -1.0


@compiled
def quad_shares(u, v, rows, columns, shares, cell):
    """Write the shares of 3 x 3 cells in pixels that are mapped straight-edged, each cut into two triangles.

    u and v (m + 1, n + 1) are the mapped corners of m rows of n pixels. ``shares`` (m, 9, n) is filled with
    those of the cells (r, c), (r, c + 1), ..., (r + 2, c + 2), ``cell`` (m, n) with the flat index of (r, c)
    as floats: -1 where the pixel is not inside the grid or in no 3 x 3 cells, or has negligible area, and the
    shares mean nothing.
    """
    for i in range(cell.shape[0]):
        _row(u[i], u[i + 1], v[i], v[i + 1], float(rows), float(columns), shares[i], cell[i])
