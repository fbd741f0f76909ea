"""Where an image shows more than the smooth galaxy in its middle: the arcs of a lens."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lenssuper.observation import Observation
from lenssuper.observation.objects import smoothed

__all__ = ["find_arcs", "first_arcs"]

# An arc has peaks that are so many sigma of the smoothed image above what may be the galaxy; it goes on to
# where it falls below the lower number of sigma.
_PEAK, _EDGE = 3.0, 2.0
# By how large a share of its light a model is wrong: this quantile of how much it is brighter than the image,
# in pixels that are so many sigma bright, times a margin.
_WORST, _SEEN, _SAFETY = 0.98, 10.0, 2.0
# The least number of pixels of an arc.
_PIXELS = 10


def find_arcs(
    observation: Observation,
    model: np.ndarray,
    sky: float,
    core: np.ndarray,
    share: float = 0.15,
    reach: float = 8.0,
    least: float = 0.05,
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
        By how large a share of the galaxy's light a peak must exceed it, at most; half of that is enough for
        what is around a peak.
    reach : float, optional
        The largest distance of a pixel of an arc from a peak, in pixels.
    least : float, optional
        The share where the model is never brighter than the image by as much: what is wrong with a model is
        so to both sides, and arcs are to one.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True on arcs: groups of pixels that are significantly brighter than the galaxy, and pixels around.
    """
    excess, noise = smoothed(observation.with_data(observation.data - model))
    light = np.maximum(model - sky, 0.0)
    wrong_by = _wrong_by(excess, noise, light, core | observation.mask)
    share = np.clip(wrong_by, min(least, share), share)
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
    x, y = observation.grid.centers_arcsec()
    ring = np.floor(np.hypot(x - center[0], y - center[1]) / observation.grid.side_arcsec).astype(int)
    used = ~observation.mask
    rings = np.arange(ring.max() + 1)
    medians = ndimage.median(observation.data[used], ring[used], rings)
    counts = np.bincount(ring[used], minlength=len(rings))
    profile = np.minimum.accumulate(np.where(counts > 0, medians, np.inf))
    profile = np.maximum(profile, sky)
    return find_arcs(observation, profile[ring], sky, core, 0.3, reach)


def _wrong_by(excess, noise, light, unused):
    """The share of its light by which a model is brighter than the image, where it is most so."""
    well_seen = (light > _SEEN * noise) & ~unused
    if not well_seen.any():
        return np.inf
    too_bright = (-excess[well_seen] - _EDGE * noise[well_seen]) / light[well_seen]
    return _SAFETY * float(np.quantile(too_bright, _WORST))


def _groups(excess, noise, doubt, core, reach):
    edge = (excess > _EDGE * noise) & (excess > doubt / 2) & ~core
    peak = edge & (excess > doubt + _PEAK * noise)
    labels, n = ndimage.label(peak, np.ones((3, 3)))
    large = np.bincount(labels.ravel(), minlength=n + 1) >= _PIXELS
    large[0] = False
    near = ndimage.distance_transform_edt(~large[labels]) < reach if large.any() else large[labels]
    arcs = ndimage.binary_propagation(large[labels], mask=ndimage.binary_opening(edge & near) | large[labels])
    return ndimage.binary_dilation(arcs, iterations=2) & ~core
