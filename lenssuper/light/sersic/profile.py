"""Sersic profiles on pixels: exact means of the brightness over each, and their exact derivatives."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import gamma, gammaincinv

from lenssuper.light.sersic.kernels import averages

__all__ = ["quadratic_form", "sersic_averages", "sersic_b", "sersic_flux"]


def sersic_b(n):
    """
    b_n, with which half of the light is inside R_e.

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
    Flux of a profile whose brightness is 1 at R_e (Graham & Driver 2005, PASA 22, 118, eq. 2).

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
    """b_n and its derivative, by differences of fourth order."""
    step = 1e-3 * n
    minus2, minus1, plus1, plus2 = sersic_b(n + step * np.array([-2, -1, 1, 2]))
    return float(sersic_b(n)), float((minus2 - 8 * minus1 + 8 * plus1 - plus2) / (12 * step))


def quadratic_form(R_e: float, q: float, phi: float) -> tuple[np.ndarray, np.ndarray]:
    """
    Give the matrix Q with (R / R_e)^2 = d Q d for a distance d, and its derivatives.

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


def averages_of_form(matrix, origin, shape, center, form, n, slopes=None, *, tol=1e-6, border=0):
    """
    Give the means over pixels of a profile whose shape is a quadratic form.

    Parameters
    ----------
    matrix, origin, shape
        The lattice, as in `sersic_averages`.
    center : (float, float)
        Centre (x, y).
    form : array, shape (2, 2)
        As given by `quadratic_form`.
    n : float
        Sersic index.
    slopes : sequence of (center slope (2,), form slope (2, 2), n slope), optional
        How centre, form and n change with each parameter for which a derivative is wanted.
    tol : float, optional
        Largest error relative to the pixel.
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
    transform = np.zeros((len(slopes or ()), 6))
    for row, (d_center, d_form, d_n) in zip(transform, slopes or (), strict=True):
        d_a = matrix.T @ d_form @ matrix
        row[:2] = inverse @ d_center
        row[2:] = d_a[0, 0], d_a[0, 1], d_a[1, 1], d_n
    b, db = _b_and_slope(float(n))
    image, out = np.empty(shape), np.empty((len(transform), *shape))
    averages(cx, cy, a[0, 0], a[0, 1], a[1, 1], float(n), b, db, transform, tol, border, image, out)
    return image, out


def sersic_averages(matrix, origin, shape, parameters, derivatives=False, *, tol=1e-6):
    """
    Give the means over pixels of a Sersic profile, exact also where it is cuspy.

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
        Whether to give the derivatives by the six parameters, too.
    tol : float, optional
        Largest error of a pixel relative to its value, but for those that are fainter than exp(-30).

    Returns
    -------
    image : array, shape (ny, nx)
    derivatives : array, shape (6, ny, nx)
        Only if asked for.

    Notes
    -----
    I = exp(-b_n ((R/R_e)^(1/n) - 1)), R^2 = q a^2 + b^2 / q along and across the major axis (Sersic 1968).
    The 3 x 3 pixels around the centre are put together from triangles with a corner in the centre, over
    which the radial integral has no cusp; the others take Gauss-Legendre rules, of as many points as an
    estimate of their error asks for.
    """
    x, y, R_e, n, q, phi = (float(value) for value in parameters)
    form, form_slopes = quadratic_form(R_e, q, phi)
    slopes = None
    if derivatives:
        zero2, zero4 = np.zeros(2), np.zeros((2, 2))
        slopes = [
            (np.array([1.0, 0.0]), zero4, 0.0),
            (np.array([0.0, 1.0]), zero4, 0.0),
            (zero2, form_slopes[0], 0.0),
            (zero2, zero4, 1.0),
            (zero2, form_slopes[1], 0.0),
            (zero2, form_slopes[2], 0.0),
        ]
    image, out = averages_of_form(matrix, origin, shape, (x, y), form, n, slopes, tol=tol)
    return (image, out) if derivatives else image
