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

__all__ = ["Registration", "TrialLens"]

# Typical misregistration in arcsec: what the steps of derivatives are measured by
_SPREAD = 0.04


@dataclass(frozen=True, eq=False)
class TrialLens:
    """
    A lens in plain numbers, as an optimiser tries it on one observation.

    Attributes
    ----------
    template : LensModel
        The kind of lens.
    values : dict of str to float
        Its parameters (arcsec, radian, 1), by the names of ``template.values()``.
    shift : (float, float)
        Offset, in arcsec, of the observation: what it has at (x, y) lies at (x, y) + ``shift``.
    """

    template: LensModel
    values: dict[str, float]
    shift: tuple[float, float] = (0.0, 0.0)

    def rays_arcsec(self, x, y):
        """Return the source-plane positions of positions of the observation, all in arcsec."""
        return self.template.rays_arcsec(x + self.shift[0], y + self.shift[1], self.values)


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

    def trial(self, vector: np.ndarray, observation: int) -> TrialLens:
        """Return the lens of a vector as one of the observations sees it."""
        shift = tuple(self.offsets(vector)[observation].tolist())
        return TrialLens(self.parameters.template, self.parameters.values(self.of_lens(vector)), shift)

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
