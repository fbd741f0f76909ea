"""Lensing by nearest pixels: what a scatter-add does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lenssuper.operators.base import LensingOperator
from lenssuper.operators.sampling import landings

if TYPE_CHECKING:
    from lenssuper.lens import LensModel
    from lenssuper.observation.grid import PixelGrid

__all__ = ["PixelScatter"]


class PixelScatter(LensingOperator):
    """
    Lensing that moves whole pixels to where their centre's ray lands.

    ``adjoint`` is backward lensing by scatter-add: each image pixel is added to the source pixel in which the
    ray through its centre lands; ``delens`` takes the mean of what was added, and ``lens`` looks up the
    nearest source pixel.

    It is here to be looked at: as image pixels have no extent, source pixels that no ray happens to hit stay
    empty, and others are hit several times. The pattern looks like a flower around the lens centre. Neither
    `~lenssuper.operators.OverlapOperator` nor, going forward, `~lenssuper.operators.BilinearSampling` shows
    it.

    Parameters
    ----------
    lens_model : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane and in the source plane.

    Examples
    --------
    >>> from astropy import units as u
    >>> from lenssuper import SIS, PixelGrid, PixelScatter
    >>> image_grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    >>> source_grid = PixelGrid(shape=(64, 64), pixel_scale=0.05 * u.arcsec)
    >>> op = PixelScatter(SIS(theta_E=1.2 * u.arcsec), image_grid, source_grid)
    >>> bool((op.coverage == 0).any()), int(op.coverage.max()) > 1
    (True, True)
    """

    def __init__(self, lens_model: LensModel, image_grid: PixelGrid, source_grid: PixelGrid) -> None:
        column, row, self._mask = landings(lens_model, image_grid, source_grid)
        inside = self._mask.ravel()
        # halves go up, so that the pixels' borders are those of ``inside``
        i, j = (np.floor(at.ravel()[inside] + 0.5).astype(int) for at in (column, row))
        rays = np.flatnonzero(inside)
        ny, nx = source_grid.shape
        matrix = sparse.coo_array((np.ones(rays.size), (rays, j * nx + i)), shape=(inside.size, ny * nx))
        super().__init__(lens_model, image_grid, source_grid, matrix)

    @property
    def mask(self) -> np.ndarray:
        """Whether the ray through an image pixel's centre lands on the source grid, shape (ny, nx), bool."""
        return self._mask.copy()
