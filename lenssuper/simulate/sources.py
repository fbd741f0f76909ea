"""
Sources: what a galaxy looks like before it is lensed.

Every source has ``surface_brightness(x, y)``, a pure function of float arrays in arcsec in the source plane
(x west, y north), in the unit of the data per pixel of the data. Constructors take Quantities. Sources can be
added (``a + b``) and scaled (``2 * a``), and never change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from numbers import Real

import astropy.units as u
import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.special import gamma, gammaincinv

from lenssuper._utils.checks import check_angle, check_length, check_number
from lenssuper._utils.units import arcsec

__all__ = ["CompositeSource", "GaussianSource", "ImageSource", "SersicSource", "Source"]

_ZERO_ANGLE = 0.0 * u.deg
_ZERO = 0.0 * u.arcsec


class Source(ABC):
    """A distribution of light in the source plane."""

    @abstractmethod
    def surface_brightness(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """
        Return the surface brightness at points of the source plane.

        Parameters
        ----------
        x, y : array_like of float
            Offsets in arcsec, x to the west and y to the north; they broadcast.

        Returns
        -------
        ndarray of float
            In the unit of the data, per pixel of the data.
        """

    def __add__(self, other: Source) -> CompositeSource:
        if not isinstance(other, Source):
            return NotImplemented
        return CompositeSource([(1.0, self), (1.0, other)])

    def __mul__(self, factor: float) -> CompositeSource:
        if not isinstance(factor, Real):
            return NotImplemented
        return CompositeSource([(float(factor), self)])

    __rmul__ = __mul__


class CompositeSource(Source):
    """
    A weighted sum of sources, made with ``+`` and ``*``.

    Parameters
    ----------
    terms : sequence of (float, Source)
        Factors and sources; sums inside are flattened.
    """

    def __init__(self, terms) -> None:
        flat = []
        for factor, source in terms:
            inner = source.terms if isinstance(source, CompositeSource) else ((1.0, source),)
            flat += [(factor * f, s) for f, s in inner]
        self._terms = tuple(flat)

    @property
    def terms(self) -> tuple[tuple[float, Source], ...]:
        """The factors and the sources they multiply."""
        return self._terms

    def surface_brightness(self, x, y):
        return sum(factor * source.surface_brightness(x, y) for factor, source in self._terms)

    def __repr__(self) -> str:
        return " + ".join(f"{s!r}" if f == 1 else f"{f:.4g} * {s!r}" for f, s in self._terms)


class SersicSource(Source):
    """
    An elliptical Sersic profile, I(R) = amplitude exp(-b_n ((R/R_e)^(1/n) - 1)).

    Parameters
    ----------
    R_e : `~astropy.units.Quantity`
        Half-light radius on the intermediate axis (sqrt of the product of the semi-axes).
    n : float
        Sersic index.
    q : float, optional
        Axis ratio b/a in (0, 1].
    phi : `~astropy.units.Quantity`, optional
        Position angle of the major axis, counter-clockwise from +x.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    amplitude : float, optional
        Surface brightness at R_e.

    Notes
    -----
    b_n is exact: the solution of gamma(2n, b) = Gamma(2n)/2 (Ciotti & Bertin 1999, A&A 352, 447, eq. 1).
    """

    def __init__(
        self,
        R_e: u.Quantity,
        n: float,
        *,
        q: float = 1.0,
        phi: u.Quantity = _ZERO_ANGLE,
        x: u.Quantity = _ZERO,
        y: u.Quantity = _ZERO,
        amplitude: float = 1.0,
    ) -> None:
        self._R_e = check_length(R_e, "R_e", above=0)
        self._n = check_number(n, "n", above=0)
        self._q = check_number(q, "q", above=0, most=1)
        self._phi = check_angle(phi, "phi")
        self._x, self._y = check_length(x, "x"), check_length(y, "y")
        self._amplitude = check_number(amplitude, "amplitude")
        self._b = sersic_b(self._n)

    def surface_brightness(self, x, y):
        a, b = rotate(np.asarray(x) - self._x, np.asarray(y) - self._y, self._phi)
        r = np.sqrt(self._q * a**2 + b**2 / self._q) / self._R_e
        return self._amplitude * np.exp(-self._b * (r ** (1 / self._n) - 1))

    @property
    def flux(self) -> float:
        """Surface brightness integrated over the plane, in its unit times arcsec^2."""
        return self._amplitude * sersic_flux(self._R_e, self._n)

    def __repr__(self) -> str:
        return (
            f"SersicSource(R_e={self._R_e:.4g} arcsec, n={self._n:.3g}, q={self._q:.3g}, "
            f"phi={np.degrees(self._phi):.4g} deg, x={self._x:.4g} arcsec, y={self._y:.4g} arcsec, "
            f"amplitude={self._amplitude:.4g})"
        )


class GaussianSource(Source):
    """
    A circular Gaussian: a star-forming knot or, when small, a point-like source.

    Parameters
    ----------
    fwhm : `~astropy.units.Quantity`
        Full width at half maximum.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    amplitude : float, optional
        Surface brightness in the centre.
    """

    def __init__(
        self, fwhm: u.Quantity, *, x: u.Quantity = _ZERO, y: u.Quantity = _ZERO, amplitude: float = 1.0
    ) -> None:
        self._sigma = check_length(fwhm, "fwhm", above=0) / np.sqrt(8 * np.log(2))
        self._x, self._y = check_length(x, "x"), check_length(y, "y")
        self._amplitude = check_number(amplitude, "amplitude")

    def surface_brightness(self, x, y):
        r2 = (np.asarray(x) - self._x) ** 2 + (np.asarray(y) - self._y) ** 2
        return self._amplitude * np.exp(-0.5 * r2 / self._sigma**2)

    @property
    def flux(self) -> float:
        """Surface brightness integrated over the plane, in its unit times arcsec^2."""
        return self._amplitude * 2 * np.pi * self._sigma**2

    def __repr__(self) -> str:
        return (
            f"GaussianSource(fwhm={self._sigma * np.sqrt(8 * np.log(2)):.4g} arcsec, x={self._x:.4g} arcsec, "
            f"y={self._y:.4g} arcsec, amplitude={self._amplitude:.4g})"
        )


class ImageSource(Source):
    """
    A user's image as a source, interpolated by cubic splines and zero outside.

    Noise and the image's own PSF are part of the source: nothing is removed.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Surface brightness; its centre falls on (x, y).
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel as seen in the source plane. A larger one makes the galaxy larger.
    x, y : `~astropy.units.Quantity`, optional
        Where the centre of the image lies.
    phi : `~astropy.units.Quantity`, optional
        Counter-clockwise rotation of the image.

    Raises
    ------
    ValueError
        If the image is not two-dimensional, is empty, or holds values that are not finite.
    """

    def __init__(
        self,
        image,
        pixel_scale: u.Quantity,
        *,
        x: u.Quantity = _ZERO,
        y: u.Quantity = _ZERO,
        phi: u.Quantity = _ZERO_ANGLE,
    ) -> None:
        image = np.array(image, dtype=float)
        if image.ndim != 2 or 0 in image.shape:
            raise ValueError(
                f"image must be a two-dimensional array with pixels in it; got shape {image.shape}"
            )
        if not np.isfinite(image).all():
            raise ValueError(
                f"image must be finite; got {np.sum(~np.isfinite(image))} NaN or infinite pixels"
            )
        self._image = image
        self._scale = check_length(pixel_scale, "pixel_scale", above=0)
        self._x, self._y = check_length(x, "x"), check_length(y, "y")
        self._phi = check_angle(phi, "phi")
        # zeros around, so that the spline dies away within a pixel of the border instead of being cut there
        self._pad = 4
        self._coefficients = spline_filter(np.pad(image, self._pad), order=3)

    def surface_brightness(self, x, y):
        x, y = np.broadcast_arrays(x, y)
        a, b = rotate(x.ravel() - self._x, y.ravel() - self._y, self._phi)
        ny, nx = self._image.shape
        rows = b / self._scale + 0.5 * (ny - 1) + self._pad
        columns = a / self._scale + 0.5 * (nx - 1) + self._pad
        light = map_coordinates(
            self._coefficients, [rows, columns], order=3, mode="constant", prefilter=False
        )
        return light.reshape(x.shape)

    def placed(self, x: u.Quantity, y: u.Quantity, phi: u.Quantity) -> ImageSource:
        """Return the same image centred on (x, y) and rotated by ``phi``."""
        return ImageSource(self._image, arcsec(self._scale), x=x, y=y, phi=phi)

    def __repr__(self) -> str:
        return (
            f"ImageSource({'x'.join(map(str, self._image.shape))}, pixel_scale={self._scale:.4g} arcsec, "
            f"x={self._x:.4g} arcsec, y={self._y:.4g} arcsec, phi={np.degrees(self._phi):.4g} deg)"
        )


@cache
def sersic_b(n: float) -> float:
    """Return b_n, with half the light inside R_e (Ciotti & Bertin 1999, eq. 1)."""
    return float(gammaincinv(2 * n, 0.5))


def sersic_flux(R_e: float, n: float) -> float:
    """Return the flux of a Sersic profile whose brightness is 1 at ``R_e`` (Graham & Driver 2005, eq. 2)."""
    b = sersic_b(n)
    return 2 * np.pi * R_e**2 * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n)


def rotate(x, y, phi: float):
    """Return the coordinates along and across the direction ``phi`` (radians, counter-clockwise from +x)."""
    c, s = np.cos(phi), np.sin(phi)
    return c * x + s * y, c * y - s * x
