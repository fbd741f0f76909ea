"""Observations of one source, and how a lens is compared with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lenssuper.lens import LensModel
from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.registration import Displaced, Registration
from lenssuper.lensfit.sourceplane import gathering, light_grid
from lenssuper.lensfit.stack import Stack
from lenssuper.observation.grid import PixelGrid
from lenssuper.solvers.priors import QuadraticPrior

__all__ = ["Problem"]

Seen = LensModel | Displaced


@dataclass(frozen=True, eq=False)
class Problem:
    """
    What is fitted: observations of one source, and by what.

    Attributes
    ----------
    exposures : tuple of Exposure
        The observations.
    places : tuple of int
        Which they are of all that ``registration`` knows.
    factor : int
        Lensed pixels along the side of an observed one.
    registration : Registration
        The parameters.
    prior : QuadraticPrior
        Of the source.
    """

    exposures: tuple[Exposure, ...]
    places: tuple[int, ...]
    factor: int
    registration: Registration
    prior: QuadraticPrior

    def lens(self, vector: np.ndarray) -> Seen | tuple[Seen, ...]:
        """The lens as the camera takes it: one, or for several observations a tuple."""
        lenses = tuple(self.registration.seen_by(vector, place) for place in self.places)
        return lenses if len(lenses) > 1 else lenses[0]

    def camera(self, lens: Seen | tuple[Seen, ...], grid: PixelGrid) -> Camera | Stack:
        """The way from the source to the data."""
        cameras = [
            Camera(
                each.part,
                each.pixel_weights,
                each.lit_part,
                self.factor,
                seen,
                grid,
                each.others,
                whitener=each.whitener,
            )
            for each, seen in zip(self.exposures, self._each(lens), strict=True)
        ]
        return Stack(cameras, grid) if len(cameras) > 1 else cameras[0]

    def light_grid(self, lens: Seen | tuple[Seen, ...], finer: float) -> PixelGrid:
        """Pixels of the source plane around the light, which the clearest observation shows."""
        return light_grid(*self._clearest(lens), finer)

    def gathering(self, lens: Seen | tuple[Seen, ...]) -> float:
        """How near to each other a lens takes the light of the arcs."""
        return gathering(*self._clearest(lens))

    @property
    def side(self) -> float:
        """Side of an observed pixel, in arcsec."""
        return self.clearest.part.grid.side_arcsec

    @property
    def clearest(self) -> Exposure:
        """The observation that shows the light best."""
        return max(self.exposures, key=lambda each: each.signal)

    def _clearest(self, lens):
        each = self.clearest
        return each.part, self._each(lens)[self.exposures.index(each)], each.lit_part

    def _each(self, lens):
        return lens if len(self.exposures) > 1 else (lens,)
