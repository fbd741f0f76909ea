"""Lensing of a source made of cubic B-splines: smooth in the lens, so that it can be differentiated by it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lenssuper._utils.checks import check_count
from lenssuper.operators import cubicsplines
from lenssuper.operators.base import LensingOperator

if TYPE_CHECKING:
    from lenssuper.lens import LensModel
    from lenssuper.observation.grid import PixelGrid

__all__ = ["SplineSampling", "spline_image"]


class SplineSampling(LensingOperator):
    """Lensing by rays, several in each image pixel, of a source that is a sum of cubic B-splines.

    What it takes are the coefficients of the splines, whose nodes are the pixel centres of the source grid.
    Such a source is smooth, so that the lensed image is a smooth function of the lens, with derivatives that
    follow from the slopes of the source where the rays land.

    Parameters
    ----------
    lens_model : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane, and the nodes of the splines in the source plane.
    rays : int, optional
        Rays along the side of an image pixel; the pixel is their mean.

    Notes
    -----
    A source of coefficients c is s(u, v) = sum_ij c_ij B(u - i) B(v - j), with the cubic B-spline B of width
    four (de Boor 1978, A Practical Guide to Splines, ch. X). Four nodes from the border of its grid and
    further outside it is dark.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from lenssuper import SIS, PixelGrid
    >>> from lenssuper.operators import SplineSampling
    >>> image_grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    >>> source_grid = PixelGrid(shape=(48, 48), pixel_scale=0.05 * u.arcsec)
    >>> op = SplineSampling(SIS(theta_E=1.2 * u.arcsec), image_grid, source_grid)
    >>> bool(np.isclose(op.lens(np.ones(op.in_shape))[32, 46], 1))  # near the Einstein ring
    True
    """

    def __init__(
        self, lens_model: LensModel, image_grid: PixelGrid, source_grid: PixelGrid, *, rays: int = 2
    ) -> None:
        self._n_rays = check_count(rays, "rays")
        x, y = image_grid.refine(rays).centers_arcsec()
        columns, rows = np.broadcast_arrays(*source_grid.to_pixel(*lens_model.rays_arcsec(x, y)))
        ny, nx = source_grid.shape
        near = (-2.0 < columns) & (columns < nx + 1.0) & (-2.0 < rows) & (rows < ny + 1.0)
        self._pixels = np.flatnonzero(_by_pixel(near, rays).any(axis=1))
        self._landings = tuple(_by_pixel(v, rays)[self._pixels] for v in (columns, rows))
        data, indices, pointer = _weights(self._landings[0], self._landings[1], source_grid.shape)
        counts = np.zeros(math.prod(image_grid.shape) + 1, dtype=np.int64)
        counts[self._pixels + 1] = np.diff(pointer)
        matrix = sparse.csr_array(
            (data, indices, np.cumsum(counts)), shape=(len(counts) - 1, math.prod(source_grid.shape))
        )
        super().__init__(lens_model, image_grid, source_grid, matrix)

    def derivatives(
        self,
        source: np.ndarray,
        directions: Iterable[tuple[LensModel, PixelGrid, float]],
        others: np.ndarray,
        weights: np.ndarray,
    ) -> Iterator[tuple[np.ndarray, float]]:
        """Differentiate lensed images with respect to the lens, and to the source grid.

        Parameters
        ----------
        source : ndarray, shape (ny, nx) of the source grid
            The source whose lensed image is wanted.
        directions : iterable of (LensModel, PixelGrid, float)
            For each direction a lens and a source grid a small step away from these, and the length of the
            step.
        others : ndarray, shape (n, ny, nx) of the source grid
            Sources of which only sums over their lensed images are wanted.
        weights : ndarray, shape (n, ny, nx) of the image grid
            Of the pixels in these sums.

        Yields
        ------
        image : ndarray, shape (ny, nx) of the image grid
            Change of the lensed image per unit of the step, for one direction after another; float32.
        sum : float
            Change of the weighted sum over the images of all others. These images are not made, so that a
            direction costs the same however many others there are.
        """
        slopes = self._slopes(source)
        of_others = self._slopes(others, weights)
        for lens_model, source_grid, step in directions:
            ends = source_grid.to_pixel(*lens_model.rays_arcsec(*self._rays))
            moves = [
                ((end - start) / (step * self._n_rays**2)).astype(np.float32)
                for start, end in zip(self._landings, ends, strict=True)
            ]
            image = np.zeros(math.prod(self.out_shape), dtype=np.float32)
            image[self._pixels] = sum((u * slope).sum(axis=1) for u, slope in zip(moves, slopes, strict=True))
            total = sum(float(np.vdot(u, slope)) for u, slope in zip(moves, of_others, strict=True))
            yield image.reshape(self.out_shape), total

    def slopes(self, sources: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the gradient of a source, or of a weighted sum of several, where the rays land.

        Parameters
        ----------
        sources : ndarray, shape (ny, nx) or (n, ny, nx) of the source grid
            Coefficients of their splines.
        weights : ndarray, shape (n, ny, nx) of the image grid, optional
            Of each source in each pixel; by default one.

        Returns
        -------
        ndarray, shape (2, ny, nx) of the image grid refined by the number of rays
            Derivatives with respect to x and y in the source plane, per arcsec; 0 where a ray misses the
            source; float32.
        """
        found = np.zeros((2, math.prod(self.out_shape), self._n_rays**2), dtype=np.float32)
        # the chain rule from pixels of the source grid to arcsec
        slopes = self._slopes(sources, weights)
        found[:, self._pixels] = np.tensordot(np.linalg.inv(self._source_grid.matrix).T, slopes, axes=1)
        (ny, nx), rays = self.out_shape, self._n_rays
        return found.reshape(2, ny, nx, rays, rays).swapaxes(2, 3).reshape(2, ny * rays, nx * rays)

    def _slopes(self, sources, weights=None):
        """Return slopes (2, pixels, rays) along columns and rows, in pixels of the source grid."""
        sources = sources.reshape(-1, self.shape[1])
        if weights is None:
            weights = np.ones((len(sources), len(self._pixels)))
        else:
            weights = weights.reshape(len(sources), -1)[:, self._pixels]
        sources, weights = (np.ascontiguousarray(each.T, dtype=np.float32) for each in (sources, weights))
        found = np.zeros((2, *self._landings[0].shape), dtype=np.float32)
        cubicsplines.add_slopes(*self._landings, *self.in_shape, sources, weights, *found)
        return found

    @cached_property
    def _rays(self):
        """Image-plane positions x, y of the rays that reach the source, each (pixels, rays)."""
        positions = np.broadcast_arrays(*self._image_grid.refine(self._n_rays).centers_arcsec())
        return tuple(_by_pixel(v, self._n_rays)[self._pixels] for v in positions)


def spline_image(coefficients: np.ndarray, grid: PixelGrid, finer: PixelGrid) -> np.ndarray:
    """Evaluate a sum of cubic B-splines with the pixel centres of ``grid`` as nodes at those of ``finer``."""
    positions = grid.to_pixel(*np.broadcast_arrays(*finer.centers_arcsec()))
    columns, rows = (v.reshape(-1, 1) for v in positions)
    parts = _weights(columns, rows, grid.shape)
    matrix = sparse.csr_array(parts, shape=(math.prod(finer.shape), coefficients.size))
    return (matrix @ coefficients.ravel()).reshape(finer.shape)


def _by_pixel(values, rays):
    """Sort values at the rays of an image, (ny rays, nx rays), by pixel: (pixels, rays^2)."""
    ny, nx = (n // rays for n in values.shape)
    return values.reshape(ny, rays, nx, rays).swapaxes(1, 2).reshape(ny * nx, rays**2)


def _weights(columns, rows, shape):
    """
    Give data, indices and row pointer of the matrix from coefficients to means over the rays of each pixel.

    Rays land at columns and rows, each (pixels, rays), of splines (ny, nx) = shape.
    """
    pixels, rays = columns.shape
    room = 16 * pixels * rays
    pointer = np.zeros(pixels + 1, dtype=np.int64)
    indices, data = np.empty(room, dtype=np.int32), np.empty(room)
    cubicsplines.weights(*map(np.ascontiguousarray, (columns, rows)), *shape, pointer, indices, data)
    return data[: pointer[-1]].copy(), indices[: pointer[-1]].copy(), pointer
