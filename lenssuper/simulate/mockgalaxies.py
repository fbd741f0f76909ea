"""Simulated galaxies with structure, to measure fits of analytic profiles on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from lenssuper._utils.checks import check_count, check_rng
from lenssuper.lens import ExternalShear
from lenssuper.simulate.instruments import EUCLID_VIS, Instrument
from lenssuper.simulate.mock import mock_lens
from lenssuper.simulate.sources import GaussianSource, SersicSource, Source
from lenssuper.simulate.spirals import ClumpySpiral

__all__ = ["mock_galaxies", "mock_galaxy"]

# Of the brightest pixel, in the set.
_PEAK_SNR = (40.0, 150.0)
# Half-light radius over half the side of the field.
_SIZE = (0.16, 0.32)


def mock_galaxy(
    source: Source,
    instrument: Instrument = EUCLID_VIS,
    *,
    shape: tuple[int, int] = (64, 64),
    peak_snr: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> CCDData:
    """
    Simulate the observation of a galaxy that is not lensed.

    Parameters
    ----------
    source : Source
        The galaxy, in electron / s per pixel unless ``peak_snr`` rescales it.
    instrument : Instrument, optional
        By default Euclid VIS.
    shape : (int, int), optional
        Rows and columns.
    peak_snr : float, optional
        Signal-to-noise ratio of the brightest pixel.
    rng : `~numpy.random.Generator` or int, optional
        Source of the noise.

    Returns
    -------
    `~astropy.nddata.CCDData`
        As of `mock_lens`: averaged over pixels, convolved with the PSF, with Poisson noise, the true
        standard deviation, a mask, the effective PSF and a celestial WCS.
    """
    nothing = ExternalShear(gamma1=0.0, gamma2=0.0)
    return mock_lens(nothing, source, instrument, shape=shape, peak_snr=peak_snr, rng=rng).observation


def mock_galaxies(
    n: int,
    rng: np.random.Generator | int | None = None,
    *,
    instrument: Instrument = EUCLID_VIS,
    shape: tuple[int, int] = (64, 64),
) -> list[CCDData]:
    """
    Simulate galaxies with structure.

    They are in turn a spiral with clumps, a barred disc with a bulge, an edge-on disc with a bulge, an
    elliptical with an envelope, and a disturbed galaxy with a companion, each with random proportions,
    position and orientation. The same seed gives the same galaxies; a larger ``n`` adds to them.

    Parameters
    ----------
    n : int
        How many.
    rng : `~numpy.random.Generator` or int, optional
        The same seed gives the same galaxies.
    instrument : Instrument, optional
        By default Euclid VIS.
    shape : (int, int), optional
        Rows and columns; the galaxies are as large in proportion.

    Returns
    -------
    list of `~astropy.nddata.CCDData`
        As of `mock_galaxy`, with a peak S/N of 40 to 150; ``meta["KIND"]`` is one of "spiral", "barred",
        "edge-on", "elliptical" and "disturbed".
    """
    n = check_count(n, "n", 0)
    rng = check_rng(rng)
    half = 0.5 * min(shape) * instrument.pixel_scale
    galaxies = []
    for i in range(n):
        kind = list(_KINDS)[i % len(_KINDS)]
        size = rng.uniform(*_SIZE) * half
        phi = rng.uniform(0, 180) * u.deg
        x, y = rng.normal(0, 0.04, 2) * half
        source = _KINDS[kind](size, phi, x, y, rng)
        snr = np.exp(rng.uniform(*np.log(_PEAK_SNR)))
        galaxy = mock_galaxy(source, instrument, shape=shape, peak_snr=snr, rng=rng)
        galaxy.meta["KIND"] = kind
        galaxies.append(galaxy)
    return galaxies


def _spiral(size, phi, x, y, rng):
    return ClumpySpiral(
        size,
        q=rng.uniform(0.5, 0.95),
        phi=phi,
        x=x,
        y=y,
        arms=int(rng.integers(2, 4)),
        arm_contrast=rng.uniform(0.4, 0.8),
        bulge_fraction=rng.uniform(0.05, 0.25),
        clumps=int(rng.integers(6, 16)),
        clump_fwhm=size * (0.1, 0.3),
        rng=rng,
    )


def _barred(size, phi, x, y, rng):
    q = rng.uniform(0.55, 0.95)
    turn = rng.uniform(0, 180) * u.deg
    disc = SersicSource(size, n=1.0, q=q, phi=phi, x=x, y=y)
    bulge = SersicSource(0.15 * size, n=rng.uniform(1.5, 3), q=0.9, phi=phi, x=x, y=y)
    bar = SersicSource(0.5 * size, n=0.5, q=rng.uniform(0.2, 0.3), phi=phi + turn, x=x, y=y)
    return disc + _of_flux(bulge, rng.uniform(0.05, 0.2) * disc.flux) + _of_flux(bar, 0.3 * disc.flux)


def _edge_on(size, phi, x, y, rng):
    size = 0.6 * size  # on the intermediate axis: the disc is long
    disc = SersicSource(size, n=1.0, q=rng.uniform(0.12, 0.2), phi=phi, x=x, y=y)
    thick = SersicSource(1.1 * size, n=1.0, q=rng.uniform(0.3, 0.4), phi=phi, x=x, y=y)
    bulge = SersicSource(0.3 * size, n=rng.uniform(1.5, 3.5), q=0.75, phi=phi, x=x, y=y)
    return disc + _of_flux(thick, 0.3 * disc.flux) + _of_flux(bulge, rng.uniform(0.15, 0.4) * disc.flux)


def _elliptical(size, phi, x, y, rng):
    turn = rng.normal(0, 20) * u.deg
    body = SersicSource(0.6 * size, n=rng.uniform(2.5, 4.5), q=rng.uniform(0.6, 0.95), phi=phi, x=x, y=y)
    halo = SersicSource(1.8 * size, n=1.2, q=rng.uniform(0.5, 0.9), phi=phi + turn, x=x, y=y)
    return body + _of_flux(halo, rng.uniform(0.2, 0.5) * body.flux)


def _disturbed(size, phi, x, y, rng):
    disc = SersicSource(size, n=0.8, q=rng.uniform(0.5, 0.9), phi=phi, x=x, y=y)
    away = rng.uniform(0.8, 1.4) * size
    angle = rng.uniform(0, 2 * np.pi)
    near = SersicSource(
        rng.uniform(0.3, 0.6) * size,
        n=rng.uniform(0.8, 2),
        q=rng.uniform(0.4, 0.9),
        phi=rng.uniform(0, 180) * u.deg,
        x=x + away * np.cos(angle),
        y=y + away * np.sin(angle),
    )
    galaxy = disc + _of_flux(near, rng.uniform(0.3, 0.7) * disc.flux)
    for _ in range(5):
        radius, angle = rng.gamma(2.0, 0.4) * size, rng.uniform(0, 2 * np.pi)
        knot = GaussianSource(
            rng.uniform(0.15, 0.5) * size, x=x + radius * np.cos(angle), y=y + radius * np.sin(angle)
        )
        galaxy = galaxy + _of_flux(knot, rng.uniform(0.02, 0.1) * disc.flux)
    return galaxy


def _of_flux(source, flux):
    return (flux / source.flux) * source


_KINDS: dict[str, Callable[..., Source]] = {
    "spiral": _spiral,
    "barred": _barred,
    "edge-on": _edge_on,
    "elliptical": _elliptical,
    "disturbed": _disturbed,
}
