"""From one source to the data of several observations of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse

from lenssuper.lens import LensModel
from lenssuper.lensfit.camera import Camera, carried_along
from lenssuper.observation.grid import PixelGrid

__all__ = ["Stack"]


class Stack:
    """
    Cameras that look at one source; their data are put in a row.

    It does what a `Camera` does, but for each lens it takes a tuple, with the lens as each camera has it
    before its pixels.

    Parameters
    ----------
    cameras : sequence of Camera
        With the same source grid.
    source_grid : PixelGrid
        That of all.

    Attributes
    ----------
    data : ndarray, shape (data,)
        Of the pixels that are used, over their noise.
    others : ndarray, shape (data, K)
        The other images of each camera, dark in all the others.
    """

    def __init__(self, cameras: Sequence[Camera], source_grid: PixelGrid) -> None:
        self.cameras = tuple(cameras)
        self._grid = source_grid
        self.data = np.concatenate([camera.data for camera in self.cameras])
        self.others = linalg.block_diag(*(camera.others for camera in self.cameras))
        self.constant = sum(camera.constant for camera in self.cameras)
        self._ends = np.cumsum([len(camera.data) for camera in self.cameras])[:-1]

    def source_grid(self, lenses: tuple[LensModel, ...]) -> PixelGrid:
        """Give the pixels of the source plane, which go along with the light of all observations."""
        light = [camera.light(lens) for camera, lens in self._each(lenses)]
        return carried_along(
            self._grid, *(np.concatenate(parts, axis=-1) for parts in zip(*light, strict=True))
        )

    def lensing(self, lenses: tuple[LensModel, ...]) -> tuple[sparse.csr_array, ...]:
        """Give the matrix of the lens for each camera."""
        grid = self.source_grid(lenses)
        return tuple(camera.lensing(lens, grid) for camera, lens in self._each(lenses))

    def slopes(self, lenses: tuple[LensModel, ...], directions, sources: np.ndarray):
        """Give the derivatives of the data with respect to the lens, as `Camera.slopes` does."""
        directions = [(end, self.source_grid(end), distance) for end, distance in directions]
        grid = self.source_grid(lenses)
        each = [
            camera.slopes_on(
                grid,
                lens,
                [(end[k], end_grid, distance) for end, end_grid, distance in directions],
                sources,
            )
            for k, (camera, lens) in enumerate(self._each(lenses))
        ]
        for parts in zip(*each, strict=True):
            yield np.concatenate(parts)

    def observe(self, matrices: tuple[sparse.csr_array, ...], sources: np.ndarray) -> np.ndarray:
        """Give the data (data, n) of sources (n, coefficients)."""
        return np.concatenate([camera.observe(matrix, sources) for camera, matrix in self._each(matrices)])

    def adjoint(self, matrices: tuple[sparse.csr_array, ...], data: np.ndarray) -> np.ndarray:
        """Give the adjoint of `observe`, (n, coefficients) of data (data, n)."""
        parts = self._split(data)
        return sum(
            camera.adjoint(matrix, part)
            for (camera, matrix), part in zip(self._each(matrices), parts, strict=True)
        )

    def _split(self, data: np.ndarray) -> list[np.ndarray]:
        """Give the data of each observation."""
        return np.split(data, self._ends)

    def pieces(self, data: np.ndarray) -> list[np.ndarray]:
        """Give what there is of each observation, over the noise of each pixel."""
        return [camera.pieces(part)[0] for camera, part in self._each(self._split(data))]

    def _each(self, things):
        return zip(self.cameras, things, strict=True)
