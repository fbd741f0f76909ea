"""An observation as a fit of the lens takes it: its arcs, its weights, and the pixels with light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lenssuper.forward.whitening import Whitener
from lenssuper.lensfit.foreground import Foreground
from lenssuper.observation import Observation

__all__ = ["Exposure"]


@dataclass(frozen=True, eq=False)
class Exposure:
    """
    An observation and what is known of it.

    Attributes
    ----------
    observation : Observation
        As it came.
    arcs : Observation
        The same without the foreground that is expected.
    foreground : Foreground or None
    """

    observation: Observation
    arcs: Observation
    foreground: Foreground | None

    @classmethod
    def of(cls, observation: Observation, foreground) -> Exposure:
        """Return an observation with its foreground, which is read from what a user gives."""
        foreground = Foreground.of(foreground, observation)
        arcs = observation if foreground is None else observation.without(foreground.expected)
        return cls(observation, arcs, foreground)

    @property
    def covariance(self) -> np.ndarray | None:
        """Covariance of the noise of neighbours; None if there is none, or only a number."""
        return self.arcs.noise_covariance

    @property
    def raised(self) -> float:
        """Factor by which correlations raise the variance of what is larger than pixels."""
        return self.arcs.noise_correlation

    @cached_property
    def cut(self) -> tuple[slice, slice]:
        """The part of the image that has data."""
        used = ~self.observation.mask
        rows, columns = (np.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
        return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    # What follows is of this part

    @cached_property
    def part(self) -> Observation:
        """The arcs."""
        return self.arcs[self.cut]

    @cached_property
    def weights(self) -> np.ndarray:
        """One over the variance of what is larger than pixels."""
        return self.part.weights / self.raised

    @cached_property
    def whitener(self) -> Whitener | None:
        """What makes the noise of the pixels white, as `covariance` has it; None without."""
        return None if self.covariance is None else Whitener(self.part.weights > 0, self.covariance)

    @property
    def pixel_weights(self) -> np.ndarray:
        """One over the variance to go with `whitener`: that of pixels if there is one."""
        return self.weights if self.covariance is None else self.part.weights

    @property
    def lit_part(self) -> np.ndarray:
        """Pixels with light of the source."""
        return self.part.bright

    @cached_property
    def light(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions x and y, in arcsec, and brightness, 0 or more, of the pixels with light of the source."""
        x, y = np.broadcast_arrays(*self.part.grid.centers_arcsec())
        lit = self.lit_part
        return x[lit], y[lit], np.maximum(self.part.data[lit], 0.0)

    @property
    def others(self) -> np.ndarray | None:
        """Images that may be added to the arcs."""
        return None if self.foreground is None else self.foreground.parts[:, *self.cut]

    @property
    def signal(self) -> float:
        """Square of the S/N of all the light of the source together."""
        lit = self.lit_part
        return float(self.part.data[lit] ** 2 @ self.weights[lit])
