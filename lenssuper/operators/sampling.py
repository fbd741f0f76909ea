"""Lensing by interpolation: one ray per image pixel."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lenssuper.operators.base import LensingOperator

if TYPE_CHECKING:
    from lenssuper.lens import LensModel
    from lenssuper.observation.grid import PixelGrid

__all__ = ["BilinearSampling", "RaySampling"]


class RaySampling(LensingOperator):
    """Lensing by one ray per image pixel; a subclass defines how a ray samples the source.

    Parameters
    ----------
    lens_model : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane and in the source plane.
    """

    def __init__(self, lens_model: LensModel, image_grid: PixelGrid, source_grid: PixelGrid) -> None:
        # where the rays land, in pixels of the source grid (not finite where a lens is singular)
        column, row = source_grid.to_pixel(*lens_model.rays_arcsec(*image_grid.centers_arcsec()))
        ny, nx = source_grid.shape
        self._mask = (-0.5 <= column) & (column < nx - 0.5) & (-0.5 <= row) & (row < ny - 0.5)
        matrix = self._weights(column.ravel(), row.ravel(), source_grid.shape)
        super().__init__(lens_model, image_grid, source_grid, matrix)

    @abstractmethod
    def _weights(self, column, row, shape) -> sparse.coo_array:
        """Return the matrix (rays x source pixels) of rays that land at some positions."""

    @property
    def mask(self) -> np.ndarray:
        """Whether the ray through an image pixel's centre lands on the source grid, shape (ny, nx), bool."""
        return self._mask.copy()


class BilinearSampling(RaySampling):
    """Lensing by bilinear interpolation of the source where the ray through each image pixel's centre lands.

    Smooth and fast, and what most lensing codes do, but a point sample: where the source varies within what
    one image pixel sees, it misses light or counts it twice. `~lenssuper.operators.OverlapOperator` is the
    exact average.

    Parameters
    ----------
    lens_model : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane and in the source plane.

    Notes
    -----
    The source is dark outside its grid: interpolation between its outermost pixel centres and the pixels that
    would come next fades to zero.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from lenssuper import SIS, BilinearSampling, PixelGrid
    >>> image_grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    >>> source_grid = PixelGrid(shape=(48, 48), pixel_scale=0.05 * u.arcsec)
    >>> op = BilinearSampling(SIS(theta_E=1.2 * u.arcsec), image_grid, source_grid)
    >>> op
    <BilinearSampling: (48, 48) -> (64, 64)>
    >>> bool(op.mask[32, 46]), bool(op.mask[0, 0])  # near the Einstein ring, and in a corner of the field
    (True, False)
    """

    def _weights(self, column, row, shape):
        ny, nx = shape
        # rays that land nowhere, or too far away for an integer, are moved beside the grid, with no weight
        near = (np.abs(column) < 2 * nx + 2) & (np.abs(row) < 2 * ny + 2)
        column, row = np.where(near, column, -2.0), np.where(near, row, -2.0)
        left, bottom = np.floor(column).astype(int), np.floor(row).astype(int)
        right_share, top_share = column - left, row - bottom
        rays = np.arange(column.size)
        parts = []
        for j, weight_j in ((bottom, 1 - top_share), (bottom + 1, top_share)):
            for i, weight_i in ((left, 1 - right_share), (left + 1, right_share)):
                weight = weight_i * weight_j
                used = (i >= 0) & (i < nx) & (j >= 0) & (j < ny) & (weight > 0)
                parts.append((weight[used], rays[used], (j * nx + i)[used]))
        weights, rays_used, pixels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.coo_array((weights, (rays_used, pixels)), shape=(column.size, nx * ny))
