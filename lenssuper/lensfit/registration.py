"""
The lens, and where several observations of it are: the vector of a fit to all of them.

The WCS of two cameras agree to a part of a pixel only. After the parameters of the lens the vector has, for
each observation but the first, by how much it has to be moved to lie where the first one is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lenssuper.lens import LensModel
from lenssuper.lensfit.parameters import FreeParameters

__all__ = ["Displaced", "Registration"]

# Typical misregistration in arcsec: what the steps of derivatives are measured by
_SPREAD = 0.04


@dataclass(frozen=True, eq=False)
class Displaced:
    """
    A lens for an observation whose coordinates are off.

    What the observation has at (x, y) is at (x, y) + ``shift``, and so are lens and source.

    Attributes
    ----------
    lens : LensModel
    shift : (float, float)
        In arcsec.
    """

    lens: LensModel
    shift: tuple[float, float]

    def deflection_arcsec(self, x, y):
        """Deflection that takes the observation's coordinates to the place in the source plane."""
        dx, dy = self.shift
        alpha_x, alpha_y = self.lens.deflection_arcsec(x + dx, y + dy)
        return alpha_x - dx, alpha_y - dy


class Registration:
    """
    Parameters of a lens, and offsets of the observations after the first.

    Parameters
    ----------
    parameters : FreeParameters
        Of the lens.
    n : int, optional
        Number of observations.
    std : float, optional
        Standard deviation, in arcsec, of the Gaussian prior on each coordinate of an offset; by default the
        observations stay where they are.
    """

    def __init__(self, parameters: FreeParameters, n: int = 1, std: float | None = None) -> None:
        self.parameters = parameters
        self.n_observations = n
        self._std = std
        self._n_offsets = 0 if std is None else 2 * (n - 1)

    def __len__(self) -> int:
        return len(self.parameters) + self._n_offsets

    def begin(self, vector: np.ndarray) -> np.ndarray:
        """Give the vector of a lens's vector, all observations where they are."""
        return np.concatenate([vector, np.zeros(self._n_offsets)])

    def of_lens(self, vector: np.ndarray) -> np.ndarray:
        """Give the part of a vector that is the lens's."""
        return vector[: len(self.parameters)]

    def lens(self, vector: np.ndarray) -> LensModel:
        """Give the lens of a vector."""
        return self.parameters.lens(self.of_lens(vector))

    def offsets(self, of_vector: np.ndarray) -> np.ndarray:
        """Give what a vector (or its errors) says of the observations, (n, 2) in arcsec, the first 0."""
        offsets = np.zeros((self.n_observations, 2))
        if self._n_offsets:
            offsets[1:] = of_vector[len(self.parameters) :].reshape(-1, 2)
        return offsets

    def seen_by(self, vector: np.ndarray, observation: int) -> LensModel | Displaced:
        """Give the lens of a vector as one observation has it before its pixels."""
        lens, shift = self.lens(vector), self.offsets(vector)[observation]
        return Displaced(lens, tuple(shift.tolist())) if shift.any() else lens

    def moving(self, observations: tuple[int, ...]) -> list[int]:
        """Tell which elements of the vector matter to some of the observations."""
        first = len(self.parameters)
        elements = list(range(first))
        if self._n_offsets:
            elements += [first + 2 * (k - 1) + axis for k in observations if k > 0 for axis in (0, 1)]
        return elements

    def inside(self, vector: np.ndarray) -> np.ndarray:
        """Bring a vector into the range of its parameters."""
        return np.concatenate([self.parameters.inside(self.of_lens(vector)), vector[len(self.parameters) :]])

    @property
    def spread(self) -> np.ndarray:
        """How far from the truth an element of a guess may be."""
        return np.concatenate([self.parameters.spread, np.full(self._n_offsets, _SPREAD)])

    def prior_residuals(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give (value - mean) / std for each prior, and the derivatives with respect to the vector."""
        n = len(self.parameters)
        residuals, rows = self.parameters.prior_residuals(self.of_lens(vector))
        if not self._n_offsets:
            return residuals, rows
        every = np.zeros((len(rows) + self._n_offsets, len(self)))
        every[: len(rows), :n] = rows
        every[len(rows) :, n:] = np.eye(self._n_offsets) / self._std
        return np.append(residuals, vector[n:] / self._std), every

    @property
    def log_prior_norm(self) -> float:
        """Logarithm of the integral of exp(-(sum of squared prior residuals) / 2) over what has a prior."""
        norm = self.parameters.log_prior_norm
        if self._n_offsets:
            norm += self._n_offsets * math.log(self._std * math.sqrt(2 * math.pi))
        return norm
