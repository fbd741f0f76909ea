"""
Kernels for the mean of a Sersic profile over pixels: nothing but numbers and arrays.

In pixel coordinates d from the centre the profile is I = exp(-b (P - 1)) with P = u^(1/2n) and u = d A d, a
quadratic form. Every integral is one of seven: of I, and of its derivatives by the two coordinates of the
centre, the three elements of A, and n.
"""

from __future__ import annotations

import numpy as np

from lenssuper.operators._compile import compiled

__all__ = ["averages"]

# Gauss-Legendre on [-1/2, 1/2], of one to six points; the rows are filled up with zeros.
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
_FAINT = 45.0  # where exp(-B t^(1/n)) is taken for zero, and a pixel for too faint to be worth any care


@compiled
def _add_point(dx, dy, weight, a11, a12, a22, n, b, db, out, derivatives):
    """Add the profile and its derivatives at one point."""
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


@compiled
def _points_needed(s, half, n, b, tol):
    """
    Order of the Gauss rule for a cell of half-size ``half`` at radius ``s``, both in units of R_e.

    With V = -d ln I / d ln s and rho = s / half, the k-th derivative along the cell is at most
    V (V + 1) ... (V + k - 1) / rho^k of the value, which is that of (1 - t/rho)^-V.
    """
    rho = s / half
    v = b / n * np.exp(np.log(s) / n)
    bound = 1.0
    for m in range(1, _MOST + 1):
        bound *= (v + 2 * m - 2) * (v + 2 * m - 1) / (rho * rho)
        if 2 * _ERROR[m] * bound < tol:
            return m
    return _MOST


@compiled
def _add_cell(dx, dy, side, a11, a12, a22, n, b, db, tol, half, share, out, derivatives):
    """Add the mean over a square cell times ``share`` by a Gauss rule that is fine enough."""
    s = np.sqrt(a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy)
    m = _points_needed(s, half, n, b, tol)
    for j in range(m):
        y = dy + side * _NODES[m, j]
        for i in range(m):
            x = dx + side * _NODES[m, i]
            weight = share * _WEIGHTS[m, i] * _WEIGHTS[m, j]
            _add_point(x, y, weight, a11, a12, a22, n, b, db, out, derivatives)


@compiled
def _parts_needed(s, half, ratio, n, b):
    """Into how many cells along each side a pixel is divided."""
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


@compiled
def _add_triangle(x1, y1, x2, y2, area, a11, a12, a22, n, b, db, out, derivatives):
    """
    Add the integral over a triangle with one corner in the centre, the others at 1 and 2, signed by ``area``.

    The points are t (r1 + s (r2 - r1)), t and s from 0 to 1, and the profile depends on t^(1/n) g(s)^(1/2n)
    (Duffy 1982, SIAM J. Numer. Anal. 19, 1260). With t = tau^p, p a multiple of n not below 3, the cusp is
    gone; with s = s0 + w sinh(z), g = c w^2 cosh(z)^2, so that long triangles are as good as short ones.
    """
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
            end = min(1.0, np.exp(np.log(_FAINT / (b * power)) / k))
            steep = b * power * np.exp(k * np.log(end))
            j0, j1, k1, l1 = 0.0, 0.0, 0.0, 0.0
            for q in range(_T.size):
                log_x = np.log(_T[q])
                x_k = np.exp(k * log_x)
                light = _TW[q] * np.exp(b - steep * x_k)
                x_p = np.exp((p - 1) * log_x)
                j0 += light * x_p * x_p * _T[q]
                k1 += light * x_p * x_k
                j1 += light * x_p * x_p * _T[q] * x_k
                l1 += light * x_p * x_p * _T[q] * x_k * log_x
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


@compiled
def _near_pixels(cx, cy, left, bottom, a11, a12, a22, n, b, db, derivatives):
    """
    Integrals over the 3 x 3 pixels around the centre.

    A rectangle is the sum of four with one corner in the centre, signed: one for each corner of the pixel.
    """
    corner = np.zeros((4, 4, 7))
    for j in range(4):
        y = bottom - 0.5 + j - cy
        for i in range(4):
            x = left - 0.5 + i - cx
            if x != 0 and y != 0:
                out = corner[j, i]
                _add_triangle(x, 0.0, x, y, x * y, a11, a12, a22, n, b, db, out, derivatives)
                _add_triangle(0.0, y, x, y, x * y, a11, a12, a22, n, b, db, out, derivatives)
    return corner[1:, 1:] - corner[1:, :-1] - corner[:-1, 1:] + corner[:-1, :-1]


@compiled
def averages(cx, cy, a11, a12, a22, n, b, db, transform, tol, border, image, slopes):
    """
    Fill ``image`` with the means over the pixels, and ``slopes`` with derivatives unless it is empty.

    Parameters
    ----------
    cx, cy : float
        Centre in pixel coordinates (column, row).
    a11, a12, a22 : float
        The quadratic form: (R / R_e)^2 of distances in pixels from the centre.
    n, b, db : float
        Sersic index, b_n, and the derivative of b_n by n.
    transform : array, shape (k, 6)
        Derivatives of cx, cy, a11, a12, a22, n by the k parameters that are asked for.
    tol : float
        Largest error relative to the pixel.
    border : int
        Pixels at each edge whose error may be larger, up to 1e-2.
    image : array, shape (ny, nx)
    slopes : array, shape (k, ny, nx) or (0, ny, nx)
    """
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
        near = _near_pixels(cx, cy, left, bottom, a11, a12, a22, n, b, db, derivatives)
    out = np.zeros(7)
    for j in range(ny):
        for i in range(nx):
            inside = border <= i < nx - border and border <= j < ny - border
            limit = tol if inside else max(tol, 1e-2)
            if reaches and left <= i <= left + 2 and bottom <= j <= bottom + 2:
                out[:] = near[int(j - bottom), int(i - left)]
            else:
                out[:] = 0.0
                dx, dy = i - cx, j - cy
                s = np.sqrt(a11 * dx * dx + 2 * a12 * dx * dy + a22 * dy * dy)
                parts = _parts_needed(s, half, ratio, n, b)
                side = 1.0 / parts
                for jj in range(parts):
                    y = dy + (jj + 0.5) * side - 0.5
                    for ii in range(parts):
                        x = dx + (ii + 0.5) * side - 0.5
                        _add_cell(
                            x,
                            y,
                            side,
                            a11,
                            a12,
                            a22,
                            n,
                            b,
                            db,
                            limit,
                            half * side,
                            side * side,
                            out,
                            derivatives,
                        )
            image[j, i] = out[0]
            for p in range(wanted):
                total = 0.0
                for r in range(6):
                    total += transform[p, r] * out[r + 1]
                slopes[p, j, i] = total
