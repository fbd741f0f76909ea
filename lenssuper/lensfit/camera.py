"""From a source made of cubic B-splines to the data, for one lens after another."""

from __future__ import annotations

import numpy as np
import scipy.sparse.linalg
from scipy import sparse

from lenssuper.forward.whitening import Whitener
from lenssuper.lens import LensModel
from lenssuper.lensfit import _splines
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators import BlurAndBin

__all__ = ["Camera", "carried_along"]

# Rays along the side of a pixel of the lensed image
_RAYS = 2
# How far from the source's pixels the ray of a pixel's centre may land for it to be looked at, in its pixels
_NEAR = 4.0
# Images that are blurred at once: few enough to stay near the processor
_CHUNK = 16


class Camera:
    """
    The way from a source to the data, in units of the noise.

    Parameters
    ----------
    observation : Observation
    weights : ndarray, shape (ny, nx)
        One over the variance.
    lit : ndarray of bool, shape (ny, nx)
        Pixels with light of the source.
    factor : int
        Lensed pixels along the side of an observed one.
    lens : LensModel
        The lens for which ``source_grid`` is.
    source_grid : PixelGrid
        Its pixel centres are the nodes of the source's B-splines.
    others : ndarray, shape (K, ny, nx), optional
        Images that have nothing to do with the source, with amplitudes expected to be 0 +- 1.
    whitener : Whitener, optional
        Of the pixels that are used, where neighbours share their noise.

    Attributes
    ----------
    data : ndarray, shape (data,)
        Of the pixels that are used, over their noise, which is white.
    others : ndarray, shape (data, K)
        The other images, likewise.

    Notes
    -----
    The source is smooth, so that what is made of it is smooth in the lens too, with derivatives that follow
    from the slopes of the source where rays land.

    Most of what a small change of the lens does to the source plane is to shift, scale and shear it. The grid
    goes along: its pixels are those of ``source_grid`` after the affine map that takes the light of the arcs
    from where ``lens`` puts it to where another lens does. What is expected of the source by a first look at
    it then does not hold the lens in its place.
    """

    def __init__(
        self,
        observation: Observation,
        weights: np.ndarray,
        lit: np.ndarray,
        factor: int,
        lens: LensModel,
        source_grid: PixelGrid,
        others: np.ndarray | None = None,
        *,
        whitener: Whitener | None = None,
    ) -> None:
        self._blur = BlurAndBin(
            observation.psf,
            factor,
            observation.shape,
            oversampling=observation.psf_oversampling,
            includes_pixel=observation.psf_includes_pixel,
        )
        self._grid = source_grid
        self._image_grid = observation.grid.pad(self._blur.pad).refine(factor)
        self._rays = self._image_grid.refine(_RAYS).centers_arcsec()
        self._places = tuple(v[lit] for v in np.broadcast_arrays(*observation.grid.centers_arcsec()))
        self._brightness = np.sqrt(np.maximum(observation.data[lit], 0.0))
        self._at_first = self._trace(lens, *self._places)
        self.used = weights > 0
        self._roots = np.sqrt(weights[self.used]).astype(np.float32)
        self._whitener = None
        self.constant = float(np.sum(np.log(weights[self.used] / (2 * np.pi))))
        if whitener is not None:
            used = self.used.ravel()
            self._whitener = whitener.matrix[used][:, used]
            self._white, self._white_adjoint = (
                matrix.astype(np.float32).tocsr() for matrix in (self._whitener, self._whitener.T)
            )
            self.constant += 2 * whitener.log_det
        self.data = self._whitened(np.sqrt(weights[self.used]) * observation.data[self.used])
        others = np.zeros((0, *self.used.shape)) if others is None else others
        self.others = self._whitened((others[:, self.used] * np.sqrt(weights[self.used])).T)

    def source_grid(self, lens: LensModel) -> PixelGrid:
        """Give the pixels of the source plane behind a lens."""
        return carried_along(self._grid, *self.light(lens))

    def light(self, lens: LensModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give where the light of the arcs was and where a lens takes it, both (2, n), and its brightness."""
        return self._at_first, self._trace(lens, *self._places), self._brightness

    @staticmethod
    def _trace(lens, x, y):
        alpha_x, alpha_y = lens.deflection_arcsec(x, y)
        return np.stack([x - alpha_x, y - alpha_y])

    def lensing(self, lens: LensModel, grid: PixelGrid | None = None) -> sparse.csr_array:
        """
        Give the matrix of the lens alone, from coefficients of the source to the lensed image.

        Parameters
        ----------
        lens : LensModel
        grid : PixelGrid, optional
            Pixels of the source plane; by default `source_grid`.
        """
        grid = self.source_grid(lens) if grid is None else grid
        pixels = self._near(lens, grid)
        columns, rows = self._landings(lens, grid, pixels)
        data, indices, pointer = _splines.weights(columns, rows, grid.shape)
        counts = np.zeros(self._n_pixels + 1, dtype=np.int64)
        counts[pixels + 1] = np.diff(pointer)
        shape = self._n_pixels, int(np.prod(grid.shape))
        return sparse.csr_array((data, indices, np.cumsum(counts)), shape=shape)

    def slopes(self, lens: LensModel, directions, sources: np.ndarray):
        """
        Give the derivatives of the data of sources with respect to the lens, one direction after another.

        Parameters
        ----------
        lens : LensModel
        directions : list of (LensModel, float)
            For each direction a lens that is a little further that way, and how far.
        sources : ndarray, shape (coefficients, n)

        Yields
        ------
        ndarray, shape (data, n)
        """
        ends = [(end, self.source_grid(end), distance) for end, distance in directions]
        return self.slopes_on(self.source_grid(lens), lens, ends, sources)

    def slopes_on(self, grid: PixelGrid, lens: LensModel, directions, sources: np.ndarray):
        """As `slopes`, with the pixels of the source plane given, and beside the lenses of the directions."""
        pixels = self._near(lens, grid)
        here = self._landings(lens, grid, pixels)
        slope_x, slope_y = _splines.gradients(*here, grid.shape, np.asarray(sources))
        for end, end_grid, distance in directions:
            there = self._landings(end, end_grid, pixels)
            u, v = ((b - a) / (distance * _RAYS**2) for a, b in zip(here, there, strict=True))
            images = np.zeros((self._n_pixels, slope_x.shape[2]), dtype=np.float32)
            images[pixels] = np.einsum("pr,prn->pn", u.astype(np.float32), slope_x)
            images[pixels] += np.einsum("pr,prn->pn", v.astype(np.float32), slope_y)
            yield self.expose(images)

    @property
    def _n_pixels(self):
        return int(np.prod(self._image_grid.shape))

    def _near(self, lens, grid):
        """The pixels of the lensed image that may see the source, as flat indices."""
        columns, rows = grid.to_pixel(*self._trace(lens, *self._image_grid.centers_arcsec()))
        ny, nx = grid.shape
        beside, above = np.abs(columns - (nx - 1) / 2), np.abs(rows - (ny - 1) / 2)
        return np.flatnonzero((beside < nx / 2 + _NEAR) & (above < ny / 2 + _NEAR))

    def _landings(self, lens, grid, pixels):
        """Where the rays of pixels land, as columns and rows of the source, each (pixels, rays)."""
        x, y = (self._of_pixels(v, pixels) for v in np.broadcast_arrays(*self._rays))
        return grid.to_pixel(*self._trace(lens, x, y))

    def _of_pixels(self, values, pixels):
        ny, nx = self._image_grid.shape
        blocks = values.reshape(ny, _RAYS, nx, _RAYS).swapaxes(1, 2).reshape(ny * nx, _RAYS**2)
        return blocks[pixels]

    def expose(self, images: np.ndarray) -> np.ndarray:
        """Blur and weight lensed images (pixels, n), or one (pixels,): (data, n), or (data,)."""
        columns = images.reshape(len(images), -1)
        found = self._exposed(lambda part: columns[:, part], columns.shape[1])
        return found.reshape(-1, *images.shape[1:])

    def observe(self, matrix: sparse.csr_array, sources: np.ndarray) -> np.ndarray:
        """Give the data (data, n) of sources (n, coefficients) behind the lens of a matrix."""
        return self._exposed(lambda part: matrix @ sources[part].T, len(sources))

    def _whitened(self, scaled):
        """What is over the noise of each pixel (data, ...), so that the noise is white."""
        return scaled if self._whitener is None else self._whitener @ scaled

    def pieces(self, data: np.ndarray) -> list[np.ndarray]:
        """Give what there is of each observation, here one, over the noise of each pixel."""
        if self._whitener is None:
            return [data]
        return [scipy.sparse.linalg.spsolve_triangular(self._whitener, data, lower=True)]

    def _exposed(self, images, n):
        found = np.empty((n, len(self._roots)), dtype=np.float32)
        for first in range(0, n, _CHUNK):
            part = slice(first, min(first + _CHUNK, n))
            lensed = np.ascontiguousarray(images(part).T, dtype=np.float32)
            blurred = self._blur.forward(lensed.reshape(-1, *self._image_grid.shape))
            found[part] = blurred[:, self.used] * self._roots
        return found.T if self._whitener is None else self._white @ found.T

    def adjoint(self, matrix: sparse.csr_array, data: np.ndarray) -> np.ndarray:
        """Give the adjoint of `observe`, (n, coefficients) of data (data, n)."""
        found = np.empty((data.shape[1], matrix.shape[1]), dtype=np.float32)
        transposed = matrix.T.tocsr()
        if self._whitener is not None:
            data = self._white_adjoint @ data.astype(np.float32)
        for first in range(0, data.shape[1], _CHUNK):
            part = slice(first, min(first + _CHUNK, data.shape[1]))
            images = np.zeros((part.stop - first, *self.used.shape), dtype=np.float32)
            images[:, self.used] = data[:, part].T * self._roots
            lensed = self._blur.adjoint(images).reshape(len(images), -1)
            found[part] = (transposed @ lensed.T).T
        return found


def carried_along(grid: PixelGrid, before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> PixelGrid:
    """
    Move, scale and shear a grid as places have been.

    Parameters
    ----------
    grid : PixelGrid
    before, after : ndarray, shape (2, n)
        Places in arcsec.
    weights : ndarray, shape (n,)
        How much each of them counts in the least squares.
    """
    places = np.column_stack([before.T, np.ones(before.shape[1])])
    weights = weights[:, None]
    change, *_ = np.linalg.lstsq(weights * places, weights * after.T, rcond=1e-10)
    matrix, shift = change[:2].T, change[2]
    return PixelGrid.from_affine(
        grid.shape, matrix @ grid.matrix, matrix @ grid.origin + shift, grid._reference
    )
