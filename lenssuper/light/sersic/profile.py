"""Sersic profiles on pixels: exact means of the brightness over each, and their exact derivatives."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import gamma, gammaincinv

from lenssuper.light.sersic.kernels import averages

__all__ = ["quadratic_form", "sersic_averages", "sersic_b", "sersic_flux"]


def sersic_b(n):
    """
    Return b_n, for which half of the light is inside R_e.

    Parameters
    ----------
    n : float or array
        Sersic index.

    Returns
    -------
    float or array
        The solution of gamma(2n, b) = Gamma(2n) / 2 (Ciotti & Bertin 1999, A&A 352, 447, eq. 1).
    """
    return gammaincinv(2 * np.asarray(n, dtype=float), 0.5)[()]


def sersic_flux(R_e, n):
    """
    Return the flux of a profile whose brightness is 1 at R_e (Graham & Driver 2005, PASA 22, 118, eq. 2).

    Parameters
    ----------
    R_e, n : float or array
        Half-light radius on the intermediate axis in arcsec, and Sersic index.

    Returns
    -------
    float or array
        Brightness times arcsec^2.
    """
    b = sersic_b(n)
    return 2 * np.pi * np.asarray(R_e) ** 2 * n * np.exp(b) * b ** (-2 * np.asarray(n)) * gamma(2 * n)


@lru_cache(maxsize=256)
def _b_and_slope(n: float) -> tuple[float, float]:
    """Return b_n and its derivative, by fourth-order differences."""
    step = 1e-3 * n
    minus2, minus1, plus1, plus2 = sersic_b(n + step * np.array([-2, -1, 1, 2]))
    return float(sersic_b(n)), float((minus2 - 8 * minus1 + 8 * plus1 - plus2) / (12 * step))


def quadratic_form(R_e: float, q: float, phi: float) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the matrix Q with (R / R_e)^2 = d Q d for an offset d from the centre, and its derivatives.

    Parameters
    ----------
    R_e, q, phi : float
        Half-light radius on the intermediate axis, axis ratio, and angle of the major axis (radian).

    Returns
    -------
    array, shape (2, 2)
    array, shape (3, 2, 2)
        Derivatives by R_e, q and phi.
    """
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = np.outer((cos, sin), (cos, sin)), np.outer((-sin, cos), (-sin, cos))
    turned = np.array([[-2 * sin * cos, cos**2 - sin**2], [cos**2 - sin**2, 2 * sin * cos]])
    form = (q * along + across / q) / R_e**2
    slopes = np.array([-2 * form / R_e, (along - across / q**2) / R_e**2, (q - 1 / q) / R_e**2 * turned])
    return form, slopes


def averages_of_form(matrix, origin, shape, center, form, n, slopes=(), *, tol=1e-6, border=0):
    """
    Return the means over pixels of a profile whose shape is a quadratic form.

    Parameters
    ----------
    matrix, origin, shape, center, n, tol
        The lattice and the profile, as in `sersic_averages`.
    form : array, shape (2, 2)
        As given by `quadratic_form`.
    slopes : sequence of (center slope (2,), form slope (2, 2), n slope), optional
        Derivatives of centre, form and n by each parameter for which a derivative is wanted.
    border : int, optional
        Pixels at each edge whose error may be larger, up to 1e-2.

    Returns
    -------
    image : array, shape (ny, nx)
    derivatives : array, shape (number of slopes, ny, nx)
    """
    inverse = np.linalg.inv(matrix)
    cx, cy = inverse @ (np.asarray(center) - origin)
    a = matrix.T @ form @ matrix
    transform = np.zeros((len(slopes), 6))
    for row, (d_center, d_form, d_n) in zip(transform, slopes, strict=True):
        d_a = matrix.T @ d_form @ matrix
        row[:2] = inverse @ d_center
        row[2:] = d_a[0, 0], d_a[0, 1], d_a[1, 1], d_n
    b, db = _b_and_slope(float(n))
    image, out = np.empty(shape), np.empty((len(transform), *shape))
    form_and_n = a[0, 0], a[0, 1], a[1, 1], float(n), b, db
    averages(cx, cy, *form_and_n, transform, tol, border, image, out)
    return image, out


def slopes_of(by_size, by_n, by_shape):
    """Return the slopes for `averages_of_form` by x, y, R_e, n and both parameters of the shape."""
    none, same = np.zeros(2), np.zeros((2, 2))
    return [
        (np.array([1.0, 0.0]), same, 0.0),
        (np.array([0.0, 1.0]), same, 0.0),
        (none, by_size, 0.0),
        (none, same, by_n),
        (none, by_shape[0], 0.0),
        (none, by_shape[1], 0.0),
    ]


def sersic_averages(matrix, origin, shape, parameters, derivatives=False, *, tol=1e-6):
    """
    Return the means over pixels of a Sersic profile, exact also at its cusp.

    Parameters
    ----------
    matrix : array, shape (2, 2)
        Offsets (x, y) in arcsec by pixel coordinates (column, row), as ``PixelGrid.matrix``.
    origin : array, shape (2,)
        Offset of the centre of pixel (0, 0), as ``PixelGrid.origin``.
    shape : (int, int)
        Number of rows and columns.
    parameters : array, shape (6,)
        x, y, R_e in arcsec, n, q, and phi in radian. R_e is on the intermediate axis, and phi is
        counter-clockwise from +x to the major axis. The brightness at R_e is 1.
    derivatives : bool, optional
        Whether to return the derivatives by the six parameters as well.
    tol : float, optional
        Largest error of a pixel relative to its value, except pixels fainter than exp(-30).

    Returns
    -------
    image : array, shape (ny, nx)
    derivatives : array, shape (6, ny, nx)
        Only with ``derivatives``.

    Notes
    -----
    I = exp(-b_n ((R/R_e)^(1/n) - 1)), R^2 = q a^2 + b^2 / q along and across the major axis (Sersic 1968).
    The 3 x 3 pixels around the centre are sums of triangles with a corner in the centre, over which the
    radial integral has no cusp; the others are integrated by Gauss-Legendre rules, with as many points as an
    estimate of their error requires.
    """
    x, y, R_e, n, q, phi = (float(value) for value in parameters)
    form, by_form = quadratic_form(R_e, q, phi)
    slopes = slopes_of(by_form[0], 1.0, by_form[1:]) if derivatives else ()
    image, out = averages_of_form(matrix, origin, shape, (x, y), form, n, slopes, tol=tol)
    return (image, out) if derivatives else image
