"""Massive lens galaxies with cores, boxy and twisted isophotes, dust and companions, and lenses of them."""

from __future__ import annotations

from collections.abc import Iterator

import astropy.units as u
import numpy as np

from lenssuper._utils.checks import check_angle, check_count, check_length, check_number, check_rng
from lenssuper.lens import EPL, ExternalShear, LensModel
from lenssuper.simulate.instruments import HST_ACS_F814W, Instrument
from lenssuper.simulate.mock import MockLens, mock_lens
from lenssuper.simulate.random import random_source
from lenssuper.simulate.sources import SersicSource, Source, rotate, sersic_b

__all__ = ["MassiveGalaxy", "hard_lenses", "random_massive_galaxy"]

# Sharpness of the break between the core and the rest
_SHARPNESS = 3.0
# Width of a dust lane over its length
_LANE = 0.25
# Mean and scatter of the slopes of massive early-type galaxies (Auger et al. 2010, ApJ 724, 511)
_SLOPES = 2.08, 0.16


class MassiveGalaxy(Source):
    r"""
    An early-type galaxy that is no ellipse: a cored Sersic profile with turned, boxy isophotes, and dust.

    Parameters
    ----------
    R_e : `~astropy.units.Quantity`
        Half-light radius of the Sersic profile outside of the core, on the intermediate axis.
    n : float
        Its index.
    q : float, optional
        Axis ratio b/a in (0, 1].
    phi : `~astropy.units.Quantity`, optional
        Position angle of the major axis at ``R_e``, counter-clockwise from +x.
    x, y : `~astropy.units.Quantity`, optional
        Centre.
    amplitude : float, optional
        Surface brightness at ``R_e`` of the Sersic profile without dust.
    core : `~astropy.units.Quantity`, optional
        Radius of the core; 0 for none.
    cusp : float, optional
        Slope of the surface brightness within the core.
    boxiness : float, optional
        Amplitude of the fourth harmonic of the isophotes' radii: discy above 0, boxy below.
    lopsidedness : float, optional
        Amplitude of the third harmonic.
    twist : `~astropy.units.Quantity`, optional
        Turn of the isophotes from one radius to the e-fold of it.
    dust : float, optional
        Optical depth of a dust lane through the centre.
    dust_size : `~astropy.units.Quantity`, optional
        Gaussian length of the lane; it is a quarter as wide.
    dust_phi : `~astropy.units.Quantity`, optional
        Direction of the lane.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind or out of its range.

    Notes
    -----
    With the radius of the ellipse r, the core radius r_b and the cusp g (Graham et al. 2003, AJ 125, 2951,
    eq. 5, with a = 3),

    .. math::
        I(r) = I_e e^{b_n} \left[1 + (r_b / r)^a\right]^{g / a}
               \exp\left(-b_n \left[\frac{r^a + r_b^a}{R_e^a}\right]^{1 / (a n)}\right)

    The harmonics divide r by :math:`1 + a_3 \cos 3\varphi + a_4 \cos 4\varphi`.
    """

    def __init__(
        self,
        R_e: u.Quantity,
        n: float,
        *,
        q: float = 1.0,
        phi: u.Quantity = 0 * u.deg,
        x: u.Quantity = 0 * u.arcsec,
        y: u.Quantity = 0 * u.arcsec,
        amplitude: float = 1.0,
        core: u.Quantity = 0 * u.arcsec,
        cusp: float = 0.0,
        boxiness: float = 0.0,
        lopsidedness: float = 0.0,
        twist: u.Quantity = 0 * u.deg,
        dust: float = 0.0,
        dust_size: u.Quantity = 0.3 * u.arcsec,
        dust_phi: u.Quantity = 0 * u.deg,
    ) -> None:
        self._R_e = check_length(R_e, "R_e", above=0)
        self._n = check_number(n, "n", above=0)
        self._q = check_number(q, "q", above=0, most=1)
        self._phi, self._twist = check_angle(phi, "phi"), check_angle(twist, "twist")
        self._x, self._y = check_length(x, "x"), check_length(y, "y")
        self._amplitude = check_number(amplitude, "amplitude")
        self._core = check_length(core, "core", least=0)
        self._cusp = check_number(cusp, "cusp", least=0)
        self._boxiness = check_number(boxiness, "boxiness")
        self._lopsidedness = check_number(lopsidedness, "lopsidedness")
        if abs(self._boxiness) + abs(self._lopsidedness) >= 0.5:
            raise ValueError("boxiness and lopsidedness together must be below 0.5: isophotes would cross")
        self._dust = check_number(dust, "dust", least=0)
        self._dust_size = check_length(dust_size, "dust_size", above=0)
        self._dust_phi = check_angle(dust_phi, "dust_phi")

    def surface_brightness(self, x, y):
        x, y = np.asarray(x) - self._x, np.asarray(y) - self._y
        return self._amplitude * self._profile(self._radius(x, y)) * np.exp(-self._depth(x, y))

    def _radius(self, x, y):
        """Return the radius of the isophote through each position, over R_e."""
        turn = np.clip(self._twist * np.log(np.hypot(x, y).clip(1e-9) / self._R_e), -np.pi / 2, np.pi / 2)
        a, b = rotate(x, y, self._phi + turn)
        a, b = a * np.sqrt(self._q), b / np.sqrt(self._q)
        angle = np.arctan2(b, a)
        harmonics = self._lopsidedness * np.cos(3 * angle) + self._boxiness * np.cos(4 * angle)
        return np.hypot(a, b) / (1 + harmonics) / self._R_e

    def _profile(self, r):
        b, a, core = sersic_b(self._n), _SHARPNESS, self._core / self._R_e
        outer = np.exp(-b * ((r**a + core**a) ** (1 / (a * self._n)) - 1))
        if not core:
            return outer
        return outer * (1 + (core / np.maximum(r, 1e-6 * core)) ** a) ** (self._cusp / a)

    def _depth(self, x, y):
        along, across = rotate(x, y, self._dust_phi)
        return self._dust * np.exp(-0.5 * (along**2 + (across / _LANE) ** 2) / self._dust_size**2)

    def __repr__(self) -> str:
        return (
            f"MassiveGalaxy(R_e={self._R_e:.4g} arcsec, n={self._n:.3g}, q={self._q:.3g}, "
            f"x={self._x:.4g} arcsec, y={self._y:.4g} arcsec, amplitude={self._amplitude:.4g})"
        )


def random_massive_galaxy(
    lens: LensModel, rng: np.random.Generator | int | None = None, *, at_ring: float = 1.0
) -> Source:
    """
    Draw the light of a massive lens galaxy: a cored elliptical with an envelope, dust and companions in some.

    Parameters
    ----------
    lens : LensModel
        Its first profile must have theta_E, q, phi, x and y: the light has the same centre to 0.005", and
        about the shape.
    rng : `~numpy.random.Generator` or int, optional
    at_ring : float, optional
        Mean surface brightness of the elliptical at the Einstein radius.

    Returns
    -------
    Source
    """
    rng, at_ring = check_rng(rng), check_number(at_ring, "at_ring", above=0)
    mass = lens.components[0].values()
    x, y = (mass[name] + 0.005 * rng.standard_normal() for name in ("x", "y"))
    place = {"x": x * u.arcsec, "y": y * u.arcsec}
    size, radius = rng.uniform(0.7, 2.5), mass["theta_E"]
    shape = {
        "q": float(np.clip(mass["q"] + 0.08 * rng.standard_normal(), 0.4, 0.97)),
        "phi": (mass["phi"] + 0.15 * rng.standard_normal()) * u.rad,
        "core": rng.uniform(0.03, 0.15) * u.arcsec,
        "cusp": rng.uniform(0.0, 0.6),
        "boxiness": 0.015 * rng.standard_normal(),
        "lopsidedness": 0.005 * rng.standard_normal(),
        "twist": 0.06 * rng.standard_normal() * u.rad,
    }
    if rng.uniform() < 0.2:
        shape["dust"] = rng.uniform(0.1, 0.6)
        shape["dust_size"] = rng.uniform(0.1, 0.4) * u.arcsec
        shape["dust_phi"] = rng.uniform(0, np.pi) * u.rad
    galaxy: Source = MassiveGalaxy(size * u.arcsec, rng.uniform(3.0, 6.0), **place, **shape)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.mean(galaxy.surface_brightness(x + radius * np.cos(angle), y + radius * np.sin(angle)))
    galaxy = galaxy * (at_ring / ring)
    if rng.uniform() < 0.5:
        turned = shape["phi"] + rng.uniform(-0.6, 0.6) * u.rad
        envelope = SersicSource(
            rng.uniform(1.5, 2.5) * size * u.arcsec, 1.0, q=rng.uniform(0.5, 0.95), phi=turned, **place
        )
        galaxy = galaxy + at_ring * rng.uniform(0.05, 0.3) * envelope
    for _ in range(rng.poisson(0.7)):
        galaxy = galaxy + at_ring * rng.uniform(0.3, 3.0) * _companion(rng, x, y, radius)
    return galaxy


def _companion(rng, x, y, radius):
    """Draw a small galaxy outside of the arcs, with a surface brightness of 1 at its half-light radius."""
    distance, angle = radius * rng.uniform(1.8, 3.0), rng.uniform(0, 2 * np.pi)
    return SersicSource(
        rng.uniform(0.05, 0.2) * u.arcsec,
        rng.uniform(1.0, 3.0),
        q=rng.uniform(0.5, 1.0),
        phi=rng.uniform(0, np.pi) * u.rad,
        x=(x + distance * np.cos(angle)) * u.arcsec,
        y=(y + distance * np.sin(angle)) * u.arcsec,
    )


def hard_lenses(
    n: int,
    seed: int = 0,
    *,
    shape: tuple[int, int] = (121, 121),
    instrument: Instrument = HST_ACS_F814W,
    peak_snr: tuple[float, float] = (8.0, 40.0),
) -> Iterator[MockLens]:
    """
    Simulate lenses as hard as those of SLACS: arcs of a galaxy beneath a bright one that is no ellipse.

    An `~lenssuper.EPL` (theta_E 0.7 to 1.5 arcsec, q 0.5 to 0.95, slope 2.08 +- 0.16) with shear up to 0.1;
    a clumpy source; the galaxy of `random_massive_galaxy` is at the Einstein radius 0.3 to 3 times as bright
    as the brightest arc.

    Parameters
    ----------
    n : int
        How many. Lens i is the same whatever ``n``.
    seed : int, optional
    shape : (int, int), optional
        Rows and columns.
    instrument : Instrument, optional
    peak_snr : (float, float), optional
        Range of the S/N of the brightest arc.

    Yields
    ------
    MockLens
    """
    for i in range(check_count(n, "n", 1)):
        rng = np.random.default_rng([seed, i])
        lens, source = _hard_lens(rng), random_source(rng)
        snr, at_ring = rng.uniform(*peak_snr), np.exp(rng.uniform(*np.log((0.3, 3.0))))
        noise = np.random.default_rng([seed, i, 1])
        arcs = mock_lens(lens, source, instrument, shape=shape, peak_snr=snr, rng=noise)
        light = random_massive_galaxy(lens, rng, at_ring=at_ring * arcs.noiseless.max())
        yield mock_lens(lens, source, instrument, shape=shape, peak_snr=snr, lens_light=light, rng=rng)


def _hard_lens(rng):
    strength, direction = rng.uniform(0.0, 0.1), rng.uniform(0, np.pi)
    x, y = rng.uniform(-0.05, 0.05, 2) * u.arcsec
    mass = EPL(
        theta_E=rng.uniform(0.7, 1.5) * u.arcsec,
        gamma=float(np.clip(rng.normal(*_SLOPES), 1.6, 2.6)),
        q=rng.uniform(0.5, 0.95),
        phi=rng.uniform(0, np.pi) * u.rad,
        x=x,
        y=y,
    )
    gamma1, gamma2 = strength * np.cos(2 * direction), strength * np.sin(2 * direction)
    return mass + ExternalShear(gamma1=gamma1, gamma2=gamma2)
