r"""
The gain of the fit by a perturbation at each of many positions, source and smooth lens marginalised.

With the whitened residuals r of the most probable source, its Jacobian J in units of the prior,
:math:`Q = 1 - J (1 + J^T J)^{-1} J^T` and the derivatives M by nuisances of prior precision P, the
perturbation of derivative a has the information and the numerator

.. math::

   i = a^T Q a - a^T Q M F^{-1} M^T Q a, \qquad F = M^T Q M + P, \qquad
   n = a^T r - d - a^T Q M F^{-1} g,

with the derivatives d of half the log determinant of the evidence by the perturbation, and g of the log
evidence by the nuisances; the amplitude n / i with the error i^(-1/2), and the gain T = n^2 / i of twice the
log evidence. The residuals of the most probable source hold Q already: a'Qr would project the source out
twice. At the maximum of the evidence g is zero, but not M'r: without d, whatever is like a change of the
smooth lens would be a false peak of a'r.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from lenssuper.lensfit.evidence import Inversion

__all__ = ["Marginal"]

# Perturbations that are worked on at once: copies of all of them would need much memory
_CHUNK = 128


@dataclass(frozen=True, eq=False)
class Marginal:
    """
    The source and the nuisances of an inversion, ready to be marginalised for any perturbation.

    ``nuisances`` (data, m) are the derivatives by the parameters of the smooth lens, ``precision`` (m, m)
    that of their priors, ``slope`` (m,) is the gradient of evidence and priors, 0 at their maximum.
    """

    inversion: Inversion
    nuisances: np.ndarray
    precision: np.ndarray
    slope: np.ndarray
    _projected: np.ndarray = field(init=False, repr=False)
    _of_priors: np.ndarray = field(init=False, repr=False)
    _of_slope: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        half = self._half(self.nuisances)
        matrix = self.nuisances.T @ self.nuisances - half.T @ half + self.precision
        lower = np.linalg.cholesky(matrix)
        values, vectors = np.linalg.eigh(self.precision)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        object.__setattr__(self, "_projected", solve_triangular(lower, self._q(self.nuisances).T, lower=True))
        object.__setattr__(self, "_of_priors", solve_triangular(lower, root, lower=True))
        object.__setattr__(self, "_of_slope", solve_triangular(lower, self.slope, lower=True))

    def information(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the information (n,) of derivatives (data, n), and that with the nuisances fixed."""
        fixed, lost = (np.zeros(columns.shape[1]) for _ in range(2))
        projected = self._projected.astype(np.float32)
        for part in _chunks(columns):
            each = columns[:, part]
            fixed[part] = _squares(each) - _squares(self._half(each))
            lost[part] = _squares(projected @ each)
        return fixed - lost, fixed

    def matrix(self, columns: np.ndarray) -> np.ndarray:
        """Return the information matrix (n, n) of derivatives (data, n)."""
        half, lost = self._half(columns), self._projected.astype(np.float32) @ columns
        return (columns.T @ columns - half.T @ half - lost.T @ lost).astype(np.float64)

    def numerator(self, columns: np.ndarray, determinant: np.ndarray) -> np.ndarray:
        """Return the numerator (n,) of derivatives (data, n) of the data, and (n,) of the determinant."""
        left = self.inversion.residuals - self._projected.T @ self._of_slope
        found = [columns[:, part].T.astype(np.float64) @ left for part in _chunks(columns)]
        return np.concatenate(found) - determinant

    def noise(self, columns: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """
        Draw numerators (n, columns) of data without a perturbation.

        Sources, nuisances and noise are draws from their priors: the covariance of the residuals is then Q.
        """
        draws = rng.standard_normal((len(self.inversion.residuals), n))
        # Q of draws of data whose covariance is the inverse of Q, with the nuisances projected out
        white = rng.standard_normal((len(self._strengths), n))
        draws += self.inversion.design.data(white / np.sqrt(self._strengths)[:, None])
        residuals = self._q(draws)
        residuals -= self._projected.T @ (
            self._projected @ draws - self._of_priors @ rng.standard_normal((len(self.precision), n))
        )
        return (columns.T @ residuals.astype(np.float32)).T

    @property
    def _strengths(self):
        """Prior precision of the coefficients of the inversion."""
        inversion = self.inversion
        shapes, n = len(inversion.basis.shapes), len(inversion.coefficients)
        return np.where(np.arange(n) < shapes, inversion.strength, 1.0)

    def _half(self, data):
        design, factor = self.inversion.design, self.inversion.factor
        if data.dtype == np.float32:  # derivatives
            design, factor = design.single, self._single_factor
        return solve_triangular(factor, design.transposed(data), lower=True)

    @cached_property
    def _single_factor(self):
        return self.inversion.factor.astype(np.float32)

    def _q(self, data):
        """Apply Q."""
        half = self._half(data)
        back = solve_triangular(self.inversion.factor, half, lower=True, trans="T")
        return data - self.inversion.design.data(back)


def _chunks(columns):
    return [slice(first, first + _CHUNK) for first in range(0, columns.shape[1], _CHUNK)]


def _squares(columns):
    return np.einsum("ij,ij->j", columns, columns, dtype=np.float64)
