"""Where an image shows more than the smooth galaxy in its middle: the arcs of a lens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from lenssuper.light.detect import smoothed
from lenssuper.observation import Observation

__all__ = ["find_arcs", "first_arcs"]

# An arc has peaks that are so many sigma of the smoothed image above what may be the galaxy; it goes on to
# where it falls below the lower number of sigma.
_PEAK, _EDGE = 3.0, 2.0
# The least number of pixels of an arc.
_PIXELS = 10


def find_arcs(
    observation: Observation,
    model: np.ndarray,
    sky: float,
    core: np.ndarray,
    share: float = 0.15,
    reach: float = 8.0,
) -> np.ndarray:
    """
    Find the light that a model of the galaxy does not explain.

    Parameters
    ----------
    observation : Observation
    model : ndarray, shape (ny, nx)
        The galaxy and the sky.
    sky : float
        The sky alone.
    core : ndarray of bool, shape (ny, nx)
        Around the centre of the galaxy, where no arc is looked for.
    share : float, optional
        By how large a share of the galaxy's light a peak must exceed it; half of that is enough for what
        is around a peak. It should be larger than what the model may be wrong by.
    reach : float, optional
        The largest distance of a pixel of an arc from a peak, in pixels.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True on arcs: groups of pixels that are significantly brighter than the galaxy, and pixels around.
    """
    excess, noise = smoothed(replace(observation, data=observation.data - model))
    light = np.maximum(model - sky, 0.0)
    return _groups(excess, noise, share * light, core, reach)


def first_arcs(
    observation: Observation,
    center: tuple[float, float],
    sky: float,
    core: np.ndarray,
    reach: float = 8.0,
) -> np.ndarray:
    """
    Guess where arcs are before there is a model: what is brighter than anything further in.

    Parameters
    ----------
    observation : Observation
    center : (float, float)
        Offset (x, y) of the galaxy in arcsec.
    sky : float
    core, reach
        As for `find_arcs`.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Galaxies become fainter outwards: the median brightness on circles, or what it was on a smaller one if
        that is less, is taken as the galaxy's.
    """
    x, y = observation.grid._centers()
    ring = np.floor(np.hypot(x - center[0], y - center[1]) / observation.grid._side).astype(int)
    used = ~observation.mask
    rings = np.arange(ring.max() + 1)
    medians = ndimage.median(observation.data[used], ring[used], rings)
    counts = np.bincount(ring[used], minlength=len(rings))
    profile = np.minimum.accumulate(np.where(counts > 0, medians, np.inf))
    profile = np.maximum(profile, sky)
    return find_arcs(observation, profile[ring], sky, core, 0.3, reach)


def _groups(excess, noise, doubt, core, reach):
    edge = (excess > _EDGE * noise) & (excess > doubt / 2) & ~core
    peak = edge & (excess > doubt + _PEAK * noise)
    labels, n = ndimage.label(peak, np.ones((3, 3)))
    large = np.bincount(labels.ravel(), minlength=n + 1) >= _PIXELS
    large[0] = False
    near = ndimage.distance_transform_edt(~large[labels]) < reach if large.any() else large[labels]
    arcs = ndimage.binary_propagation(large[labels], mask=ndimage.binary_opening(edge & near) | large[labels])
    return ndimage.binary_dilation(arcs, iterations=2) & ~core
