"""Lensing by nearest pixels, as a scatter-add does it."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lenssuper.operators.sampling import RaySampling

__all__ = ["PixelScatter"]


class PixelScatter(RaySampling):
    """Lensing that moves whole pixels to where their centre's ray lands.

    ``adjoint`` is backward lensing by scatter-add: each image pixel is added to the source pixel in which the
    ray through its centre lands; ``delens`` takes the mean of what was added, and ``lens`` looks up the
    nearest source pixel.

    It shows what goes wrong when image pixels have no extent: source pixels that no ray happens to hit stay
    empty, and others are hit several times, in a pattern like a flower around the lens centre.
    `~lenssuper.operators.OverlapOperator` does not have it.

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

    def _weights(self, column, row, shape):
        inside = self._mask.ravel()
        # halves are rounded up, so that the borders of the pixels are those of ``inside``
        i, j = (np.floor(at[inside] + 0.5).astype(int) for at in (column, row))
        rays, (ny, nx) = np.flatnonzero(inside), shape
        return sparse.coo_array((np.ones(rays.size), (rays, j * nx + i)), shape=(inside.size, ny * nx))
