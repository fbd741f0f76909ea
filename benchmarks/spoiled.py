"""Simulated lenses with what files of real ones add, and what is not said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.modeling.models import Sersic2D
from astropy.nddata import CCDData, StdDevUncertainty
from scipy import ndimage

from lenssuper.simulate import MockLens

# Noise of an image drizzled to half of the side of its pixels, and share of the images that have such noise
_DROP = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 6.0
_DRIZZLED = 0.6
# Most neighbours, distances from the lens in Einstein radii, and brightness as a share of the image's peak
_NEIGHBOURS, _DISTANCES, _BRIGHTNESS = 3, (2.2, 4.0), (0.075, 0.6)
# Largest gradient across the image and constant of a sky, in units of the median noise
_GRADIENT, _SKY = 0.3, 0.5
# Largest errors: of the noise map in its logarithm, of the PSF's width as a share, of its centre in pixels
_NOISE_MAP, _WIDTH, _CENTRE = 0.4, 0.08, 0.15


def spoiled(mock: MockLens, rng: np.random.Generator) -> tuple[MockLens, dict]:
    """
    Return a lens with another observation, and what is wrong with it.

    Neighbours and a sky are added, the noise is in most images shared by neighbouring pixels, the noise map
    is wrong by a factor, and the PSF in its width and centre.
    """
    observation, shape = mock.observation, mock.noiseless.shape
    sigma, psf = observation.uncertainty.array, observation.psf / observation.psf.sum()
    unit = np.median(sigma)
    n = int(rng.integers(0, _NEIGHBOURS + 1))
    data = mock.noiseless + sum((_neighbour(mock, psf, rng) for _ in range(n)), start=0.0)
    white = rng.standard_normal(shape)
    drizzled = bool(rng.random() < _DRIZZLED)
    data = data + sigma * (ndimage.convolve(white, _DROP, mode="wrap") if drizzled else white)
    rows, columns = (np.arange(size) / size - 0.5 for size in shape)
    along_x, along_y = rng.uniform(-1, 1, 2) * _GRADIENT * unit
    data = data + along_x * columns + along_y * rows[:, None] + rng.uniform(-_SKY, _SKY) * unit
    factor = float(np.exp(rng.uniform(-_NOISE_MAP, _NOISE_MAP)))
    width = 1 + rng.uniform(-_WIDTH, _WIDTH)
    new = CCDData(
        data,
        uncertainty=StdDevUncertainty(sigma * factor),
        unit=observation.unit,
        wcs=observation.wcs,
        meta=dict(observation.meta),
    )
    new.psf = _changed(psf, width, rng.uniform(-_CENTRE, _CENTRE, 2))
    wrong = {"neighbours": n, "drizzled": drizzled, "noise_map": factor, "psf_width": float(width)}
    return replace(mock, observation=new), wrong


def _neighbour(mock, psf, rng):
    ny, nx = mock.noiseless.shape
    side = mock.grid.side_arcsec
    radius = rng.uniform(*_DISTANCES) * mock.lens.values()["EPL.theta_E"] / side
    angle = rng.uniform(0, 2 * np.pi)
    profile = Sersic2D(
        r_eff=rng.uniform(0.15, 0.5) / side,
        n=rng.uniform(1, 3.5),
        ellip=rng.uniform(0, 0.5),
        theta=rng.uniform(0, np.pi),
        x_0=(nx - 1) / 2 + radius * np.cos(angle),
        y_0=(ny - 1) / 2 + radius * np.sin(angle),
    )
    image = ndimage.convolve(profile(*np.meshgrid(np.arange(nx), np.arange(ny))), psf, mode="constant")
    return image / image.max() * rng.uniform(*_BRIGHTNESS) * mock.noiseless.max()


def _changed(psf, width, shift):
    """Return a PSF that is wider by a factor, and shifted (y, x), in pixels."""
    middle = (np.array(psf.shape) - 1) / 2
    where = (np.indices(psf.shape) - (middle + shift)[:, None, None]) / width + middle[:, None, None]
    changed = ndimage.map_coordinates(psf, where, order=3, mode="constant").clip(min=0)
    return changed / changed.sum()
