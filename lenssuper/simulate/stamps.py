"""Cutouts of random galaxies as in a survey, to train the learned methods of `lenssuper.light`."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from lenssuper._utils.checks import check_rng
from lenssuper.simulate.sources import GaussianSource, SersicSource, Source
from lenssuper.simulate.spirals import ClumpySpiral

__all__ = ["galaxy_stamp"]

_FINE = 2  # points per pixel and direction


def galaxy_stamp(rng: np.random.Generator | int | None = None, *, size: int = 64) -> np.ndarray:
    """
    Draw the image of a galaxy: clumpy spirals, bulges with discs and bars, irregulars, some with neighbours.

    The galaxy lies near the middle; its half-light radius is 0.05 to 0.28 of the side of the image. It is
    blurred by a Gaussian PSF of a FWHM between 1 and 5 pixels and gets noise, in some images correlated
    between pixels; the peak S/N lies between 8 and 200.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or int, optional
    size : int, optional
        Rows and columns of the image.

    Returns
    -------
    ndarray, shape (size, size)
        Surface brightness, of order 1, without sky.
    """
    rng = check_rng(rng)
    kinds = (_spiral, _smooth, _irregular)
    galaxy = kinds[rng.choice(3, p=[0.4, 0.4, 0.2])](rng, _radius(rng))
    for _ in range(rng.choice(3, p=[0.6, 0.25, 0.15])):
        galaxy = galaxy + _neighbour(rng)
    position = (np.arange(size * _FINE) + 0.5) / (size * _FINE) - 0.5
    light = galaxy.surface_brightness(*np.meshgrid(position, position))
    light = light.reshape(size, _FINE, size, _FINE).mean(axis=(1, 3))
    light = gaussian_filter(light, np.exp(rng.uniform(np.log(0.45), np.log(2.1))), mode="nearest")
    light /= light.max()
    return light + _noise(rng, light) / np.exp(rng.uniform(np.log(8), np.log(200)))


def _radius(rng):
    """Half-light radius in units of the side of the image."""
    return np.exp(rng.uniform(np.log(0.05), np.log(0.28)))


def _noise(rng, light):
    """Noise of the sky of sigma 1, with some of the photons of the galaxy."""
    size, kind = light.shape[0], rng.uniform()
    noise = rng.normal(size=light.shape)
    if kind > 0.75:  # an enlarged image
        coarse = rng.normal(size=(int(size * rng.uniform(0.5, 0.9)),) * 2)
        noise = zoom(coarse, size / coarse.shape[0], order=0, grid_mode=True, mode="nearest")
    elif kind > 0.4:  # a drizzled one
        noise = gaussian_filter(noise, rng.uniform(0.4, 1.2), mode="wrap")
        noise /= noise.std()
    return noise * np.sqrt(1 + rng.uniform(0, 2) * np.clip(light, 0, None))


def _place(rng, scatter=0.05):
    x, y = rng.normal(0, scatter, 2).clip(-0.4, 0.4) * u.arcsec
    return {"x": x, "y": y, "phi": rng.uniform(0, np.pi) * u.rad}


def _spiral(rng, R_e) -> Source:
    return ClumpySpiral(
        R_e * u.arcsec,
        n=rng.uniform(0.5, 1.4),
        q=rng.uniform(0.2, 1.0),
        **_place(rng),
        bulge_fraction=0.6 * rng.beta(1.0, 2.0),
        bulge_R_e=R_e * rng.uniform(0.1, 0.4) * u.arcsec,
        bulge_n=rng.uniform(1.0, 3.5),
        arms=int(rng.integers(0, 5)),
        pitch=rng.uniform(12, 40) * u.deg * rng.choice([-1, 1]),
        arm_contrast=rng.uniform(0.1, 0.85),
        patchiness=rng.uniform(0.0, 0.6),
        clumps=int(rng.integers(0, 26)),
        clump_fraction=rng.uniform(0.05, 0.35),
        clump_fwhm=R_e * np.array([0.07, 0.3]) * u.arcsec,
        rng=rng,
    )


def _smooth(rng, R_e) -> Source:
    """A disc or spheroid, with a bulge and a bar in most."""
    place, q = _place(rng), rng.uniform(0.2, 1.0)
    galaxy: Source = SersicSource(
        R_e * u.arcsec, np.exp(rng.uniform(np.log(0.5), np.log(5.0))), q=q, amplitude=1.0, **place
    )
    if rng.uniform() < 0.6:
        galaxy = galaxy + SersicSource(
            R_e * rng.uniform(0.1, 0.4) * u.arcsec,
            rng.uniform(0.8, 4.0),
            q=q + (1 - q) * rng.uniform(0, 1),
            amplitude=np.exp(rng.uniform(np.log(0.5), np.log(20.0))),
            **place,
        )
    if rng.uniform() < 0.3:
        place["phi"] = rng.uniform(0, np.pi) * u.rad
        bar = SersicSource(
            R_e * rng.uniform(0.2, 0.6) * u.arcsec,
            rng.uniform(0.5, 0.9),
            q=rng.uniform(0.2, 0.5),
            amplitude=rng.uniform(0.5, 4.0),
            **place,
        )
        galaxy = galaxy + bar
    return galaxy


def _irregular(rng, R_e) -> Source:
    """A few blobs on a faint disc."""
    place = _place(rng)
    galaxy: Source = SersicSource(R_e * u.arcsec, rng.uniform(0.5, 1.2), q=rng.uniform(0.3, 1.0), **place)
    for _ in range(rng.integers(1, 7)):
        x, y = (place[name] + rng.normal(0, 0.8 * R_e) * u.arcsec for name in ("x", "y"))
        fwhm = R_e * np.exp(rng.uniform(np.log(0.15), np.log(1.0))) * u.arcsec
        galaxy = galaxy + GaussianSource(fwhm, x=x, y=y, amplitude=np.exp(rng.uniform(-1.0, 2.0)))
    return galaxy


def _neighbour(rng) -> Source:
    R_e = np.exp(rng.uniform(np.log(0.01), np.log(0.06)))
    x, y = rng.uniform(-0.48, 0.48, 2) * u.arcsec
    return SersicSource(
        R_e * u.arcsec,
        rng.uniform(0.5, 3.0),
        q=rng.uniform(0.4, 1.0),
        phi=rng.uniform(0, np.pi) * u.rad,
        x=x,
        y=y,
        amplitude=np.exp(rng.uniform(-2.0, 0.7)),
    )
