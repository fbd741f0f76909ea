"""Random lenses, galaxies and mocks, and the project's seeded benchmark set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from lenssuper._utils.checks import check_interval, check_length, check_rng
from lenssuper.lens import SIE, ExternalShear, LensModel
from lenssuper.simulate.instruments import BENCHMARK, Instrument
from lenssuper.simulate.mock import MockLens, mock_lens
from lenssuper.simulate.sources import ImageSource, SersicSource, Source
from lenssuper.simulate.spirals import ClumpySpiral
from lenssuper.simulate.varied import draw_position

__all__ = ["benchmark_set", "random_lens", "random_mock", "random_sersics", "random_source"]


def random_lens(
    rng: np.random.Generator | int | None = None,
    *,
    theta_E: u.Quantity = (0.9, 1.5) * u.arcsec,
    q: tuple[float, float] = (0.6, 0.95),
    shear: tuple[float, float] = (0.0, 0.08),
    offset: u.Quantity = 0.05 * u.arcsec,
) -> LensModel:
    """
    Draw a singular isothermal ellipsoid with external shear.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or int, optional
    theta_E : (2,) `~astropy.units.Quantity`, optional
        Range of the Einstein radius (intermediate axis); uniform, as all the others.
    q, shear : (float, float), optional
        Ranges of axis ratio and shear strength; the directions are random.
    offset : `~astropy.units.Quantity`, optional
        Largest offset of the centre from the middle of the field, along each axis.

    Returns
    -------
    LensModel
    """
    rng = check_rng(rng)
    radius = rng.uniform(*check_interval(theta_E, "theta_E", check_length))
    ratio = rng.uniform(*check_interval(q, "q"))
    strength = rng.uniform(*check_interval(shear, "shear"))
    phi, direction = rng.uniform(0, np.pi, 2)
    limit = check_length(offset, "offset")
    x, y = rng.uniform(-limit, limit, 2)
    sie = SIE(theta_E=radius * u.arcsec, q=ratio, phi=np.degrees(phi) * u.deg, x=x * u.arcsec, y=y * u.arcsec)
    gamma1, gamma2 = strength * np.cos(2 * direction), strength * np.sin(2 * direction)
    return sie + ExternalShear(gamma1=gamma1, gamma2=gamma2)


def random_source(
    rng: np.random.Generator | int | None = None,
    *,
    R_e: u.Quantity = (0.15, 0.45) * u.arcsec,
    offset: u.Quantity = (0.03, 0.3) * u.arcsec,
) -> Source:
    """
    Draw a star-forming galaxy at redshift 1 to 2: a clumpy spiral off the axis, sometimes with a companion.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or int, optional
    R_e : (2,) `~astropy.units.Quantity`, optional
        Range of the disc's half-light radius (van der Wel et al. 2014, ApJ 788, 28, at 1e10 solar masses).
    offset : (2,) `~astropy.units.Quantity`, optional
        Range of the distance of its centre from the optical axis.

    Returns
    -------
    Source
        With a surface brightness of order 1.
    """
    rng = check_rng(rng)
    size, x, y, phi = draw_position(rng, R_e, offset)
    clumps = int(rng.integers(5, 26))
    galaxy = ClumpySpiral(
        size * u.arcsec,
        n=rng.uniform(0.5, 1.0),
        q=rng.uniform(0.3, 1.0),
        phi=phi * u.rad,
        x=x * u.arcsec,
        y=y * u.arcsec,
        bulge_fraction=0.4 * rng.beta(1.0, 3.0),
        bulge_R_e=size * rng.uniform(0.15, 0.4) * u.arcsec,
        bulge_n=rng.uniform(1.0, 2.5),
        arms=int(rng.integers(2, 5)),
        pitch=rng.uniform(15, 38) * u.deg * rng.choice([-1, 1]),
        arm_contrast=rng.uniform(0.2, 0.85),
        patchiness=rng.uniform(0.2, 0.6),
        clumps=clumps,
        clump_fraction=rng.uniform(0.1, 0.35) * (0.2 + 0.8 * clumps / 25),
        clump_fwhm=(0.03, 0.12) * u.arcsec,
        rng=rng,
    )
    if rng.uniform() < 0.25:
        galaxy = galaxy + _companion(rng, size, x, y)
    return galaxy


def _companion(rng, size, x, y):
    """Draw a small neighbour: a satellite, or a galaxy that merges."""
    distance = size * rng.uniform(1.5, 3.0)
    angle, phi = rng.uniform(0, 2 * np.pi, 2)
    return ClumpySpiral(
        size * rng.uniform(0.2, 0.5) * u.arcsec,
        q=rng.uniform(0.4, 1.0),
        phi=phi * u.rad,
        x=(x + distance * np.cos(angle)) * u.arcsec,
        y=(y + distance * np.sin(angle)) * u.arcsec,
        amplitude=rng.uniform(0.3, 1.0),
        arms=0,
        clumps=int(rng.integers(0, 4)),
        rng=rng,
    )


def random_sersics(
    rng: np.random.Generator | int | None = None,
    *,
    R_e: u.Quantity = (0.15, 0.45) * u.arcsec,
    offset: u.Quantity = (0.03, 0.3) * u.arcsec,
) -> Source:
    """
    Draw a smooth galaxy: a sum of one to three Sersic profiles, a disc with a bulge and a bar in some.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or int, optional
    R_e, offset : (2,) `~astropy.units.Quantity`, optional
        As in `random_source`.

    Returns
    -------
    Source
        With a surface brightness of order 1.
    """
    rng = check_rng(rng)
    size, x, y, phi = draw_position(rng, R_e, offset)
    place = {"x": x * u.arcsec, "y": y * u.arcsec}
    q = rng.uniform(0.3, 1.0)
    disc = SersicSource(size * u.arcsec, rng.uniform(0.5, 2.0), q=q, phi=phi * u.rad, **place)
    galaxy: Source = disc
    if rng.uniform() < 0.6:
        bulge = SersicSource(
            size * rng.uniform(0.15, 0.4) * u.arcsec,
            rng.uniform(1.0, 3.0),
            q=q + (1 - q) * rng.uniform(0, 1),
            phi=phi * u.rad,
            **place,
        )
        galaxy = galaxy + rng.uniform(0.05, 0.6) * disc.flux / bulge.flux * bulge
    if rng.uniform() < 0.3:
        bar = SersicSource(
            size * rng.uniform(0.3, 0.6) * u.arcsec,
            rng.uniform(0.5, 0.9),
            q=rng.uniform(0.2, 0.5),
            phi=rng.uniform(0, np.pi) * u.rad,
            **place,
        )
        galaxy = galaxy + rng.uniform(0.1, 0.4) * disc.flux / bar.flux * bar
    return galaxy


def random_mock(
    rng: np.random.Generator | int | None = None,
    *,
    instrument: Instrument = BENCHMARK,
    shape: tuple[int, int] = (64, 64),
    peak_snr: tuple[float, float] = (20.0, 60.0),
    factor: int = 2,
    lens: LensModel | None = None,
    source: Source | None = None,
    lens_light: Source | None = None,
    noise: str = "poisson",
) -> MockLens:
    """
    Draw a mock lens.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or int, optional
    instrument : Instrument, optional
        By default that of the benchmark set.
    shape : (int, int), optional
    peak_snr : (float, float), optional
        Range of the S/N of the brightest pixel.
    factor : int, optional
        Refinement of the truth.
    lens, source : optional
        By default `random_lens` and `random_source`.
    lens_light, noise : optional
        As in `mock_lens`.

    Returns
    -------
    MockLens
    """
    rng = check_rng(rng)
    lens = random_lens(rng) if lens is None else lens
    source = random_source(rng) if source is None else source
    snr = rng.uniform(*check_interval(peak_snr, "peak_snr"))
    # somewhere in the COSMOS field
    position = SkyCoord(*(np.array([150.12, 2.21]) + rng.uniform(-0.6, 0.6, 2)), unit="deg")
    return mock_lens(
        lens,
        source,
        instrument,
        shape=shape,
        peak_snr=snr,
        factor=factor,
        lens_light=lens_light,
        noise=noise,
        position=position,
        rng=rng,
    )


def benchmark_set(
    n: int,
    seed: int = 0,
    *,
    sources: Sequence[ImageSource] | Callable[[np.random.Generator], Source] | None = None,
    **options,
) -> list[MockLens]:
    """
    Simulate the set on which this project measures quality.

    64x64 pixels of 0.08", Gaussian PSF of FWHM 0.16", SIE (theta_E 0.9-1.5", q 0.6-0.95) with shear up to
    0.08, clumpy galaxies off the axis, peak S/N 20-60 from background and photon noise, factor 2.

    Parameters
    ----------
    n : int
        How many. Lens i is the same whatever ``n``.
    seed : int, optional
    sources : sequence of ImageSource, or callable, optional
        What to lens instead: images of galaxies in turn, each placed and turned at random, or a function that
        draws a galaxy with a random generator, e.g. `random_merger`.
    **options
        For `random_mock`.

    Returns
    -------
    list of MockLens
    """
    mocks = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        source = None
        if callable(sources):
            source = sources(rng)
        elif sources is not None:
            distance, angle, phi = rng.uniform(0.03, 0.3), *rng.uniform(0, 2 * np.pi, 2)
            source = sources[i % len(sources)].placed(
                distance * np.cos(angle) * u.arcsec, distance * np.sin(angle) * u.arcsec, phi * u.rad
            )
        mocks.append(random_mock(rng, source=source, **options))
    return mocks
