"""A lens model beside the data it is judged by, and the parts of the image: core, arcs and the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lenssuper.forward.whitening import Whitener
from lenssuper.lens import LensModel
from lenssuper.observation import Observation

__all__ = ["Scene"]

# Distances from the lens, in Einstein radii, between which the arcs are; what is nearer is the core.
_CORE, _ARCS = 0.65, 1.5
# A pixel has light if the model is so many sigma bright.
_LIGHT = 1.5


@dataclass(frozen=True, eq=False)
class Scene:
    """
    The data without foreground light, a model of them, and the lens.

    Attributes
    ----------
    observation : Observation
        Of the arcs, without the light of the lens galaxy.
    lens : LensModel
    model : ndarray, shape (ny, nx)
        The arcs as the model has them.
    modes : float
        Number of modes of the source that the data measure; NaN if it is not known.
    """

    observation: Observation
    lens: LensModel
    model: np.ndarray
    modes: float = math.nan

    @cached_property
    def used(self) -> np.ndarray:
        """Pixels that are used."""
        return ~self.observation.mask

    @cached_property
    def residuals(self) -> np.ndarray:
        """(data - model) / sigma; 0 where a pixel is not used."""
        root = np.sqrt(self.observation.weights)
        return np.where(self.used, (self.observation.data - self.model) * root, 0.0)

    @cached_property
    def whitener(self) -> Whitener | None:
        """What makes the noise of the residuals white; None if it is."""
        covariance = self.observation.noise_covariance
        return None if covariance is None else Whitener(self.used, covariance)

    @cached_property
    def white_residuals(self) -> np.ndarray:
        """Residuals in which the noise that neighbouring pixels share is made white."""
        return self.residuals if self.whitener is None else self.whitener.forward(self.residuals)

    @property
    def main(self) -> dict[str, float]:
        """Parameters of the profile with the largest Einstein radius, as plain numbers."""
        parts = [part.values() for part in self.lens.components]
        return max(parts, key=lambda values: values.get("theta_E", 0.0))

    @cached_property
    def center(self) -> tuple[float, float]:
        """Position of the main profile, in arcsec."""
        return self.main["x"], self.main["y"]

    @cached_property
    def radius(self) -> float:
        """Effective Einstein radius in arcsec; 0 if nothing is imaged more than once."""
        try:
            return float(self.lens.einstein_radius().value)
        except ValueError:
            return 0.0

    @cached_property
    def distance(self) -> np.ndarray:
        """Distance of the pixels from the main profile, in Einstein radii but at least pixels."""
        x, y = self.observation.grid.centers_arcsec()
        scale = max(self.radius, self.observation.grid.side_arcsec)
        return np.hypot(x - self.center[0], y - self.center[1]) / scale

    @cached_property
    def bright(self) -> np.ndarray:
        """Pixels in which the data or the model have light."""
        shining = self.model * np.sqrt(self.observation.weights) > _LIGHT
        return self.used & (self.observation.bright | shining)

    @property
    def core(self) -> np.ndarray:
        """Pixels near the centre, where the light of the lens galaxy was subtracted."""
        return self.used & (self.distance < _CORE)

    @property
    def arcs(self) -> np.ndarray:
        """Pixels with light near the Einstein radius."""
        return self.bright & (self.distance >= _CORE) & (self.distance <= _ARCS)

    @property
    def sky(self) -> np.ndarray:
        """Pixels far out in which neither the data nor the model have light."""
        return self.used & ~self.bright & (self.distance > _ARCS)
