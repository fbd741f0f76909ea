"""The pixels that can show light of the source: the arcs, and counter-images that are too faint to see."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from lenssuper._utils.checks import check_kind
from lenssuper.exceptions import ObservationError
from lenssuper.forward.sourcegrid import default_source_grid
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["arc_region"]

# Share, by area, of the images of a position that must have light for it to belong to the source.
_SHARE = 0.35
# Rays along the side of a pixel: enough to find where its light comes from, in less time than areas take.
_RAYS = 8
# Share of a star's light within the distance by which the region is grown.
_ENCLOSED = 0.8


def arc_region(observation: Observation, lens: LensModel, *, light: np.ndarray | None = None) -> np.ndarray:
    """
    Find the pixels that show the source, its faint images included.

    Parameters
    ----------
    observation : Observation
        Of the arcs, without the light of the lens.
    lens : LensModel
    light : array of bool, shape (ny, nx), optional
        Pixels in which arcs are seen; by default `~lenssuper.Observation.bright`.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where there can be light of the source.

    Raises
    ------
    ObservationError
        If there is no light, or none that the lens maps to one source.

    Notes
    -----
    The pixels with light are mapped to the source plane. A position there belongs to the source if a third
    or more of its images, by area, have light. The source found in this way is lensed forward again: it
    appears in all its images, however faint, while light without the counter-images that it should have (a
    star near the ring, residuals of the lens galaxy) is dropped. The region is grown by the radius that
    encloses 80 per cent of a star.
    """
    check_kind(lens, "lens", LensModel)
    light = observation.bright if light is None else np.asarray(light, dtype=bool)
    if light.shape != observation.shape:
        raise ValueError(f"light must have the shape of the data, {observation.shape}; got {light.shape}")
    if not light.any():
        raise ObservationError(
            "no pixel of the observation is significantly above the noise: there is no arc to find"
        )
    grid = default_source_grid(observation, lens, 1)
    pixels, cells = _landings(observation.grid, lens, grid)
    size = math.prod(grid.shape)
    seen = np.bincount(cells[~observation.mask.ravel()[pixels]], minlength=size).reshape(grid.shape)
    used = (light & ~observation.mask).ravel()[pixels]
    shining = np.bincount(cells[used], minlength=size).reshape(grid.shape)
    source = ndimage.binary_closing((shining > 0) & (shining > _SHARE * seen), iterations=2)
    source = ndimage.binary_dilation(ndimage.binary_opening(source), iterations=2)
    region = np.zeros(observation.shape, dtype=bool)
    region.flat[pixels[source.ravel()[cells]]] = True
    if not region.any():
        raise ObservationError(f"{lens!r} maps no light of the observation to one part of the source plane")
    reach = _radius(observation)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return ndimage.binary_dilation(region, x**2 + y**2 <= reach**2)


def _landings(
    image_grid: PixelGrid, lens: LensModel, source_grid: PixelGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat indices of pixels and of the source pixels in which rays through them land."""
    rows, columns = np.nonzero(_may_land(image_grid, lens, source_grid))
    within = (np.arange(_RAYS) + 0.5) / _RAYS - 0.5
    x, y = image_grid.to_offset(columns[:, None, None] + within, rows[:, None, None] + within[:, None])
    column, row = (np.rint(v).astype(int) for v in source_grid.to_pixel(*lens.rays_arcsec(x, y)))
    on = (column >= 0) & (column < source_grid.shape[1]) & (row >= 0) & (row < source_grid.shape[0])
    pixels = np.broadcast_to((rows * image_grid.shape[1] + columns)[:, None, None], on.shape)
    return pixels[on], (row * source_grid.shape[1] + column)[on]


def _may_land(image_grid: PixelGrid, lens: LensModel, source_grid: PixelGrid) -> np.ndarray:
    """
    Return the pixels (ny, nx) some of whose rays may land on the source grid.

    The rays of a pixel are taken to end in the box around those of its corners, made three times as large.
    """
    traced = source_grid.to_pixel(*lens.rays_arcsec(*image_grid.vertices_arcsec()))
    near = np.ones(image_grid.shape, dtype=bool)
    for position, n in zip(traced, source_grid.shape[::-1], strict=True):
        corners = np.stack([position[:-1, :-1], position[:-1, 1:], position[1:, :-1], position[1:, 1:]])
        low, high = corners.min(axis=0), corners.max(axis=0)
        size = high - low
        # not ``low < ...``: a ray through a singular centre may end nowhere
        near &= ~((high + size < -1) | (low - size > n))
    return near


def _radius(observation):
    """Return the radius, in whole pixels, that encloses most of a star."""
    if observation.psf is None:
        return 1
    ny, nx = observation.psf.shape
    y, x = np.mgrid[:ny, :nx]
    distance = np.hypot(x - nx // 2, y - ny // 2).ravel()
    order = np.argsort(distance)
    within = distance[order][np.searchsorted(np.cumsum(observation.psf.ravel()[order]), _ENCLOSED)]
    return max(1, round(within / observation.psf_oversampling))
