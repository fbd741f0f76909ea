"""Image pixels cut into triangles that the lens maps, as many as the accuracy needs.

An element is a triangle of the image plane with its three corners and the middles of its three edges mapped
to the source plane (an array row of six numbers per coordinate: corners 0, 1, 2, middles of 01, 12, 20).
Its overlap with the cells of the source grid is computed from the straight triangle plus, to first order,
the quadratic through the middles; what is left is third order in its size and second order in its
curvature.

Where that remainder could move more than `tol` of a pixel's light over a cell border, elements are halved
across the edge that bends most.  Elements that no border crosses, or that land outside the grid, are left
whole: they are exact.  Coordinates in the source plane are in cells of the source grid.
"""

from __future__ import annotations

import numpy as np

from lenssuper._utils.compile import compiled, inner

# A cubic with third derivative f along an edge is off the quadratic through its ends and its middle by up to
# f |s (s - 1/2) (s - 1)| / 6.
_CUBIC = 0.00802
# As in `lenssuper.operators.overlap.bsplines`: beyond these, an element is taken as straight.
_FOLDED, _NARROW = 0.25, 1e-7


@inner
def _cubics(plane, cubic, e):
    """Return how far the map is off its quadratic along the three edges, by its third derivatives."""
    first = second = third = 0.0
    for k in range(3):  # three calls with numbers in them would be compiled three times
        m = (k + 1) % 3
        p = plane[e, m, 0] - plane[e, k, 0]
        q = plane[e, m, 1] - plane[e, k, 1]
        change = cubic[e, 0] * p * p * p + 3.0 * cubic[e, 1] * p * p * q
        change += 3.0 * cubic[e, 2] * p * q * q + cubic[e, 3] * q * q * q
        off = _CUBIC * abs(change)
        if k == 0:
            first = off
        elif k == 1:
            second = off
        else:
            third = off
    return first, second, third


@inner
def _axis(v, e, rest, n):
    """Relate one coordinate of element e, which is `rest` off its quadratic, to the borders between cells.

    Returns the reach (-1: outside the grid on this axis, 0: no border crosses, 1: one does), the error per
    weight and how far the three edges bend.
    """
    b0 = abs(v[e, 3] - 0.5 * (v[e, 0] + v[e, 1]))
    b1 = abs(v[e, 4] - 0.5 * (v[e, 1] + v[e, 2]))
    b2 = abs(v[e, 5] - 0.5 * (v[e, 2] + v[e, 0]))
    most = max(b0, b1, b2)
    pad = 0.25 * most + rest
    lo = min(v[e, 0], v[e, 1], v[e, 2])
    hi = max(v[e, 0], v[e, 1], v[e, 2])
    width = hi - lo
    lo = min(lo, v[e, 3], v[e, 4], v[e, 5]) - pad
    hi = max(hi, v[e, 3], v[e, 4], v[e, 5]) + pad
    if hi <= 0.0 or lo >= n:
        return -1, 0.0, b0, b1, b2
    lo = max(lo, -0.5)
    hi = min(hi, n + 0.5)
    if np.floor(lo) == np.floor(hi):
        return 0, 0.0, b0, b1, b2
    if width <= 0.0:
        return 1, 1.0, b0, b1, b2
    error = rest + most * most / width
    for k in range(3):
        m = (k + 1) % 3
        bend = b0 if k == 0 else (b1 if k == 1 else b2)
        lo = max(min(v[e, k], v[e, m], v[e, 3 + k]) - pad, -0.5)
        hi = min(max(v[e, k], v[e, m], v[e, 3 + k]) + pad, n + 0.5)
        if lo < hi and np.floor(lo) != np.floor(hi):
            # part of the edge is nearer to the border than it bends: the chord misses it
            run = abs(v[e, k] - v[e, m])
            error += bend * (bend / run if bend < run else 1.0)
    return 1, min(2.0 * error / width, 1.0), b0, b1, b2


@inner
def _judge(plane, x, y, e, weight, cubic_x, cubic_y, shape, order):
    """Return how much light of element e may be in a wrong cell, and the edge whose halving reduces it."""
    rx0, rx1, rx2 = _cubics(plane, cubic_x, e)
    ry0, ry1, ry2 = _cubics(plane, cubic_y, e)
    rest_x, rest_y = max(rx0, rx1, rx2) + cubic_x[e, 4], max(ry0, ry1, ry2) + cubic_y[e, 4]
    reach_x, error_x, bx0, bx1, bx2 = _axis(x, e, rest_x, shape[1])
    reach_y, error_y, by0, by1, by2 = _axis(y, e, rest_y, shape[0])
    if order > 0 and reach_x >= 0 and reach_y >= 0:
        # borders matter less than slopes, which are everywhere
        bends = max(bx0, bx1, bx2), max(by0, by1, by2)
        error_x, error_y = _smooth_errors(x, y, e, bends, (rest_x, rest_y), order, (reach_x, reach_y))
        reach_x = reach_y = 2
    if reach_x < 0 or reach_y < 0 or (reach_x == 0 and reach_y == 0):
        return 0.0, 0
    most_x, most_y = max(bx0, bx1, bx2), max(by0, by1, by2)
    if reach_x == 1 and reach_y == 1:
        # where two borders cross, light displaced along one of them gets past the other
        twice = abs((x[e, 1] - x[e, 0]) * (y[e, 2] - y[e, 0]) - (y[e, 1] - y[e, 0]) * (x[e, 2] - x[e, 0]))
        corner = most_x * most_y
        corner = corner / twice if corner < twice else 1.0
        error_x += corner
        error_y += corner
    best = -1.0
    edge = 0
    for k in range(3):
        m = (k + 1) % 3
        length = (plane[e, k, 0] - plane[e, m, 0]) ** 2 + (plane[e, k, 1] - plane[e, m, 1]) ** 2
        off_x = bx0 + rx0 if k == 0 else (bx1 + rx1 if k == 1 else bx2 + rx2)
        off_y = by0 + ry0 if k == 0 else (by1 + ry1 if k == 1 else by2 + ry2)
        # an axis that no border crosses has no error
        score = error_x * off_x / (most_x + 1e-300) + error_y * off_y / (most_y + 1e-300)
        score += 1e-9 * length
        if score > best:
            best = score
            edge = k
    return weight * min(error_x + error_y, 1.0), edge


@inner
def _smooth_errors(x, y, e, bends, rests, order, crossed):
    """Return the errors per weight along x and y in a source of B-splines of order 1 or 2.

    Splines have slopes of at most one, so that light displaced by d is wrong by at most d; by its square
    where the first order is corrected for.
    """
    x_lo, x_hi = min(x[e, 0], x[e, 1], x[e, 2]), max(x[e, 0], x[e, 1], x[e, 2])
    y_lo, y_hi = min(y[e, 0], y[e, 1], y[e, 2]), max(y[e, 0], y[e, 1], y[e, 2])
    width, height = x_hi - x_lo, y_hi - y_lo
    extent, bend = max(width, height), max(bends[0], bends[1])
    twice = (x[e, 1] - x[e, 0]) * (y[e, 2] - y[e, 0]) - (y[e, 1] - y[e, 0]) * (x[e, 2] - x[e, 0])
    if crossed[0] == crossed[1] == 0:
        error_x, error_y = 0.1 * bends[0] * bend, 0.1 * bends[1] * bend
    elif bend < _FOLDED * extent and twice * twice > _NARROW * bend * extent**3:
        second = 0.5 * (bends[0] + bends[1])
        error_x, error_y = bends[0] * second, bends[1] * second
        if order == 1:  # slopes change at once, by two at most
            error_x = bends[0] * bends[1] + (2.0 * bends[0] ** 2 / width if crossed[0] == 1 else 0.0)
            error_y = 2.0 * bends[1] ** 2 / height if crossed[1] == 1 else 0.0
            error_x, error_y = min(error_x, bends[0]), min(error_y, bends[1])
    else:
        error_x, error_y = bends
    return min(error_x + rests[0], 1.0), min(error_y + rests[1], 1.0)


@compiled
def from_corners(u, v, k, wanted, starts, x, y):
    """Write the elements of the wanted pixels, each k x k squares cut in two, with straight edges.

    u, v are the mapped corners of the squares, (k m + 1, k n + 1) for `wanted` of shape (m, n); `starts` (m
    n + 1) and x, y (elements, 6) are filled.  All elements of a pixel have the same weight.
    """
    ny, nx = wanted.shape
    e = 0
    for p in range(ny * nx):
        starts[p] = e
        if wanted[p // nx, p % nx]:
            for i in range(p // nx * k, (p // nx + 1) * k):
                for j in range(p % nx * k, (p % nx + 1) * k):
                    for half in range(2):
                        x[e, 0], y[e, 0] = u[i, j], v[i, j]
                        x[e, 1 + half], y[e, 1 + half] = u[i + 1, j + 1], v[i + 1, j + 1]
                        x[e, 2 - half], y[e, 2 - half] = u[i + half, j + 1 - half], v[i + half, j + 1 - half]
                        for c in range(3):
                            x[e, 3 + c] = 0.5 * (x[e, c] + x[e, (c + 1) % 3])
                            y[e, 3 + c] = 0.5 * (y[e, c] + y[e, (c + 1) % 3])
                        e += 1
    starts[ny * nx] = e


@compiled
def from_half_steps(u, v, wanted, starts, x, y):
    """Write two elements for each wanted pixel, from the map at steps of half a pixel.

    u, v have shape (2 m + 3, 2 n + 3), half a pixel more than the m x n pixels on each side.
    """
    ny, nx = wanted.shape
    e = 0
    for p in range(ny * nx):
        starts[p] = e
        i, j = 1 + 2 * (p // nx), 1 + 2 * (p % nx)
        if wanted[p // nx, p % nx]:
            for half in range(2):
                _lattice_element(u, v, i, j, half, x, y, e)
                e += 1
    starts[ny * nx] = e


@inner
def _lattice_element(u, v, i, j, half, x, y, e):
    """Write half a pixel whose first corner is node (i, j): half 0 below the diagonal, 1 above it."""
    ci, cj = i + 2 * half, j + 2 - 2 * half  # the corner off the diagonal
    x[e, 0], y[e, 0] = u[i, j], v[i, j]
    x[e, 1], y[e, 1] = u[ci, cj], v[ci, cj]
    x[e, 2], y[e, 2] = u[i + 2, j + 2], v[i + 2, j + 2]
    a, b = (i + ci) // 2, (j + cj) // 2
    x[e, 3], y[e, 3] = u[a, b], v[a, b]
    a, b = (ci + i + 2) // 2, (cj + j + 2) // 2
    x[e, 4], y[e, 4] = u[a, b], v[a, b]
    x[e, 5], y[e, 5] = u[i + 1, j + 1], v[i + 1, j + 1]


@inner
def _third(f, i, j, cubic, e):
    """Write the third derivatives at the pixel with centre node (i, j), and its distance from the cubic."""
    right = f[i, j + 2] - 3.0 * f[i, j + 1] + 3.0 * f[i, j] - f[i, j - 1]
    left = f[i, j + 1] - 3.0 * f[i, j] + 3.0 * f[i, j - 1] - f[i, j - 2]
    upper = f[i + 2, j] - 3.0 * f[i + 1, j] + 3.0 * f[i, j] - f[i - 1, j]
    lower = f[i + 1, j] - 3.0 * f[i, j] + 3.0 * f[i - 1, j] - f[i - 2, j]
    # second differences along one axis, in the rows or columns on either side: over two steps
    across = f[i + 1, j + 1] - 2.0 * f[i + 1, j] + f[i + 1, j - 1]
    across -= f[i - 1, j + 1] - 2.0 * f[i - 1, j] + f[i - 1, j - 1]
    down = f[i + 1, j + 1] - 2.0 * f[i, j + 1] + f[i - 1, j + 1]
    down -= f[i + 1, j - 1] - 2.0 * f[i, j - 1] + f[i - 1, j - 1]
    # eight steps of half a pixel cubed make one pixel cubed
    cubic[e, 0] = 4.0 * (right + left)
    cubic[e, 1] = 4.0 * across
    cubic[e, 2] = 4.0 * down
    cubic[e, 3] = 4.0 * (upper + lower)
    cubic[e, 4] = 4.0 * _CUBIC * (abs(right - left) + abs(upper - lower))


@compiled
def screen(u, v, rows, columns, order, tol, cubic_x, cubic_y, rough):
    """Find the pixels for which two curved elements are not enough.

    u, v as in `from_half_steps`; rough (m, n) and cubic_x, cubic_y (m n, 5) are filled.
    """
    x = np.empty((2, 6))
    y = np.empty((2, 6))
    cubic = np.empty((2, 2, 5))
    # element by element: lists and slices in a kernel take seconds to compile
    plane = np.zeros((2, 3, 2))
    plane[0, 1, 0] = plane[0, 2, 0] = plane[0, 2, 1] = 1.0
    plane[1, 1, 1] = plane[1, 2, 0] = plane[1, 2, 1] = 1.0
    for i in range(rough.shape[0]):
        for j in range(rough.shape[1]):
            p = i * rough.shape[1] + j
            _third(u, 2 * i + 2, 2 * j + 2, cubic_x, p)
            _third(v, 2 * i + 2, 2 * j + 2, cubic_y, p)
            error = 0.0
            for half in range(2):
                for k in range(5):
                    cubic[0, half, k] = cubic_x[p, k]
                    cubic[1, half, k] = cubic_y[p, k]
                _lattice_element(u, v, 2 * i + 1, 2 * j + 1, half, x, y, half)
                error += _judge(plane, x, y, half, 0.5, cubic[0], cubic[1], (rows, columns), order)[0]
            rough[i, j] = error > tol


@inner
def _register(pixel, x, y, e, error, shape, table, sign):
    """Add the error of element e to the cells its corners and middles are in (or take it off: sign -1).

    The table holds the sum of errors and their number, by a hash of pixel and cell; where two fall on one
    slot, their errors add up.
    """
    seen_last = -1
    seen_before = -1
    for k in range(6):
        c = int(min(max(x[e, k], 0.0), shape[1] - 1.0))
        r = int(min(max(y[e, k], 0.0), shape[0] - 1.0))
        slot = _slot(pixel[e], r, c, len(table))
        if slot != seen_last and slot != seen_before:
            table[slot, 0] += sign * error
            table[slot, 1] += sign
            seen_before = seen_last
            seen_last = slot


@inner
def _slot(pixel, r, c, size):
    key = (pixel * 73856093) ^ (r * 19349663) ^ (c * 83492791)
    return ((key * 40503) >> 8) & (size - 1)


@compiled
def forget(chosen, pixel, x, y, errors, rows, columns, table):
    """Take the errors of the chosen elements off the table of cells."""
    for e in chosen:
        _register(pixel, x, y, e, errors[e], (rows, columns), table, -1.0)


@compiled
def judge(which, pixel, plane, x, y, weights, cubic_x, cubic_y, rows, columns, order, errors, edges, table):
    """Find error and worst edge of some elements, and enter the errors in the table of cells."""
    for e in which:
        errors[e], edges[e] = _judge(plane, x, y, e, weights[e], cubic_x, cubic_y, (rows, columns), order)
        if errors[e] > 0.0:
            _register(pixel, x, y, e, errors[e], (rows, columns), table, 1.0)


@compiled
def choose(looked_at, pixel, x, y, errors, rows, columns, table, tol, chosen, left):
    """Sort elements: `chosen` to be halved, the worst in cells that are not accurate enough; `left` to look
    at again.

    Elements whose cells are all accurate enough are in neither.  Returns the numbers of the two.
    """
    n_chosen = 0
    n_left = 0
    for e in looked_at:
        if errors[e] <= 0.0:
            continue
        state = 0
        for k in range(6):
            c = int(min(max(x[e, k], 0.0), columns - 1.0))
            r = int(min(max(y[e, k], 0.0), rows - 1.0))
            slot = _slot(pixel[e], r, c, len(table))
            if table[slot, 0] > tol:
                state = 1
                if errors[e] * table[slot, 1] > 0.5 * tol:
                    state = 2
                    break
        if state == 2:
            chosen[n_chosen] = e
            n_chosen += 1
        elif state == 1:
            left[n_left] = e
            n_left += 1
    return n_chosen, n_left


@compiled
def halve_plane(chosen, n, edges, pixel, plane, weights, torn, points):
    """Cut the chosen elements in two in the image plane: one half replaces the whole, the other goes to n +
    i.

    `points`, (3 * chosen, 2), is filled with the new middles of edges.
    """
    for i in range(len(chosen)):
        e = chosen[i]
        t = n + i
        a = edges[e]
        b, c = (a + 1) % 3, (a + 2) % 3
        for d in range(2):
            pa, pb, pc = plane[e, a, d], plane[e, b, d], plane[e, c, d]
            middle = 0.5 * (pa + pb)
            plane[e, 0, d], plane[e, 1, d], plane[e, 2, d] = pa, middle, pc
            plane[t, 0, d], plane[t, 1, d], plane[t, 2, d] = middle, pb, pc
            points[3 * i, d] = 0.5 * (pa + middle)
            points[3 * i + 1, d] = 0.5 * (pb + middle)
            points[3 * i + 2, d] = 0.5 * (pc + middle)
        pixel[t] = pixel[e]
        weights[e] = weights[t] = 0.5 * weights[e]
        ta, tb, tc = torn[e, a], torn[e, b], torn[e, c]
        torn[e, 0], torn[e, 1], torn[e, 2] = ta, False, tc
        torn[t, 0], torn[t, 1], torn[t, 2] = False, tb, tc


@compiled
def torn_corners(which, plane, torn, share, points, found, corners):
    """Find the corners that are lens centres: write points near them inside their elements, and their place.

    A point is away from the centre by a ``share`` of the distance to the middle of the element. Returns how
    many there are.
    """
    n = 0
    for e in which:
        for k in range(3):
            if torn[e, k]:
                for d in range(2):
                    middle = (plane[e, 0, d] + plane[e, 1, d] + plane[e, 2, d]) / 3.0
                    points[n, d] = plane[e, k, d] + share * (middle - plane[e, k, d])
                found[n] = e
                corners[n] = k
                n += 1
    return n


@compiled
def halve_map(chosen, n, edges, mapped, plane, v, cubic):
    """Halve elements in one mapped coordinate; the new points measure how far the quadratic was off.

    The third derivatives are corrected along the edge that was halved, and along it alone.
    """
    for i in range(len(chosen)):
        e = chosen[i]
        t = n + i
        a = edges[e]
        b, c = (a + 1) % 3, (a + 2) % 3
        va, vb, vc, ab, bc, ca = v[e, a], v[e, b], v[e, c], v[e, 3 + a], v[e, 3 + b], v[e, 3 + c]
        quarter, three, inner = mapped[3 * i], mapped[3 * i + 1], mapped[3 * i + 2]
        ends = -0.125 * (va + vb)
        first = quarter - (0.5 * va + ends + 0.75 * ab)
        last = three - (0.5 * vb + ends + 0.75 * ab)
        p, q = 2.0 * (plane[e, 1, 0] - plane[e, 0, 0]), 2.0 * (plane[e, 1, 1] - plane[e, 0, 1])
        third = cubic[e, 0] * p * p * p + 3.0 * cubic[e, 1] * p * p * q
        third += 3.0 * cubic[e, 2] * p * q * q + cubic[e, 3] * q * q * q
        wrong = (64.0 * (first - last) - third) / (p * p + q * q) ** 3
        cubic[e, 0] += wrong * p * p * p
        cubic[e, 1] += wrong * p * p * q
        cubic[e, 2] += wrong * p * q * q
        cubic[e, 3] += wrong * q * q * q
        cubic[e, 4] = max(0.25 * cubic[e, 4], 0.25 * abs(first + last))
        for k in range(5):
            cubic[t, k] = cubic[e, k]
        v[e, 0], v[e, 1], v[e, 2], v[e, 3], v[e, 4], v[e, 5] = va, ab, vc, quarter, inner, ca
        v[t, 0], v[t, 1], v[t, 2], v[t, 3], v[t, 4], v[t, 5] = ab, vb, vc, three, bc, inner
