"""Arcs of a lens: light in addition to the smooth galaxy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lenssuper.observation import Observation
from lenssuper.observation.objects import smoothed

__all__ = ["find_arcs", "first_arcs"]

# Sigma of the smoothed image by which the peaks of an arc, and all of its pixels, exceed the galaxy.
_PEAK, _EDGE = 3.0, 2.0
# The error of a model, as a share of its light, is this quantile of its excess over the image in pixels so
# many sigma bright, times a margin.
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
    Return a mask (ny, nx) of the light that a model of the galaxy does not explain.

    It contains groups of pixels that are significantly brighter than ``model`` (galaxy and sky) outside of
    ``core``, and a margin. A peak must exceed the galaxy by at most ``share`` of its light; around it half of
    this threshold is sufficient, up to ``reach`` pixels away. ``least`` replaces ``share`` if the model never
    exceeds the image by that much: model errors have both signs, arcs only add light.
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
    Return a mask of arcs as `find_arcs`, without a model: of light brighter than any closer to the centre.

    Galaxies become fainter outwards: the model is the median brightness on circles around ``center``, the
    offset (x, y) in arcsec, or that on a smaller circle if it is less.
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
    """Return the largest share of its light by which a model is brighter than the image."""
    significant = (light > _SEEN * noise) & ~unused
    if not significant.any():
        return np.inf
    too_bright = (-excess[significant] - _EDGE * noise[significant]) / light[significant]
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
