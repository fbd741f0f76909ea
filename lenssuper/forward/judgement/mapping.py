"""Measures of a lens and the arcs alone: whether their images meet in one source."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lenssuper.exceptions import ObservationError
from lenssuper.forward.arcs import arc_region
from lenssuper.forward.judgement.scene import Scene
from lenssuper.lens import LensModel
from lenssuper.observation import Observation

__all__ = ["detached", "gathering", "multiply_imaged", "neighbours", "of_mapping", "with_wings"]

# Two pixels are images of the same part of the source if they are traced to within so many pixels of each
# other, and are so many FWHM apart, or pixels if these are larger.
_SAME, _APART = 0.7, 2.0
# They are also so many Einstein radii apart: an image and its counter-image lie on both sides of the lens,
# some two radii apart. Images that merge are nearer to each other, but have a counter-image too. If it is
# masked or not there, the one object that is left is explained by too many lenses. In 74 mocks with their
# true lenses at least 84% of the light has an image 1.3 radii away or more.
_SIDES = 0.7
# Share of an object's pixels up to which it may be chance that others are traced to the same part
_HARDLY = 0.1
# Surface brightness of an image, over that of another of the same part, below which it is no image of it:
# lenses conserve it, but the PSF dims what is small. Of 80 mocks no object of the source is dimmer
_DIM = 1 / 8
# Objects are separated in all of the light, and in what is brighter than each of these levels, in sigma
_LEVELS = 6.0, 12.0, 24.0, 48.0, 96.0


def of_mapping(scene: Scene) -> dict[str, float]:
    """Return the measures of where the lens takes the light of the arcs, by their names."""
    bright = scene.used & scene.observation.bright
    if not bright.any():
        return {"bright_pixels": 0.0}
    (x, y), light = _positions(scene, bright), np.maximum(scene.observation.data[bright], 0.0)
    several = _several(scene, bright)
    return {
        "bright_pixels": float(len(x)),
        "gathering": gathering(scene.lens, x, y, light),
        "multiple_pixels": float(np.count_nonzero(several)),
        "multiple_share": _share(light, several),
        "lone_share": _share(light, ~_explained(scene)[bright]),
        "detached_share": _share(light, neighbours(scene)[bright]),
    }


def neighbours(scene: Scene) -> np.ndarray:
    """Return the pixels (ny, nx) of bright objects that no other image shows to be lensed, see `detached`."""
    bright = scene.used & scene.observation.bright
    if not bright.any():
        return bright
    light = np.maximum(scene.observation.data[bright], 0.0)
    return _detached_at_any_level(scene, bright, _several(scene, bright, light))


def with_wings(objects: np.ndarray, observation: Observation) -> np.ndarray:
    """
    Return the pixels (ny, nx) of objects, and around them.

    Galaxies have wings: the radius of each is doubled, and the width of the PSF added.
    """
    width = observation.psf_fwhm_arcsec / observation.grid.side_arcsec
    labels, n = ndimage.label(objects, np.ones((3, 3)))
    around = objects.copy()
    for k in range(1, n + 1):
        radius = np.sqrt(np.count_nonzero(labels == k) / np.pi)
        around |= ndimage.distance_transform_edt(labels != k) <= radius + width
    return around


def gathering(lens: LensModel, x: np.ndarray, y: np.ndarray, brightness: np.ndarray) -> float:
    """
    Return the size of the light in the source plane, relative to that in the image.

    It is the ratio of the root mean square distances of the light from its centroids: 1 without a lens, 0.13
    to 0.34 for the true lenses of mocks, above 0.5 with half the radius. Images of one source come from one
    region; behind a lens that hardly magnifies they do not (Maresca, Dye & Li 2021, MNRAS 503, 2229, on such
    unphysical reconstructions). Positions x and y (n,) are in arcsec.
    """

    def size(*positions):
        means = [np.average(v, weights=brightness) for v in positions]
        return np.sqrt(sum(brightness @ (v - mean) ** 2 for v, mean in zip(positions, means, strict=True)))

    return float(size(*lens.rays_arcsec(x, y)) / size(x, y))


def multiply_imaged(
    lens: LensModel,
    x: np.ndarray,
    y: np.ndarray,
    same: float,
    apart: float,
    brightness: np.ndarray | None = None,
) -> np.ndarray:
    """
    Find the positions that show a part of the source that another one shows as well.

    Return an array of bool, True where a ray at (x, y) ends within ``same`` of one that is ``apart`` or more
    away in the image; all in arcsec. If the surface ``brightness`` (n,) at the positions is given, the other
    one must not be much dimmer.
    """
    beta = np.stack(lens.rays_arcsec(x, y), axis=1)
    known = np.flatnonzero(np.isfinite(beta).all(axis=1))
    first, second = cKDTree(beta[known]).query_pairs(same, output_type="ndarray").T
    first, second = known[first], known[second]
    far = np.hypot(x[first] - x[second], y[first] - y[second]) >= apart
    first, second = first[far], second[far]
    found = np.zeros(len(x), dtype=bool)
    if brightness is None:
        brightness = np.ones(len(x))
    found[first[brightness[second] >= _DIM * brightness[first]]] = True
    found[second[brightness[first] >= _DIM * brightness[second]]] = True
    return found


def detached(bright: np.ndarray, several: np.ndarray) -> np.ndarray:
    """
    Find the objects, groups of touching pixels, that no other image shows to be lensed.

    ``bright`` (ny, nx) is True where there is light, and ``several`` says of each of these pixels whether
    another one shows the same part of the source. Return an array of bool (ny, nx), True in the objects in
    which hardly any does.
    """
    labels, n = ndimage.label(bright, np.ones((3, 3)))
    seen = np.bincount(labels[bright], weights=several, minlength=n + 1)
    counts = np.maximum(np.bincount(labels[bright], minlength=n + 1), 1)
    alone = seen < _HARDLY * counts
    alone[0] = False
    return alone[labels]


def _positions(scene, pixels):
    x, y = np.broadcast_arrays(*scene.observation.grid.centers_arcsec())
    return x[pixels], y[pixels]


def _several(scene, bright, brightness=None):
    """Return for every bright pixel whether another, far enough away, shows the same part of the source."""
    side = scene.observation.grid.side_arcsec
    apart = max(_APART * max(scene.observation.psf_fwhm_arcsec, 1.5 * side), _SIDES * scene.radius)
    return multiply_imaged(scene.lens, *_positions(scene, bright), _SAME * side, apart, brightness)


def _detached_at_any_level(scene, bright, several):
    """Find detached objects, also those that touch an arc: they are separated at a higher brightness."""
    image = np.zeros(bright.shape, dtype=bool)
    image[bright] = several
    alone, sigma = detached(bright, several), np.median(scene.observation.sigma[bright])
    for level in _LEVELS:
        brighter = bright & (scene.observation.data > level * sigma)
        if brighter.any():
            alone |= detached(brighter, image[brighter])
    return alone


def _explained(scene):
    """Return the pixels that a source can light up whose images, all of them, have light."""
    try:
        return arc_region(scene.observation, scene.lens)
    except ObservationError:
        return np.zeros(scene.observation.shape, dtype=bool)


def _share(light, which):
    total = float(light.sum())
    return float(light[which].sum()) / total if total > 0 else math.nan
