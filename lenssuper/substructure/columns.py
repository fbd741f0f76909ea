r"""
How the data change with a perturbation of the lens, at many positions at once.

A perturbation of the potential t dpsi moves the rays by -t grad dpsi, and so changes the model of the
whitened data by t a, with

.. math:: a = -W^{1/2} D P [(\partial_1 s) \, \partial_1 \delta\psi + (\partial_2 s) \, \partial_2 \delta\psi]

and the gradient of the source s where the rays land (Koopmans 2005, MNRAS 363, 1136, eq. 9; Vegetti &
Koopmans 2009, MNRAS 392, 945). The source is a sum of B-splines, which have a gradient everywhere.

The evidence holds a determinant as well, half of whose logarithm changes by the mean of :math:`(G s_k)^T a_k`
over draws s_k from the posterior of the source, less its mean, where G is the whitened operator and a_k the
derivative with the source s_k (Hutchinson 1990, Commun. Stat. Simul. Comput. 19, 433).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lenssuper.lensfit.evidence import Inversion
from lenssuper.lensfit.lensedsource import Lenses
from lenssuper.substructure.shifts import shifted

__all__ = ["Columns", "Deflection"]

# Deflection (x, y) in arcsec at offsets (x, y) in arcsec from the middle of a perturber
Deflection = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Positions that are worked on at once: few enough for their images to stay near the processor
_CHUNK = 16
# The same where little is made for each: few enough not to need much memory
_SEVERAL = 128
# Step of the derivatives by the position of the source grid, in source pixels
_STEP = 1e-4


class Columns:
    """
    Derivatives of the data, in units of the noise, by perturbations of the lens of an inversion.

    Perturbers lie on a lattice: the corners of the rays' cells, so that shifts of one array of deflections
    serve all of them. ``lenses`` is the lens of the inversion, ``draws`` (coefficients, n) are those of its
    source, for the determinant of the evidence.
    """

    def __init__(self, inversion: Inversion, lenses: Lenses, draws: np.ndarray) -> None:
        self._inversion = inversion
        (self._camera,), (operator,) = inversion.plane.source.cameras, inversion.lensing
        (exposure,) = inversion.plane.source.exposures
        source = inversion.source
        self._slopes = operator.slopes(source)
        self.rays = self._slopes.shape[1] // operator.out_shape[0]
        self.cells = self._camera.image_grid.refine(self.rays)
        # derivatives by the affine movements of the source grid, which follows the light
        side = inversion.grid.side_arcsec
        self._light = exposure.light[:2]
        (lens,) = lenses
        grids = inversion.plane.moved_grids(lenses, _STEP * side)
        ends = [(lens, grid, _STEP * side) for grid in grids]
        drawn = inversion.basis.combine(draws[: len(inversion.basis.shapes)]).T.reshape(-1, *source.shape)
        # what the data of each draw weigh a lensed pixel with
        weights = self._camera.adjoint(inversion.design.data(draws)) / len(drawn)
        images, changes = zip(*operator.derivatives(source, ends, drawn, weights), strict=True)
        self._follow = self._camera.observe(np.array(images))
        self._follow_determinant = np.array(changes)
        self._pull = operator.slopes(drawn, weights)

    def at(self, deflection: Deflection, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the derivatives by perturbers of a kind at n corners of the lattice.

        Those (data, n) of the data, and (n,) of half the logarithm of the determinant of the evidence.
        ``corners`` (n, 2) are whole numbers, column and row: the corner (0, 0) is the lower left one of the
        first cell.
        """
        kernel, shape = self._kernel(deflection, 0.5), self._camera.image_grid.shape
        found = np.empty((len(self._camera.data), len(corners)), dtype=np.float32)
        determinant = np.empty(len(corners))
        for first in range(0, len(corners), _CHUNK):
            part = corners[first : first + _CHUNK]
            images, pulls = np.zeros((2, len(part), *shape), dtype=np.float32)
            shifted(self._slopes, kernel, part, self.rays, images)
            shifted(self._pull, kernel, part, self.rays, pulls)
            found[:, first : first + _CHUNK] = self._camera.observe(images)
            determinant[first : first + _CHUNK] = pulls.sum(axis=(1, 2), dtype=np.float64)
        return self._followed(found, determinant, self._grid_changes(deflection, corners))

    def _grid_changes(self, deflection, corners):
        """Return the affine changes (6, n) of the source grid by perturbers at corners of the lattice."""
        (columns, rows), kernel = self._corners_of_light, self._kernel(deflection, 0.0)
        ny, nx = self.cells.shape
        found = []
        for first in range(0, len(corners), _SEVERAL):
            i, j = corners[first : first + _SEVERAL].T
            moves = -kernel[:, rows[:, None] - j + ny, columns[:, None] - i + nx]
            found.append(self._affine(moves))
        return np.concatenate(found, axis=1)

    def of(self, deflections: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives, as `at`, by fields of deflection (n, 2, ny, nx) in the cells."""
        ny, nx = self._slopes.shape[1:]
        k = self.rays
        found = np.empty((len(self._camera.data), len(deflections)), dtype=np.float32)
        for first in range(0, len(deflections), _CHUNK):
            part = deflections[first : first + _CHUNK].astype(np.float32)
            images = -np.einsum("cyx,ncyx->nyx", self._slopes, part)
            images = images.reshape(-1, ny // k, k, nx // k, k).mean(axis=(2, 4))
            found[:, first : first + _CHUNK] = self._camera.observe(images)
        determinant = -np.einsum("cyx,ncyx->n", self._pull, deflections, dtype=np.float64) / k**2
        return self._followed(found, determinant, self._grid_changes_of(deflections))

    def _followed(self, found, determinant, changes):
        """Add the changes (6, n) of the source grid, in place: the columns of many positions are large."""
        for first in range(0, changes.shape[1], _SEVERAL):
            part = slice(first, first + _SEVERAL)
            found[:, part] += self._follow @ changes[:, part]
        return found, determinant + self._follow_determinant @ changes

    def _grid_changes_of(self, deflections):
        columns, rows = self._corners_of_light
        # the mean of the four cells around a corner
        around = [deflections[:, :, rows - b, columns - a] for a in (0, 1) for b in (0, 1)]
        return self._affine(-np.mean(around, axis=0).transpose(1, 2, 0))

    def offsets(self, corners: np.ndarray) -> np.ndarray:
        """Return the positions (n, 2) in arcsec of corners (n, 2) of the lattice."""
        return np.stack(self.cells.to_offset(corners[:, 0] - 0.5, corners[:, 1] - 0.5), axis=1)

    def nearest(self, x: float, y: float) -> np.ndarray:
        """Return the corner (2,) nearest to a position in arcsec."""
        return np.round(np.array(self.cells.to_pixel(x, y)) + 0.5).astype(int)

    def _kernel(self, deflection, between):
        """Return deflections (2, 2 ny, 2 nx) by offset: that of (ny, nx) is ``between`` of a cell."""
        ny, nx = self.cells.shape
        columns, rows = np.meshgrid(np.arange(-nx, nx) + between, np.arange(-ny, ny) + between)
        x, y = np.tensordot(self.cells.matrix, [columns, rows], axes=1)
        return np.array(deflection(x, y), dtype=np.float32)

    @property
    def _corners_of_light(self):
        """Corners of the lattice, columns and rows, at the middles of the pixels with light."""
        return tuple(np.round(v + 0.5).astype(int) for v in self.cells.to_pixel(*self._light))

    def _affine(self, moves):
        """Return the changes (6, n) of the source grid, which follows moves (2, light, n) of the light."""
        return self._inversion.plane.affine(moves).reshape(6, -1).astype(np.float32)
