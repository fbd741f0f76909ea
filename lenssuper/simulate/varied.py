"""
Random galaxies that differ in kind from those of `random_source`: to test what was tuned on the latter.

Each function draws one galaxy off the axis, with a surface brightness of order 1.
"""

from __future__ import annotations

import astropy.units as u
import numpy as np

from lenssuper._utils.checks import check_interval, check_length, check_rng
from lenssuper.simulate.sources import (
    CompositeSource,
    GaussianSource,
    ImageSource,
    SersicSource,
    Source,
    rotate,
)

__all__ = [
    "draw_position",
    "random_elliptical",
    "random_field_galaxy",
    "random_knotty_spiral",
    "random_merger",
    "random_ring_galaxy",
]

_SIZES = (0.15, 0.45) * u.arcsec
_OFFSETS = (0.03, 0.3) * u.arcsec
# Pixels along the side of the image of a random field, and half that side in units of the half-light radius
_FIELD = 512
_FIELD_REACH = 5.0
_FWHM = np.sqrt(8 * np.log(2))


class _SpiralDisc(Source):
    """An exponential disc whose logarithmic arms are a cosine in the angle."""

    def __init__(self, size, q, phi, x, y, arms, winding, contrast, phase):
        self._frame = size, q, phi, x, y
        self._arms = arms, winding, contrast, phase

    def surface_brightness(self, x, y):
        size, q, phi, x0, y0 = self._frame
        arms, winding, contrast, phase = self._arms
        a, b = rotate(np.asarray(x) - x0, np.asarray(y) - y0, phi)
        a, b = a * np.sqrt(q) / size, b / np.sqrt(q) / size
        r = np.sqrt(a**2 + b**2 + 0.02**2)
        wave = np.cos(arms * (np.arctan2(b, a) - winding * np.log(r)) - phase)
        return np.exp(-1.678 * r) * (1 + contrast * wave * r / (r + 0.4))

    def arm(self, radius, number):
        """Return offsets in arcsec of points on an arm, at radii in units of the half-light radius."""
        size, q, phi, x0, y0 = self._frame
        arms, winding, _, phase = self._arms
        theta = (phase + 2 * np.pi * number) / arms + winding * np.log(radius)
        a, b = radius * np.cos(theta) * size / np.sqrt(q), radius * np.sin(theta) * size * np.sqrt(q)
        dx, dy = rotate(a, b, -phi)
        return x0 + dx, y0 + dy


class _Arc(Source):
    """Light along a circle, brightest at the angle ``start``; on all of it if ``extent`` is None."""

    def __init__(self, radius, width, start, extent, x, y, q=1.0, phi=0.0, amplitude=1.0):
        self._shape = radius, width, start, extent, q, phi
        self._x, self._y, self._amplitude = x, y, amplitude

    def surface_brightness(self, x, y):
        radius, width, start, extent, q, phi = self._shape
        a, b = rotate(np.asarray(x) - self._x, np.asarray(y) - self._y, phi)
        a, b = a * np.sqrt(q), b / np.sqrt(q)
        ridge = np.exp(-0.5 * ((np.hypot(a, b) - radius) / width) ** 2)
        if extent is None:
            return self._amplitude * ridge
        along = (np.arctan2(b, a) - start + np.pi) % (2 * np.pi) - np.pi
        return self._amplitude * ridge * np.exp(-0.5 * (along / extent) ** 2)


def random_knotty_spiral(
    rng: np.random.Generator | int | None = None, *, R_e: u.Quantity = _SIZES, offset: u.Quantity = _OFFSETS
) -> Source:
    """
    Draw a spiral galaxy with many small knots, 0.006 to 0.02 arcsec in standard deviation, along its arms.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or int, optional
    R_e : (2,) `~astropy.units.Quantity`, optional
        Range of the half-light radius.
    offset : (2,) `~astropy.units.Quantity`, optional
        Range of the distance of the centre from the optical axis.

    Returns
    -------
    Source
    """
    rng = check_rng(rng)
    size, x, y, phi = draw_position(rng, R_e, offset)
    winding = rng.choice([-1, 1]) / np.tan(np.radians(rng.uniform(12, 35)))
    arms = int(rng.integers(2, 4))
    disc = _SpiralDisc(
        size, rng.uniform(0.4, 1), phi, x, y, arms, winding, rng.uniform(0.3, 0.9), rng.uniform(0, 2 * np.pi)
    )
    count = int(rng.integers(15, 51))
    radius, number = rng.uniform(0.3, 2.2, count), rng.integers(arms, size=count)
    along, across = disc.arm(radius, number)
    sigma = rng.uniform(0.006, 0.02, count)
    flux = rng.lognormal(0, 1, count)
    # of an exponential disc of half-light radius `size` whose centre is 1 bright
    flux *= rng.uniform(0.1, 0.3) * 2 * np.pi * (size / 1.678) ** 2 / flux.sum()
    scatter = rng.normal(0, 0.08 * size, (2, count))
    knots = [
        _knot(s, along[k] + scatter[0, k], across[k] + scatter[1, k], flux[k]) for k, s in enumerate(sigma)
    ]
    bulge = _sersic(0.2 * size, rng.uniform(1, 2.5), 0.9, phi, x, y)
    return CompositeSource([(1.0, disc), (rng.uniform(0.0, 1.0), bulge), *((1.0, knot) for knot in knots)])


def random_ring_galaxy(
    rng: np.random.Generator | int | None = None, *, R_e: u.Quantity = _SIZES, offset: u.Quantity = _OFFSETS
) -> Source:
    """
    Draw a galaxy with one or two bright rings, and beads of many sizes on them.

    Parameters
    ----------
    rng, R_e, offset : optional
        As in `random_knotty_spiral`.

    Returns
    -------
    Source
    """
    rng = check_rng(rng)
    size, x, y, phi = draw_position(rng, R_e, offset)
    q = rng.uniform(0.35, 1)
    terms = [(1.0, _sersic(size, rng.uniform(0.7, 1.5), q, phi, x, y))]
    for _ in range(int(rng.integers(1, 3))):
        radius = size * rng.uniform(0.5, 1.6)
        ring = _Arc(radius, size * rng.uniform(0.06, 0.2), 0, None, x, y, q, phi, rng.uniform(0.5, 3))
        terms.append((1.0, ring))
        for _ in range(int(rng.integers(6, 25))):
            theta = rng.uniform(0, 2 * np.pi)
            r = radius + rng.normal(0, 0.08 * size)
            dx, dy = rotate(r * np.cos(theta) / np.sqrt(q), r * np.sin(theta) * np.sqrt(q), -phi)
            peak = rng.lognormal(0.3, 0.8)
            sigma = np.exp(rng.uniform(np.log(0.006), np.log(0.03)))
            terms.append(
                (peak, GaussianSource(sigma * _FWHM * u.arcsec, x=(x + dx) * u.arcsec, y=(y + dy) * u.arcsec))
            )
    return CompositeSource(terms)


def random_merger(
    rng: np.random.Generator | int | None = None, *, R_e: u.Quantity = _SIZES, offset: u.Quantity = _OFFSETS
) -> Source:
    """
    Draw two or three galaxies that merge, with curved tails, a bridge of light and a few knots.

    Parameters
    ----------
    rng, R_e, offset : optional
        As in `random_knotty_spiral`; the size is that of the largest galaxy.

    Returns
    -------
    Source
    """
    rng = check_rng(rng)
    size, x, y, _ = draw_position(rng, R_e, offset)
    terms, centres = [], []
    for number in range(int(rng.integers(2, 4))):
        away = 0.0 if number == 0 else size * rng.uniform(0.6, 1.8)
        angle = rng.uniform(0, 2 * np.pi)
        own = size * (1.0 if number == 0 else rng.uniform(0.25, 0.8))
        cx, cy = x + away * np.cos(angle), y + away * np.sin(angle)
        centres.append((cx, cy))
        body = _sersic(own, rng.uniform(0.6, 3), rng.uniform(0.3, 0.9), rng.uniform(0, np.pi), cx, cy)
        terms.append((rng.uniform(0.5, 2), body))
        # a tail that leaves the body: part of a circle through its centre
        radius, start = own * rng.uniform(1.0, 2.5), rng.uniform(0, 2 * np.pi)
        tail = _Arc(
            radius,
            own * rng.uniform(0.06, 0.2),
            start,
            rng.uniform(0.5, 1.2),
            cx - radius * np.cos(start),
            cy - radius * np.sin(start),
            amplitude=rng.uniform(0.3, 1.5),
        )
        terms.append((1.0, tail))
    for _ in range(int(rng.integers(3, 12))):
        (ax, ay), (bx, by) = centres[0], centres[int(rng.integers(1, len(centres)))]
        share = rng.uniform(-0.3, 1.3)
        kx, ky = np.array([ax + share * (bx - ax), ay + share * (by - ay)]) + rng.normal(0, 0.25 * size, 2)
        sigma = np.exp(rng.uniform(np.log(0.008), np.log(0.05)))
        peak = rng.lognormal(0.5, 0.8)
        terms.append((peak, GaussianSource(sigma * _FWHM * u.arcsec, x=kx * u.arcsec, y=ky * u.arcsec)))
    return CompositeSource(terms)


def random_field_galaxy(
    rng: np.random.Generator | int | None = None, *, R_e: u.Quantity = _SIZES, offset: u.Quantity = _OFFSETS
) -> Source:
    """
    Draw an irregular galaxy: a smooth profile times the exponential of a random field.

    The field has a power-law spectrum of index -2.2 to -3.8, as interstellar turbulence has (Elmegreen &
    Scalo 2004, ARA&A 42, 211), cut off below 0.01 arcsec, and a standard deviation of 0.5 to 1.3.

    Parameters
    ----------
    rng, R_e, offset : optional
        As in `random_knotty_spiral`.

    Returns
    -------
    Source
    """
    rng = check_rng(rng)
    size, x, y, phi = draw_position(rng, R_e, offset)
    pixel = 2 * _FIELD_REACH * size / _FIELD
    k = np.hypot(np.fft.fftfreq(_FIELD)[:, None], np.fft.rfftfreq(_FIELD)) * 2 * np.pi / pixel
    # waves longer than the galaxy are part of its profile
    amplitude = np.maximum(k, 1 / size) ** (-0.5 * rng.uniform(2.2, 3.8)) * np.exp(-0.5 * (0.01 * k) ** 2)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((_FIELD, _FIELD))) * amplitude)
    field *= rng.uniform(0.5, 1.3) / field.std()
    axis = (np.arange(_FIELD) - (_FIELD - 1) / 2) * pixel
    profile = _sersic(size, rng.uniform(0.6, 1.4), rng.uniform(0.4, 1), 0.0, 0.0, 0.0)
    image = profile.surface_brightness(axis[None], axis[:, None]) * np.exp(field)
    # brought smoothly to zero at the border
    window = np.cos(0.5 * np.pi * np.clip(np.abs(axis) / axis[-1] * 2 - 1, 0, 1))
    return ImageSource(
        image * window * window[:, None], pixel * u.arcsec, x=x * u.arcsec, y=y * u.arcsec, phi=phi * u.rad
    )


def random_elliptical(
    rng: np.random.Generator | int | None = None, *, R_e: u.Quantity = _SIZES, offset: u.Quantity = _OFFSETS
) -> Source:
    """
    Draw a smooth galaxy of two components with a few knots: companions and clusters.

    Parameters
    ----------
    rng, R_e, offset : optional
        As in `random_knotty_spiral`.

    Returns
    -------
    Source
    """
    rng = check_rng(rng)
    size, x, y, phi = draw_position(rng, R_e, offset)
    body = _sersic(size * rng.uniform(0.4, 0.8), rng.uniform(1.5, 4), rng.uniform(0.5, 1), phi, x, y)
    halo = _sersic(1.5 * size, 1.0, rng.uniform(0.5, 1), phi + rng.normal(0, 0.3), x, y)
    terms = [(1.0, body), (rng.uniform(0.05, 0.3), halo)]
    for _ in range(int(rng.integers(2, 9))):
        radius, theta = size * rng.gamma(2.0, 0.6), rng.uniform(0, 2 * np.pi)
        sigma = np.exp(rng.uniform(np.log(0.005), np.log(0.04)))
        knot = GaussianSource(
            sigma * _FWHM * u.arcsec,
            x=(x + radius * np.cos(theta)) * u.arcsec,
            y=(y + radius * np.sin(theta)) * u.arcsec,
        )
        terms.append((rng.lognormal(0.7, 0.8), knot))
    return CompositeSource(terms)


def draw_position(rng, R_e, offset):
    """Return a random size, x and y in arcsec, and a direction in radian."""
    size = rng.uniform(*check_interval(R_e, "R_e", check_length))
    distance = rng.uniform(*check_interval(offset, "offset", check_length))
    angle, phi = rng.uniform(0, 2 * np.pi, 2)
    return size, distance * np.cos(angle), distance * np.sin(angle), phi


def _sersic(size, n, q, phi, x, y):
    return SersicSource(size * u.arcsec, n, q=q, phi=phi * u.rad, x=x * u.arcsec, y=y * u.arcsec)


def _knot(sigma, x, y, flux):
    """Return a Gaussian of a flux, its standard deviation and position in arcsec."""
    peak = flux / (2 * np.pi * sigma**2)
    return peak * GaussianSource(sigma * _FWHM * u.arcsec, x=x * u.arcsec, y=y * u.arcsec)
