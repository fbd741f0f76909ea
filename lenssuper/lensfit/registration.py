"""
The vector of a fit to one or several observations: a lens, and offsets between the observations.

The WCS of two cameras agree to a part of a pixel only. After the parameters of the lens, the vector holds for
each observation but the first the shift that aligns it with the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from lenssuper.lens import LensModel
from lenssuper.lensfit.parameters import FreeParameters

__all__ = ["Registration", "TrialLens"]

# Typical misregistration in arcsec, the unit of the steps of derivatives
_SPREAD = 0.04


@dataclass(frozen=True, eq=False)
class TrialLens:
    """A lens in plain numbers, as an optimiser tries it on one observation."""

    template: LensModel  # the kind of lens
    values: dict[str, float]  # its parameters (arcsec, radian, 1), by the names of `template.values()`
    shift: tuple[float, float] = (0.0, 0.0)  # arcsec: the observation's (x, y) lies at (x, y) + shift

    def rays_arcsec(self, x, y):
        """Return the source-plane positions of positions of the observation, all in arcsec."""
        return self.template.rays_arcsec(x + self.shift[0], y + self.shift[1], self.values)


class Registration:
    """
    Parameters of a lens, and offsets of the n - 1 observations after the first.

    ``std`` is the standard deviation, in arcsec, of the Gaussian prior on each coordinate of an offset;
    without it, the offsets are fixed to 0.
    """

    def __init__(self, parameters: FreeParameters, n: int = 1, std: float | None = None) -> None:
        self.parameters = parameters
        self.n_observations = n
        self._n = len(parameters)
        self._std = 1.0 if std is None else std
        self._n_offsets = 0 if std is None else 2 * (n - 1)

    def __len__(self) -> int:
        return self._n + self._n_offsets

    def begin(self, vector: np.ndarray) -> np.ndarray:
        """Append zero offsets to a vector of lens parameters."""
        return np.concatenate([vector, np.zeros(self._n_offsets)])

    def lens(self, vector: np.ndarray) -> LensModel:
        """Return the lens of a vector."""
        return self.parameters.lens(vector[: self._n])

    def offsets(self, vector: np.ndarray) -> np.ndarray:
        """Return the offsets in a vector, or in one of errors, (n, 2) in arcsec; that of the first is 0."""
        offsets = np.zeros((self.n_observations, 2))
        if self._n_offsets:
            offsets[1:] = vector[self._n :].reshape(-1, 2)
        return offsets

    def trial(self, vector: np.ndarray, observation: int) -> TrialLens:
        """Return the lens of a vector as one of the observations sees it."""
        shift = tuple(self.offsets(vector)[observation].tolist())
        return TrialLens(self.parameters.template, self.parameters.values(vector[: self._n]), shift)

    def moving(self, observations: tuple[int, ...]) -> list[int]:
        """Return the elements of the vector on which some of the observations depend."""
        offsets = range(self._n, len(self))
        return [*range(self._n), *(k for k in offsets if (k - self._n) // 2 + 1 in observations)]

    def inside(self, vector: np.ndarray) -> np.ndarray:
        """Move a vector into the range of the parameters."""
        return np.concatenate([self.parameters.inside(vector[: self._n]), vector[self._n :]])

    @property
    def spread(self) -> np.ndarray:
        """Typical error of each element of a guess."""
        return np.concatenate([self.parameters.spread, np.full(self._n_offsets, _SPREAD)])

    def prior_residuals(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (value - mean) / std for each prior, and the derivatives by the vector."""
        residuals, rows = self.parameters.prior_residuals(vector[: self._n])
        of_offsets = np.eye(self._n_offsets) / self._std
        return np.append(residuals, vector[self._n :] / self._std), linalg.block_diag(rows, of_offsets)

    @property
    def log_prior_norm(self) -> float:
        """Logarithm of the integral of exp(-(sum of squared prior residuals) / 2) over their parameters."""
        of_offsets = self._n_offsets * math.log(self._std * math.sqrt(2 * math.pi))
        return self.parameters.log_prior_norm + of_offsets
