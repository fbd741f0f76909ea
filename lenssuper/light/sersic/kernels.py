"""
Compiled kernels for the mean of a Sersic profile over pixels.

In pixel coordinates d from the centre the profile is I = exp(-b (P - 1)) with P = u^(1/2n) and u = d A d, a
quadratic form. Every integral is one of seven: of I, and of its derivatives by the two coordinates of the
centre, the three elements of A, and n.
"""

from __future__ import annotations

import numpy as np

from lenssuper._utils.compile import compiled, inner

__all__ = ["averages"]

# Gauss-Legendre on [-1/2, 1/2], of one to six points; the rows are padded with zeros.
_MOST = 6
_NODES, _WEIGHTS = np.zeros((_MOST + 1, _MOST)), np.zeros((_MOST + 1, _MOST))
for _m in range(1, _MOST + 1):
    _NODES[_m, :_m], _WEIGHTS[_m, :_m] = (0.5 * v for v in np.polynomial.legendre.leggauss(_m))
# Error of these rules for the mean of exp(v t) over [-1, 1] is this times v^(2m)
# (Abramowitz & Stegun 1964, eq. 25.4.30).
_ERROR = np.array([0.0, 1 / 6, 3.7e-3, 3.2e-5, 1.4e-7, 4.0e-10, 7.7e-13])

# Rules on [0, 1] for the pixels around the centre: along a ray, and across the rays.
_T, _TW = (0.5 * v for v in np.polynomial.legendre.leggauss(24))
_T = _T + 0.5
_S, _SW = (0.5 * v for v in np.polynomial.legendre.leggauss(16))
_S = _S + 0.5
_ZERO = 45.0  # exponent beyond which exp(-B t^(1/n)) is taken as zero
_FAINT = 30.0  # a pixel of exp(-30) of the brightness at R_e needs no accuracy


@inner
def _add_point(dx, dy, weight, form, out, derivatives):
    """Add the profile and its derivatives at one point."""
    a11, a12, a22, n, b, db = form
    u = max(a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy, 1e-300)
    log = np.log(u)
    power = np.exp(log * (0.5 / n))
    light = weight * np.exp(b - b * power)
    out[0] += light
    if derivatives:
        slope = -b / (2 * n) * power / u * light
        out[1] -= 2 * slope * (a11 * dx + a12 * dy)
        out[2] -= 2 * slope * (a12 * dx + a22 * dy)
        out[3] += slope * dx * dx
        out[4] += slope * 2 * dx * dy
        out[5] += slope * dy * dy
        out[6] += light * (db - db * power + b * power * log / (2 * n * n))


@inner
def _points_needed(s, half, n, b, tol):
    """
    Return the order of the Gauss rule for a cell of half-size ``half`` at radius ``s``, in units of R_e.

    With V = -d ln I / d ln s and rho = s / half, the k-th derivative along the cell is at most
    V (V + 1) ... (V + k - 1) / rho^k of the value, which is that of (1 - t/rho)^-V.
    """
    rho = s / half
    power = np.exp(np.log(s) / n)
    if b * power - b > _FAINT + b / n * power / rho:
        return 2
    v = b / n * power
    bound = 1.0
    for m in range(1, _MOST + 1):
        bound *= (v + 2 * m - 2) * (v + 2 * m - 1) / (rho * rho)
        if 2 * _ERROR[m] * bound < tol:
            return m
    return _MOST


@inner
def _add_cell(dx, dy, side, half, form, tol, out, derivatives):
    """Add the integral over a square cell, by a Gauss rule that is accurate enough."""
    a11, a12, a22, n, b, _ = form
    s = np.sqrt(a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy)
    m, share = _points_needed(s, half * side, n, b, tol), side * side
    for j in range(m):
        y = dy + side * _NODES[m, j]
        for i in range(m):
            x = dx + side * _NODES[m, i]
            weight = share * _WEIGHTS[m, i] * _WEIGHTS[m, j]
            _add_point(x, y, weight, form, out, derivatives)


@inner
def _parts_needed(s, half, ratio, n, b):
    """Return the number of cells along each side into which a pixel is divided."""
    rho = s / half
    exponent = b * np.exp(np.log(max(s - half, 1e-300)) / n)
    if exponent - b > _FAINT:
        return 1
    parts = 1.0
    if rho < 2.2:
        parts = 2.2 / max(rho - 1, 1.41 * ratio)
    steep = b / n * np.exp(np.log(s) / n) / rho
    parts = max(parts, steep / 2.5)
    return min(int(np.ceil(parts)), 32)


@inner
def _add_triangle(first_corner, last_corner, area, form, rays, out, derivatives):
    """
    Add the integral over a triangle with one corner in the centre, the others at 1 and 2, signed by ``area``.

    The points are t (r1 + s (r2 - r1)), t and s from 0 to 1, and the profile depends on t^(1/n) g(s)^(1/2n)
    (Duffy 1982, SIAM J. Numer. Anal. 19, 1260). With t = tau^p, p a multiple of n not below 3, the cusp is
    gone, and ``rays`` has the factors that depend on tau alone; with s = s0 + w sinh(z), g = c w^2 cosh(z)^2,
    long triangles are as accurate as short ones.
    """
    a11, a12, a22, n, b, db = form
    (x1, y1), (x2, y2) = first_corner, last_corner
    ex, ey = x2 - x1, y2 - y1
    c = a11 * ex * ex + 2 * a12 * ex * ey + a22 * ey * ey
    h = a11 * x1 * ex + a12 * (x1 * ey + y1 * ex) + a22 * y1 * ey
    s0 = -h / c
    w = np.sqrt(a11 * a22 - a12 * a12) * abs(area) / c
    if not w > 0:
        return
    low, high = np.arcsinh(-s0 / w), np.arcsinh((1 - s0) / w)
    k = np.ceil(3 / n)
    p = n * k
    for part in range(2):
        # a range with g's minimum inside is divided there
        if low < 0 < high:
            first, last = (low, 0.0) if part == 0 else (0.0, high)
        elif part == 0:
            first, last = low, high
        else:
            break
        for i in range(_S.size):
            z = first + (last - first) * _S[i]
            s = s0 + w * np.sinh(z)
            weight = area * (last - first) * _SW[i] * w * np.cosh(z)
            dx, dy = x1 + s * ex, y1 + s * ey
            g = a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy
            log = np.log(g)
            power = np.exp(log / (2 * n))
            end = min(1.0, np.exp(np.log(_ZERO / (b * power)) / k))
            steep = b * power * np.exp(k * np.log(end))
            j0, j1, k1, l1 = 0.0, 0.0, 0.0, 0.0
            for q in range(_T.size):
                light = np.exp(b - steep * rays[0, q])
                j0 += light * rays[1, q]
                k1 += light * rays[2, q]
                j1 += light * rays[3, q]
                l1 += light * rays[4, q]
            end_p = np.exp(p * np.log(end))
            j0 *= p * end_p * end_p
            power *= np.exp(k * np.log(end))
            k1 *= p * end_p * power
            j1 *= p * end_p * end_p * power
            l1 *= p * end_p * end_p * power
            out[0] += weight * j0
            if derivatives:
                slope = -b / (2 * n) * weight / g
                out[1] -= 2 * slope * k1 * (a11 * dx + a12 * dy)
                out[2] -= 2 * slope * k1 * (a12 * dx + a22 * dy)
                out[3] += slope * j1 * dx * dx
                out[4] += slope * j1 * 2 * dx * dy
                out[5] += slope * j1 * dy * dy
                log_u = (log + 2 * p * np.log(end)) * j1 + 2 * p * l1
                out[6] += weight * (db * j0 - db * j1 + b / (2 * n * n) * log_u)


@inner
def _rays(n):
    """Return tau^k of the nodes along a ray, and the weights of the four integrals of `_add_triangle`."""
    k = np.ceil(3 / n)
    p = n * k
    rays = np.empty((5, _T.size))
    for q in range(_T.size):
        log = np.log(_T[q])
        rays[0, q] = np.exp(k * log)
        rays[1, q] = _TW[q] * np.exp((2 * p - 1) * log)
        rays[2, q] = _TW[q] * np.exp((p - 1) * log) * rays[0, q]
        rays[3, q] = rays[1, q] * rays[0, q]
        rays[4, q] = rays[3, q] * log
    return rays


@inner
def _near_pixels(cx, cy, left, bottom, form, derivatives):
    """
    Return the integrals over the 3 x 3 pixels around the centre.

    A rectangle is the sum of four with one corner in the centre, signed: one for each corner of the pixel.
    """
    corner, rays = np.zeros((4, 4, 7)), _rays(form[3])
    for j in range(4):
        y = bottom - 0.5 + j - cy
        for i in range(4):
            x = left - 0.5 + i - cx
            if x != 0 and y != 0:
                out = corner[j, i]
                _add_triangle((x, 0.0), (x, y), x * y, form, rays, out, derivatives)
                _add_triangle((0.0, y), (x, y), x * y, form, rays, out, derivatives)
    near = np.empty((3, 3, 7))
    for j in range(3):
        for i in range(3):
            for k in range(7):
                beside = corner[j + 1, i, k] + corner[j, i + 1, k]
                near[j, i, k] = corner[j + 1, i + 1, k] + corner[j, i, k] - beside
    return near


# Bits of a float64: the mantissa, the number 1, and the position of the exponent
_MANTISSA, _ONE, _EXPONENT = 0xFFFFFFFFFFFFF, 0x3FF0000000000000, 52
_ROUNDER = 6755399441055744.0  # 1.5 2^52: added to a small number, the low bits are the nearest integer
_SIZES = 3  # bins of u in an octave are two to the power of this


@inner
def _logarithms(values, bits, scratch, scratch_bits, out, count):
    """
    Natural logarithms of positive numbers, in loops that the compiler can vectorise.

    The mantissa m is scaled to [2^-1/2, 2^1/2), where log(m) = 2 artanh((m - 1) / (m + 1)) is a short
    series.
    """
    for i in range(count):
        shifted = bits[i] - 0x3FE6A09E667F3BCD  # less the bits of 2^-1/2
        exponent = shifted >> _EXPONENT
        scratch_bits[i] = (shifted & _MANTISSA) + 0x3FE6A09E667F3BCD
        out[i] = exponent * 0.6931471805599453
    for i in range(count):
        m = scratch[i]
        t = (m - 1) / (m + 1)
        z = t * t
        series = 1 / 9 + z * (1 / 11 + z * (1 / 13 + z * (1 / 15 + z / 17)))
        out[i] += 2 * t * (1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * series))))


@inner
def _exponentials(values, scratch, scratch_bits, out, count):
    """Exponentials of numbers above -700, likewise: 2^k e^r with r at most log(2) / 2."""
    for i in range(count):
        scratch[i] = max(values[i], -700.0) * 1.4426950408889634 + _ROUNDER
    for i in range(count):
        k = scratch[i] - _ROUNDER
        r = max(values[i], -700.0) - k * 0.6931471805599453
        series = 1 / 720 + r * (1 / 5040 + r * (1 / 40320 + r * (1 / 362880 + r / 3628800)))
        out[i] = 1 + r * (1 + r * (0.5 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * series)))))
    for i in range(count):
        scratch_bits[i] = (scratch_bits[i] << _EXPONENT) + _ONE
    for i in range(count):
        out[i] *= scratch[i]


@inner
def _gather(first, count, y, form, work, sums, derivatives):
    """Add light at points, and its derivatives, to ``sums``; few arrays in a loop, so that it vectorises."""
    a11, a12, a22, n, b, db = form
    u, log, power, light, _, slope = work
    total = sums[0]
    for i in range(count):
        total[i] += light[i]
    if not derivatives:
        return
    factor, half = -b / (2 * n), b / (2 * n * n)
    for i in range(count):
        slope[i] = factor * power[i] / u[i] * light[i]
    by_x, by_y = sums[1], sums[2]
    for i in range(count):
        x = first + i
        by_x[i] -= 2 * slope[i] * (a11 * x + a12 * y)
        by_y[i] -= 2 * slope[i] * (a12 * x + a22 * y)
    by_a11, by_a12, by_a22 = sums[3], sums[4], sums[5]
    for i in range(count):
        x = first + i
        by_a11[i] += slope[i] * x * x
        by_a12[i] += slope[i] * 2 * x * y
        by_a22[i] += slope[i] * y * y
    by_n = sums[6]
    for i in range(count):
        by_n[i] += light[i] * (db - db * power[i] + half * power[i] * log[i])


@inner
def _run(dx, count, dy, m, form, work, sums, derivatives):
    """
    Fill ``sums`` (7, count) with the means over pixels beside each other, all by the Gauss rule of order m.

    ``work`` (6, count) is memory to work in.
    """
    a11, a12, a22, n, b, _ = form
    bits = work.view(np.int64)
    u, log, power, light, argument, scratch = work
    for k in range(7 if derivatives else 1):
        for i in range(count):
            sums[k, i] = 0.0
    for jj in range(m):
        y = dy + _NODES[m, jj]
        for ii in range(m):
            first = dx + _NODES[m, ii]
            weight = _WEIGHTS[m, ii] * _WEIGHTS[m, jj]
            for i in range(count):
                x = first + i
                u[i] = max(a11 * x * x + 2 * a12 * x * y + a22 * y * y, 1e-290)
            _logarithms(u, bits[0], scratch, bits[5], log, count)
            for i in range(count):
                argument[i] = log[i] * (0.5 / n)
            _exponentials(argument, scratch, bits[5], power, count)
            for i in range(count):
                argument[i] = b - b * power[i]
            _exponentials(argument, scratch, bits[5], light, count)
            for i in range(count):
                light[i] *= weight
            _gather(first, count, y, form, work, sums, derivatives)


@inner
def _rules(low, high, half, ratio, n, b, tol):
    """
    Return the order of the Gauss rule for each bin of u from ``low`` to ``high``; 0 to divide the pixel.

    A bin takes the higher of the orders at its inner and its outer edge.
    """
    edge = np.empty(1)
    key = edge.view(np.int64)
    rules = np.zeros(high - low + 1, dtype=np.int64)
    orders = np.zeros(high - low + 2, dtype=np.int64)
    for k in range(high - low + 2):
        key[0] = (low + k) << (_EXPONENT - _SIZES)
        s = np.sqrt(edge[0])
        if _parts_needed(s, half, ratio, n, b) == 1:
            orders[k] = _points_needed(s, half, n, b, tol)
    for k in range(high - low + 1):
        rules[k] = 0 if orders[k] == 0 or orders[k + 1] == 0 else max(orders[k], orders[k + 1])
    return rules


@inner
def _keys(cx, cy, nx, ny, a11, a12, a22):
    """Return the bins of the smallest and the largest u of an image."""
    edges = np.empty(2)
    edges[0], edges[1] = 1e-290, 1e-290
    for j in (0, ny - 1):
        for i in (0, nx - 1):
            dx, dy = i - cx, j - cy
            edges[1] = max(edges[1], a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy)
    mean, split = 0.5 * (a11 + a22), np.sqrt(0.25 * (a11 - a22) ** 2 + a12 * a12)
    edges[0] = max((a11 * a22 - a12 * a12) / (mean + split) * 0.01, 1e-290)
    edges[0] = min(edges[0], edges[1])
    key = edges.view(np.int64)
    return key[0] >> (_EXPONENT - _SIZES), key[1] >> (_EXPONENT - _SIZES)


@inner
def _add_divided(dx, dy, half, ratio, form, tol, out, derivatives):
    """Add the mean over a pixel that is divided into cells."""
    a11, a12, a22, n, b, _ = form
    s = np.sqrt(a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy)
    parts = _parts_needed(s, half, ratio, n, b)
    side = 1.0 / parts
    for jj in range(parts):
        y = dy + (jj + 0.5) * side - 0.5
        for ii in range(parts):
            x = dx + (ii + 0.5) * side - 0.5
            _add_cell(x, y, side, half, form, tol, out, derivatives)


@compiled
def averages(cx, cy, form, transform, tol, border, image, slopes):
    """
    Fill ``image`` with the means over the pixels, and ``slopes`` with derivatives unless it is empty.

    Parameters
    ----------
    cx, cy : float
        Centre in pixel coordinates (column, row).
    form : tuple of 6 floats
        a11, a12, a22 of the quadratic form, (R / R_e)^2 of distances in pixels from the centre; Sersic index
        n, b_n, and the derivative of b_n by n.
    transform : array, shape (k, 6)
        Derivatives of cx, cy, a11, a12, a22, n by the k parameters.
    tol : float
        Largest error relative to the pixel.
    border : int
        Pixels at each edge whose error may be larger, up to 1e-2.
    image : array, shape (ny, nx)
    slopes : array, shape (k, ny, nx) or (0, ny, nx)
    """
    a11, a12, a22, n, b, _ = form
    ny, nx = image.shape
    wanted = slopes.shape[0]
    derivatives = wanted > 0
    # half a diagonal, and the axis ratio, of a pixel seen in units of R_e
    half = 0.5 * np.sqrt(a11 + a22 + 2 * abs(a12))
    mean, split = 0.5 * (a11 + a22), np.sqrt(0.25 * (a11 - a22) ** 2 + a12 * a12)
    ratio = np.sqrt(max((a11 * a22 - a12 * a12), 0.0)) / (mean + split)
    left, bottom = np.round(cx) - 1, np.round(cy) - 1
    reaches = -3 < left < nx and -3 < bottom < ny
    near = np.zeros((3, 3, 7))
    if reaches:
        near = _near_pixels(cx, cy, left, bottom, form, derivatives)
    low, high = _keys(cx, cy, nx, ny, a11, a12, a22)
    rules = _rules(low, high, half, ratio, n, b, tol)
    loose = _rules(low, high, half, ratio, n, b, max(tol, 1e-2)) if border > 0 else rules
    work = np.empty((6, nx))
    bits = work.view(np.int64)
    sums, out, rule = np.zeros((7, nx)), np.zeros(7), np.zeros(nx, dtype=np.int64)
    for j in range(ny):
        dy = j - cy
        for i in range(nx):
            dx = i - cx
            work[0, i] = a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy
        for i in range(nx):
            inside = border <= i < nx - border and border <= j < ny - border
            k = min(max((bits[0, i] >> (_EXPONENT - _SIZES)) - low, 0), high - low)
            rule[i] = rules[k] if inside else loose[k]
            if reaches and left <= i <= left + 2 and bottom <= j <= bottom + 2:
                rule[i] = -1
        i = 0
        while i < nx:
            count = 1
            if rule[i] > 0:
                while i + count < nx and rule[i + count] == rule[i]:
                    count += 1
                _run(i - cx, count, dy, rule[i], form, work, sums, derivatives)
            else:
                # by numbers: to check the shapes of arrays that are assigned would take seconds to compile
                for k in range(7):
                    out[k] = near[int(j - bottom), int(i - left), k] if rule[i] < 0 else 0.0
                if rule[i] == 0:
                    _add_divided(i - cx, dy, half, ratio, form, tol, out, derivatives)
                for k in range(7):
                    sums[k, 0] = out[k]
            for k in range(count):
                image[j, i + k] = sums[0, k]
            for p in range(wanted):
                for k in range(count):
                    slopes[p, j, i + k] = transform[p, 0] * sums[1, k]
                for r in range(1, 6):
                    for k in range(count):
                        slopes[p, j, i + k] += transform[p, r] * sums[r + 1, k]
            i += count
