"""Star-forming galaxies: a disc with spiral arms, a bulge, and knots of star formation of many sizes."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from scipy.special import i0e

from lenssuper._utils.checks import (
    check_angle,
    check_count,
    check_interval,
    check_length,
    check_number,
    check_rng,
)
from lenssuper.simulate.sources import Source, rotate, sersic_b, sersic_flux

__all__ = ["ClumpySpiral"]

_ZERO = 0.0 * u.arcsec
_CORE = 0.03  # of R_e: disc and bulge have a core instead of a cusp


class ClumpySpiral(Source):
    """
    A disc galaxy with logarithmic spiral arms, a bulge and clumps.

    The galaxy is drawn once, by the constructor: the same arguments and seed give the same galaxy.

    Parameters
    ----------
    R_e : `~astropy.units.Quantity`
        Half-light radius of the disc, on the intermediate axis.
    n : float, optional
        Sersic index of the disc: 1 for an exponential one; star-forming ones at z > 1 are often flatter.
    q : float, optional
        Axis ratio of the disc as projected.
    phi : `~astropy.units.Quantity`, optional
        Position angle of the major axis, counter-clockwise from +x.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    amplitude : float, optional
        Surface brightness of the smooth disc at R_e.
    bulge_fraction : float, optional
        Flux of the bulge over that of disc and bulge.
    bulge_R_e : `~astropy.units.Quantity`, optional
        Half-light radius of the bulge; by default R_e / 4.
    bulge_n : float, optional
        Sersic index of the bulge.
    arms : int, optional
        Number of spiral arms; 0 for none.
    pitch : `~astropy.units.Quantity`, optional
        Pitch angle of the arms.
    arm_contrast : float, optional
        0 for a smooth disc, towards 1 for one with all its light in the arms.
    patchiness : float, optional
        Scatter of the logarithm of a smooth random pattern on the disc: star formation and dust in patches.
    clumps : int, optional
        Number of clumps. Their fluxes follow dN/dL ~ L^-1.8 over a factor 30.
    clump_fraction : float, optional
        Flux of all clumps over that of disc and bulge.
    clump_fwhm : (2,) `~astropy.units.Quantity`, optional
        Smallest and largest FWHM of a clump; brighter ones tend to be larger.
    rng : `~numpy.random.Generator` or int, optional
        For the positions, sizes and fluxes of the clumps and the phases of the arms.

    Notes
    -----
    Arms are ridges of r = r_0 exp(theta tan(pitch)) on the disc; most clumps sit on them. The
    share of light in clumps and the slope of their luminosities are as in star-forming galaxies at z ~ 1-3
    (Guo et al. 2015, ApJ 800, 39; Dessauges-Zavadsky & Adamo 2018, MNRAS 479, L118).
    """

    def __init__(
        self,
        R_e: u.Quantity,
        *,
        n: float = 1.0,
        q: float = 1.0,
        phi: u.Quantity = 0.0 * u.deg,
        x: u.Quantity = _ZERO,
        y: u.Quantity = _ZERO,
        amplitude: float = 1.0,
        bulge_fraction: float = 0.15,
        bulge_R_e: u.Quantity | None = None,
        bulge_n: float = 2.0,
        arms: int = 2,
        pitch: u.Quantity = 20.0 * u.deg,
        arm_contrast: float = 0.6,
        patchiness: float = 0.3,
        clumps: int = 12,
        clump_fraction: float = 0.2,
        clump_fwhm: u.Quantity = (0.03, 0.12) * u.arcsec,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        rng = check_rng(rng)
        self._R_e = check_length(R_e, "R_e", above=0)
        self._n, self._q = check_number(n, "n", above=0), check_number(q, "q", above=0, most=1)
        self._phi = check_angle(phi, "phi")
        self._x, self._y = check_length(x, "x"), check_length(y, "y")
        self._amplitude = check_number(amplitude, "amplitude")
        self._arms = check_count(arms, "arms", 0)
        self._winding = 1 / np.tan(_pitch(pitch))
        self._contrast = check_number(arm_contrast, "arm_contrast", least=0, below=1)
        self._phase, self._width = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.0)
        self._waves = _random_waves(check_number(patchiness, "patchiness", least=0), rng)
        flux = sersic_flux(self._R_e, self._n)
        self._bulge = self._make_bulge(
            check_number(bulge_fraction, "bulge_fraction", least=0, below=1), bulge_R_e, bulge_n, flux
        )
        flux /= 1 - bulge_fraction
        sizes = check_interval(clump_fwhm, "clump_fwhm", check_length, above=0)
        total = flux * check_number(clump_fraction, "clump_fraction", least=0, below=1)
        self._clumps = self._make_clumps(check_count(clumps, "clumps", 0), total, sizes, rng)

    def _make_bulge(self, share, R_e, n, disc_flux):
        R_e = 0.25 * self._R_e if R_e is None else check_length(R_e, "bulge_R_e", above=0)
        n = check_number(n, "bulge_n", above=0)
        flux = disc_flux * share / (1 - share)
        return flux / sersic_flux(R_e, n), R_e, n

    def _make_clumps(self, count, flux, sizes, rng):
        """Return rows of peak, x, y, sigma; x and y are along the major and the minor axis."""
        if count == 0:
            return np.empty((0, 4))
        # a power law of index -1.8 between 1 and 30, by inversion
        rank = rng.uniform(size=count)
        light = (1 - rank * (1 - 30**-0.8)) ** (-1 / 0.8)
        size = (np.log(light) / np.log(30) + rng.normal(0, 0.2, count)).clip(0, 1)
        sigma = sizes[0] * (sizes[1] / sizes[0]) ** size / np.sqrt(8 * np.log(2))
        radius = self._R_e * np.clip(rng.gamma(3.0, 0.35, count), 0.15, 2.0)
        light *= np.exp(-radius / self._R_e)  # fainter where there is less gas
        theta = rng.uniform(0, 2 * np.pi, count)
        if self._arms:
            ridge = self._phase / self._arms + self._winding * np.log(radius / self._R_e)
            ridge += rng.integers(self._arms, size=count) * 2 * np.pi / self._arms
            ridge += rng.normal(0, 0.25, count)
            theta = np.where(rng.uniform(size=count) < 0.75, ridge, theta)
        peak = flux * light / light.sum() / (2 * np.pi * sigma**2)
        a, b = radius * np.cos(theta) / np.sqrt(self._q), radius * np.sin(theta) * np.sqrt(self._q)
        return np.stack([peak, a, b, sigma], axis=1)

    def surface_brightness(self, x, y):
        dx, dy = np.broadcast_arrays(np.asarray(x, float) - self._x, np.asarray(y, float) - self._y)
        a, b = rotate(dx, dy, self._phi)
        light = self._disc(a, b)
        light += self._bulge_light(a, b)
        for peak, ca, cb, sigma in self._clumps:
            r2 = ((a - ca) ** 2 + (b - cb) ** 2) / sigma**2
            near = r2 < 36.0  # beyond 6 sigma a clump is below 2e-8 of its peak
            light[near] += peak * np.exp(-0.5 * r2[near])
        return self._amplitude * light

    def _bulge_light(self, a, b):
        peak, R_e, n = self._bulge
        q = np.sqrt(self._q)  # bulges are rounder than discs
        r = np.sqrt(q * a**2 + b**2 / q + (_CORE * self._R_e) ** 2) / R_e
        return peak * np.exp(-sersic_b(n) * (r ** (1 / n) - 1))

    def _disc(self, a, b):
        u_, v = a * np.sqrt(self._q) / self._R_e, b / np.sqrt(self._q) / self._R_e
        r2 = u_**2 + v**2
        r = np.sqrt(r2 + _CORE**2)
        light = np.exp(-sersic_b(self._n) * (r ** (1 / self._n) - 1))
        if self._arms and self._contrast:
            # arms fade towards the centre, where an angle has no meaning
            fade = (r2 / (r2 + 0.3**2)) ** 2
            theta = np.arctan2(v, u_)
            phase = self._arms * (theta - self._winding * np.log(r)) - self._phase
            ridge = np.exp(self._width * (np.cos(phase) - 1)) / i0e(self._width)  # azimuthal mean 1
            light *= 1 + self._contrast * fade * (ridge - 1)
        if self._waves.size:
            pattern = sum(c * _cos_of_turns(ku * u_ + kv * v + p) for c, ku, kv, p in self._waves)
            light *= np.exp(pattern)
        return light

    def __repr__(self) -> str:
        return (
            f"ClumpySpiral(R_e={self._R_e:.4g} arcsec, q={self._q:.3g}, phi={np.degrees(self._phi):.4g} deg, "
            f"x={self._x:.4g} arcsec, y={self._y:.4g} arcsec, arms={self._arms}, clumps={len(self._clumps)}, "
            f"amplitude={self._amplitude:.4g})"
        )


def _random_waves(scatter: float, rng: np.random.Generator) -> np.ndarray:
    """Return rows of amplitude, wave vector (turns per R_e) and phase (turns), from 4 down to 0.7 R_e."""
    if scatter == 0:
        return np.empty((0, 4))
    count = 10
    wavelength = np.geomspace(4.0, 0.7, count)
    direction, phase = rng.uniform(0, 2 * np.pi, (2, count))
    amplitude = np.sqrt(wavelength)
    amplitude *= scatter * np.sqrt(2 / np.sum(amplitude**2))
    along, across = np.cos(direction) / wavelength, np.sin(direction) / wavelength
    return np.stack([amplitude, along, across, phase / (2 * np.pi)], axis=1)


def _cos_of_turns(turns: np.ndarray) -> np.ndarray:
    """Return cos(2 pi turns) to 2e-7: in float32, six times as fast, from which whole turns are taken off."""
    part = (turns - np.rint(turns)).astype(np.float32)
    return np.cos(np.float32(2 * np.pi) * part)


def _pitch(value: u.Quantity) -> float:
    result = check_angle(value, "pitch")
    if not 0 < abs(result) < 0.5 * np.pi:
        raise ValueError(f"pitch must lie between 0 and 90 deg; got {value}")
    return result
