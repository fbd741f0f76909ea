"""
Analytic optical point-spread functions, free of the pixel.

A PSF is a circular profile in arcsec that ends at a finite radius, so that the renderer and the effective PSF
that the user gets contain exactly the same light. Profiles are normalised where they are sampled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import astropy.units as u
import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.special import j0, roots_legendre

from lenssuper._utils.checks import check_length, check_number, check_quantity
from lenssuper._utils.units import arcsec

__all__ = ["AiryPSF", "GaussianPSF", "MoffatPSF", "OpticalPSF"]

# Share of the radius beyond which the profile falls smoothly to zero: a sharp edge would alias when sampled.
_TAPER_FROM = 0.85


class OpticalPSF(ABC):
    """
    A circular PSF that ends at a finite radius.

    Subclasses define the profile, which this class cuts off at ``radius``.
    """

    _radius: float

    @abstractmethod
    def _profile(self, r: np.ndarray) -> np.ndarray:
        """Unnormalised surface brightness at the radii ``r`` (arcsec)."""

    @property
    def radius(self) -> u.Quantity:
        """The radius beyond which the PSF is zero, in arcsec."""
        return arcsec(self._radius)

    def _value(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Unnormalised surface brightness at (``x``, ``y``) in arcsec, zero outside the radius."""
        r = np.hypot(x, y)
        outer = np.clip((r / self._radius - _TAPER_FROM) / (1 - _TAPER_FROM), 0.0, 1.0)
        return self._profile(np.minimum(r, self._radius)) * np.cos(0.5 * np.pi * outer) ** 2

    def optical(self, step: u.Quantity) -> np.ndarray:
        """
        Sample the PSF at points ``step`` apart, the pixel not included.

        Parameters
        ----------
        step : `~astropy.units.Quantity`
            Distance between neighbouring samples, an angle.

        Returns
        -------
        ndarray
            Odd-sized square kernel with the PSF's centre in its middle; it sums to 1.
        """
        h = check_length(step, "step", above=0)
        half = int(np.ceil(self._radius / h))
        offset = np.arange(-half, half + 1) * h
        kernel = self._value(offset[None, :], offset[:, None])
        return kernel / kernel.sum()

    def effective(self, pixel_scale: u.Quantity) -> np.ndarray:
        """
        Average the PSF over square pixels: the image of a star centred on a pixel.

        Parameters
        ----------
        pixel_scale : `~astropy.units.Quantity`
            Side of a pixel, an angle.

        Returns
        -------
        ndarray
            Odd-sized square kernel, large enough for every pixel the PSF reaches; it sums to 1.
        """
        scale = check_length(pixel_scale, "pixel_scale", above=0)
        half = int(np.ceil(self._radius / scale + 0.5)) - 1
        # Gauss-Legendre nodes in every pixel; more of them where one pixel spans the whole core
        nodes, weights = np.polynomial.legendre.leggauss(16)
        offset = (np.arange(-half, half + 1)[:, None] + 0.5 * nodes).ravel() * scale
        values = self._value(offset[None, :], offset[:, None])
        n = 2 * half + 1
        kernel = np.einsum("iajb,a,b->ij", values.reshape(n, nodes.size, n, nodes.size), weights, weights)
        return kernel / kernel.sum()

    @property
    def fwhm(self) -> u.Quantity:
        """Full width at half maximum of the optical profile, in arcsec."""
        r = np.linspace(0.0, self._radius, 20001)
        below = self._profile(r) < 0.5 * self._profile(np.zeros(1))
        return arcsec(2 * r[np.argmax(below)])


class GaussianPSF(OpticalPSF):
    """
    A Gaussian PSF.

    Parameters
    ----------
    fwhm : `~astropy.units.Quantity`
        Full width at half maximum, an angle.
    """

    def __init__(self, fwhm: u.Quantity) -> None:
        self._sigma = check_length(fwhm, "fwhm", above=0) / np.sqrt(8 * np.log(2))
        self._radius = 5 * self._sigma  # 4e-6 of the peak

    def _profile(self, r):
        return np.exp(-0.5 * (r / self._sigma) ** 2)

    def __repr__(self) -> str:
        return f"GaussianPSF(fwhm={self._sigma * np.sqrt(8 * np.log(2)):.4g} arcsec)"


class MoffatPSF(OpticalPSF):
    """
    A Moffat PSF, I(r) = (1 + (r/a)^2)^-beta (Moffat 1969).

    The default beta is that of Kolmogorov turbulence (Trujillo et al. 2001, MNRAS 328, 977).

    Parameters
    ----------
    fwhm : `~astropy.units.Quantity`
        Full width at half maximum, an angle.
    beta : float, optional
        The exponent; above 1.
    cut : float, optional
        The PSF ends where it has fallen to this fraction of its peak.
    """

    def __init__(self, fwhm: u.Quantity, *, beta: float = 4.765, cut: float = 3e-4) -> None:
        self._fwhm = check_length(fwhm, "fwhm", above=0)
        self._beta = check_number(beta, "beta", above=1)  # for a finite flux
        self._a = 0.5 * self._fwhm / np.sqrt(2 ** (1 / self._beta) - 1)
        self._radius = self._a * np.sqrt(check_number(cut, "cut", above=0) ** (-1 / self._beta) - 1)

    def _profile(self, r):
        return (1 + (r / self._a) ** 2) ** (-self._beta)

    def __repr__(self) -> str:
        return f"MoffatPSF(fwhm={self._fwhm:.4g} arcsec, beta={self._beta:.4g})"


class AiryPSF(OpticalPSF):
    """
    Diffraction by a circular aperture with a central obstruction, with its rings and wings.

    Spider and segment spikes are left out. Jitter and charge diffusion enter as a Gaussian ``blur``.

    Parameters
    ----------
    wavelength, diameter : `~astropy.units.Quantity`
        Of the light, and of the aperture; lengths.
    obscuration : float, optional
        Diameter of the central obstruction over that of the aperture.
    blur : `~astropy.units.Quantity`, optional
        FWHM of the Gaussian blur, an angle.
    radius : `~astropy.units.Quantity`, optional
        Where the PSF ends; by default 10 wavelength/diameter.

    Notes
    -----
    The profile is the Hankel transform of the optical transfer function, the autocorrelation of the aperture,
    which has a closed form in overlaps of discs (O'Neill 1956, J. Opt. Soc. Am. 46, 285).
    """

    def __init__(
        self,
        wavelength: u.Quantity,
        diameter: u.Quantity,
        *,
        obscuration: float = 0.0,
        blur: u.Quantity = 0 * u.arcsec,
        radius: u.Quantity | None = None,
    ) -> None:
        self._resolution = _ratio_in_arcsec(wavelength, diameter)
        self._obscuration = check_number(obscuration, "obscuration", least=0, below=1)
        self._blur = check_length(blur, "blur", least=0)
        self._radius = 10 * self._resolution if radius is None else check_length(radius, "radius", above=0)

    @cached_property
    def _spline(self):
        """Spline of the radial profile; spatial frequencies are in units of diameter/wavelength."""
        nodes, weights = roots_legendre(400)
        f, w = 0.5 * (nodes + 1), 0.5 * weights
        eps = self._obscuration
        otf = _disc_overlap(1.0, 1.0, 2 * f)
        if eps > 0:
            otf += _disc_overlap(eps, eps, 2 * f) - 2 * _disc_overlap(1.0, eps, 2 * f)
        sigma = self._blur / np.sqrt(8 * np.log(2)) / self._resolution
        otf *= np.exp(-2 * (np.pi * sigma * f) ** 2)
        r = np.linspace(
            0.0, self._radius / self._resolution, 1 + 64 * int(np.ceil(self._radius / self._resolution))
        )
        profile = j0(2 * np.pi * np.outer(r, f)) @ (w * f * otf)
        return make_interp_spline(r, profile / profile[0], k=3)

    def _profile(self, r):
        return self._spline(r / self._resolution)

    def __repr__(self) -> str:
        return (
            f"AiryPSF(wavelength/diameter={self._resolution:.4g} arcsec, "
            f"obscuration={self._obscuration:.3g}, blur={self._blur:.3g} arcsec)"
        )


def _disc_overlap(a: float, b: float, d: np.ndarray) -> np.ndarray:
    """Area common to two discs of radii ``a`` >= ``b`` whose centres are ``d`` apart."""
    d = np.clip(d, a - b, a + b)
    safe = np.where(d > 0, d, 1.0)
    s = np.arccos(np.clip((d**2 + a**2 - b**2) / (2 * safe * a), -1, 1))
    t = np.arccos(np.clip((d**2 + b**2 - a**2) / (2 * safe * b), -1, 1))
    kite = np.sqrt(np.maximum((-d + a + b) * (d + a - b) * (d - a + b) * (d + a + b), 0))
    area = a**2 * s + b**2 * t - 0.5 * kite
    return np.where(d <= a - b, np.pi * b**2, area)


def _ratio_in_arcsec(wavelength: u.Quantity, diameter: u.Quantity) -> float:
    for name, value in (("wavelength", wavelength), ("diameter", diameter)):
        check_quantity(value, name, u.m, "1.5 * u.um", above=0)
    return float((wavelength / diameter).to_value(u.one) * u.rad.to(u.arcsec))
