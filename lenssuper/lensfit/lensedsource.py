"""One source behind the lens, and one or several observations of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import linalg

from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.registration import Registration, TrialLens
from lenssuper.lensfit.sourceplane import carried_along, gathering, light_grid
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators import SplineSampling
from lenssuper.solvers.priors import QuadraticPrior

__all__ = ["LensedSource", "Lenses", "SourcePlane"]

# A lens as each observation of a source sees it
Lenses = tuple[TrialLens, ...]


@dataclass(frozen=True, eq=False)
class LensedSource:
    """A source, and the observations that show it."""

    exposures: tuple[Exposure, ...]
    positions: tuple[int, ...]  # of the exposures among all of the registration
    factor: int  # lensed pixels along the side of an observed one
    registration: Registration  # the parameters of the fit
    prior: QuadraticPrior  # of the source

    def lenses(self, vector: np.ndarray) -> Lenses:
        """Return the lens of a vector of parameters, as each observation sees it."""
        return tuple(self.registration.trial(vector, position) for position in self.positions)

    @cached_property
    def cameras(self) -> tuple[Camera, ...]:
        """From lensed images to the data, for each observation."""
        return tuple(Camera(exposure, self.factor) for exposure in self.exposures)

    @cached_property
    def data(self) -> np.ndarray:
        """Data of all observations over their noise, one after another, shape (data,)."""
        return np.concatenate([camera.data for camera in self.cameras])

    @cached_property
    def others(self) -> np.ndarray:
        """Other images of each observation, 0 in the data of the rest, shape (data, K)."""
        return linalg.block_diag(*(camera.others for camera in self.cameras))

    @cached_property
    def of_others(self) -> np.ndarray:
        """Products (K, K) of the other images with each other."""
        return self.others.T @ self.others

    @property
    def constant(self) -> float:
        """Twice the logarithm of the density of the noise at its peak."""
        return sum(camera.constant for camera in self.cameras)

    def of_each(self, data: np.ndarray) -> list[np.ndarray]:
        """Split data (data, ...) by observation."""
        return np.split(data, np.cumsum([len(camera.data) for camera in self.cameras])[:-1])

    @cached_property
    def rough(self) -> LensedSource:
        """The same on larger pixels, where the fields have many, for a fit that is improved afterwards."""
        larger = tuple(exposure.binned(exposure.coarsest) for exposure in self.exposures)
        if larger == self.exposures or not any(exposure.bright.any() for exposure in larger):
            return self
        return replace(self, exposures=larger)

    def tolerant(self, share: float) -> LensedSource:
        """Return the same with a share of the brightness of the arcs added to the noise."""
        return replace(self, exposures=tuple(exposure.tolerant(share) for exposure in self.exposures))

    @property
    def clearest(self) -> Exposure:
        """The observation with the largest signal-to-noise ratio."""
        return self.exposures[self._clearest]

    @cached_property
    def _clearest(self):
        return int(np.argmax([exposure.signal for exposure in self.exposures]))

    def light_grid(self, lenses: Lenses, finer: float) -> PixelGrid:
        """Return a grid around the light in the source plane, see `sourceplane.light_grid`."""
        return light_grid(self.clearest, lenses[self._clearest], finer)

    def gathering(self, lenses: Lenses) -> float:
        """Return the relative size of the light in the source plane, see `sourceplane.gathering`."""
        return gathering(self.clearest, lenses[self._clearest])


class SourcePlane:
    """
    Pixels of the source plane that move along with the light of the arcs.

    Most of what a small change of the lens does to the source plane is to shift, scale and shear it. The
    grid, nodes of the source's B-splines for the first lens, is moved likewise, by the affine map between the
    source-plane positions of the light behind the first lens and behind another one. A prior from a first
    source then does not hold the lens at its first parameters.
    """

    def __init__(self, source: LensedSource, grid: PixelGrid, lenses: Lenses) -> None:
        self.source = source
        self._grid = grid
        self._at_first = self._light(lenses)
        self._weights = np.concatenate([np.sqrt(exposure.light[2]) for exposure in source.exposures])

    def _light(self, lenses):
        """Source-plane positions (2, n) of the pixels with light of all observations."""
        each = zip(self.source.exposures, lenses, strict=True)
        rays = [lens.rays_arcsec(*exposure.light[:2]) for exposure, lens in each]
        return np.concatenate(rays, axis=1)

    def grid(self, lenses: Lenses) -> PixelGrid:
        """Return the pixels of the source plane behind a lens."""
        return carried_along(self._grid, self._at_first, self._light(lenses), self._weights)

    def affine(self, moves: np.ndarray) -> np.ndarray:
        """
        Return the affine maps by which `grid` follows small moves (2, light, n) of the light.

        Shape (3, 2, n): the derivatives of both coordinates by x and y of the first lens, and shifts.
        """
        rows = self._weights[:, None] * np.column_stack([self._at_first.T, np.ones(self._at_first.shape[1])])
        return np.tensordot((np.linalg.pinv(rows) * self._weights).astype(moves.dtype), moves, axes=(1, 1))

    def moved_grids(self, lenses: Lenses, step: float) -> list[PixelGrid]:
        """Return the grid behind a lens, moved by a step of each of the six elements of `affine`."""
        grid, found = self.grid(lenses), []
        for element in np.eye(6):
            change = step * element.reshape(3, 2)
            matrix = grid.matrix + change[:2].T @ self._grid.matrix
            origin = grid.origin + change[:2].T @ self._grid.origin + change[2]
            found.append(PixelGrid.from_affine(grid.shape, matrix, origin, grid._reference))
        return found

    def lensing(self, lenses: Lenses) -> tuple[SplineSampling, ...]:
        """Return the operator from the source to the lensed image of each observation."""
        grid = self.grid(lenses)
        return tuple(
            SplineSampling(lens, camera.image_grid, grid)
            for lens, camera in zip(lenses, self.source.cameras, strict=True)
        )

    def observe(self, lensing: tuple[SplineSampling, ...], sources: np.ndarray) -> np.ndarray:
        """Return the data (data, n) of sources (n, coefficients)."""
        images = sources.reshape(-1, *self._grid.shape)
        return np.concatenate([camera.observe(images, each) for camera, each in self._with(lensing)])

    def adjoint(self, lensing: tuple[SplineSampling, ...], data: np.ndarray) -> np.ndarray:
        """Apply the adjoint of `observe`: sources (n, coefficients) of data (data, n)."""
        parts = zip(self._with(lensing), self.source.of_each(data), strict=True)
        found = sum(camera.adjoint(part, each) for (camera, each), part in parts)
        return found.reshape(len(found), -1)

    def derivatives(
        self,
        lensing: tuple[SplineSampling, ...],
        directions: Iterable[tuple[Lenses, float]],
        source: np.ndarray,
        others: np.ndarray,
        weights: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the derivatives (data, directions) of the data of a source (coefficients,).

        And those (directions,) of a sum over the data of other sources: ``others`` (n, coefficients), each
        datum times its weight in ``weights`` (data, n). ``lensing`` is that of the lens; each of the
        ``directions`` is a lens a small step away, and the length of the step.
        """
        ends = [(lenses, self.grid(lenses), step) for lenses, step in directions]
        source, others = (each.reshape(*each.shape[:-1], *self._grid.shape) for each in (source, others))
        data, sums = [], np.zeros(len(ends))
        for k, (camera, operator) in enumerate(self._with(lensing)):
            in_images = camera.adjoint(self.source.of_each(weights)[k])
            own = [(lenses[k], grid, step) for lenses, grid, step in ends]
            images, changes = zip(*operator.derivatives(source, own, others, in_images), strict=True)
            data.append(camera.observe(np.array(images)))
            sums += changes
        return np.concatenate(data), sums

    def _with(self, lensing):
        return zip(self.source.cameras, lensing, strict=True)
