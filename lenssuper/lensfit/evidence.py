r"""
The evidence of a lens, with the source integrated out.

With a Gaussian prior on the source, s = R^(-1/2) xi with xi white of variance 1 / lambda, and the whitened
operator G = W^(1/2) A R^(-1/2), the evidence Z of the data z is

.. math:: -2 \ln Z = \min_\xi |z - G \xi|^2 + \lambda |\xi|^2 + \ln\det(1 + G^T G / \lambda) + \mathrm{const}

(Suyu et al. 2006, MNRAS 371, 983, eq. 19). Its derivatives with respect to the lens follow from those of the
operator applied to a few sources: the best one (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413; Kaufman
1975) and, for the determinant, random draws from its posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import fft, linalg
from scipy.linalg import cho_solve, lapack, solve_triangular

from lenssuper.lensfit.design import DesignMatrix
from lenssuper.lensfit.lensedsource import Lenses, SourcePlane
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators import SplineSampling

__all__ = ["Inversion", "SourceBasis", "SourcePrior", "invert"]

# Number of draws from which the derivative of the determinant is estimated
_DRAWS = 24
# Number of modes below which a source counts as not seen
_UNSEEN = 0.1
# Sources that are transformed at once: few enough to stay near the processor
_CHUNK = 16


class SourcePrior:
    """
    A Gaussian prior on the source: a stationary field times an envelope of its brightness.

    ``precision`` (ny, nx) are the eigenvalues of the field's inverse covariance on sine waves, ``envelope``
    (ny, nx) the relative standard deviation of every pixel.
    """

    def __init__(self, precision: np.ndarray, envelope: np.ndarray | None = None) -> None:
        self.amplitude = (precision**-0.5).astype(np.float32)
        envelope = np.ones_like(precision) if envelope is None else envelope
        self.envelope = envelope.astype(np.float32)
        self._rows, self._columns = (_through_nodes(n) for n in precision.shape)
        self._row_waves, self._column_waves = (_sine_waves(n) for n in precision.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the source."""
        return self.amplitude.shape

    def source(self, xi: np.ndarray) -> np.ndarray:
        """Return the spline coefficients (n, pixels) of the sources of white coordinates (n, pixels)."""

        def one_way(x):
            field = self._row_waves @ (self.amplitude * x) @ self._column_waves
            return self._rows @ (self.envelope * field) @ self._columns

        return self._flat(one_way, xi)

    def adjoint(self, source: np.ndarray) -> np.ndarray:
        """Apply the adjoint of `source`."""

        def other_way(x):
            field = self.envelope * (self._rows @ x @ self._columns)
            return self.amplitude * (self._row_waves @ field @ self._column_waves)

        return self._flat(other_way, source)

    def _flat(self, function, images):
        found = np.empty(images.shape, dtype=np.float32)
        for first in range(0, len(images), _CHUNK):
            part = images[first : first + _CHUNK]
            found[first : first + _CHUNK] = function(part.reshape(-1, *self.shape)).reshape(part.shape)
        return found


def _through_nodes(n):
    """Return the symmetric matrix from values at the nodes to coefficients of cubic B-splines."""
    values = np.eye(n) * 4 / 6 + (np.eye(n, k=1) + np.eye(n, k=-1)) / 6
    return np.linalg.inv(values).astype(np.float32)


def _sine_waves(n):
    """
    Return the symmetric matrix of the sine transform along an axis.

    As a matrix it is up to four times as fast as by FFT at a hundred pixels: the FFT is of length 2 (n + 1),
    which may have a large prime factor.
    """
    return fft.dst(np.eye(n), type=1, norm="ortho").astype(np.float32)


class SourceBasis:
    """
    The few shapes of a source that the data can measure, in units of the prior.

    Far fewer modes than the source has pixels are above the noise behind the whitened operator G. Shapes (n,
    pixels) that span them are found for one lens, as G^T G times random vectors (Halko, Martinsson & Tropp
    2011, SIAM Review 53, 217, section 4.5), and serve for similar lenses. The coefficients of a draw from the
    prior are white, of variance 1 / strength.
    """

    def __init__(self, shapes: np.ndarray) -> None:
        self.shapes = np.ascontiguousarray(shapes, dtype=np.float32)

    def combine(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the sources (pixels, ...) of coefficients (n, ...)."""
        return self.shapes.T @ coefficients.astype(np.float32)

    @classmethod
    def of(
        cls,
        prior: SourcePrior,
        plane: SourcePlane,
        lensing: tuple[SplineSampling, ...],
        size: int,
        rng: np.random.Generator,
    ) -> SourceBasis:
        """Find ``size`` shapes that hold the leading modes behind one lens."""
        n = prior.amplitude.size
        random = rng.standard_normal((min(size, n), n), dtype=np.float32)
        images = plane.observe(lensing, prior.source(random))
        turned = prior.adjoint(plane.adjoint(lensing, images))
        # any orthonormal vectors will do: which of them are modes makes no difference to their span
        found, _ = linalg.qr(turned.T, mode="economic", overwrite_a=True, check_finite=False)
        return cls(prior.source(np.ascontiguousarray(found.T)))


@dataclass(frozen=True, eq=False)
class Inversion:
    """
    The most probable source for one lens and one prior.

    Most of its memory is in matrices that are made when they are needed, and kept from then on.
    """

    plane: SourcePlane
    basis: SourceBasis
    lenses: Lenses  # as each observation sees them
    coefficients: np.ndarray  # (n + K,), of the shapes of the basis, and of the observations' other images
    residuals: np.ndarray  # (data,), data less model, in units of the noise
    cost: float  # minus the logarithm of the evidence
    strength: float  # the lambda of the prior
    modes: float  # how many modes of the source the data measure

    def bare(self) -> Inversion:
        """Return a copy without these matrices, to be kept."""
        return replace(self)

    @cached_property
    def lensing(self) -> tuple[SplineSampling, ...]:
        """From source to lensed image, for each observation."""
        return self.plane.lensing(self.lenses)

    @cached_property
    def design(self) -> DesignMatrix:
        """From coefficients to data, (data, n + K)."""
        return _design(self.plane, self.basis, self.lensing)

    @cached_property
    def factor(self) -> np.ndarray:
        """Cholesky factor (n + K, n + K) of the inverse covariance of the coefficients."""
        gram = self.design.gram(self.plane.source.of_others)
        return _factor(gram, len(self.basis.shapes), self.strength)

    @cached_property
    def grid(self) -> PixelGrid:
        """Pixels of the source plane."""
        return self.plane.grid(self.lenses)

    @property
    def source(self) -> np.ndarray:
        """Coefficients of the source's B-splines on `grid`, shape (ny, nx)."""
        flat = self.basis.combine(self.coefficients[: len(self.basis.shapes)])
        return flat.reshape(self.grid.shape)

    @property
    def others(self) -> np.ndarray:
        """Amplitudes of the other images of the observations, shape (K,)."""
        return self.coefficients[len(self.basis.shapes) :]

    @property
    def chi2(self) -> float:
        """Sum of the squared residuals."""
        return float(self.residuals @ self.residuals)

    def derivatives(
        self, directions: Sequence[tuple[Lenses, float]], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return gradient and Gauss-Newton matrix of the cost with respect to the lens.

        Each of the ``directions`` is a lens a small step away, and the length of the step.
        """
        jacobian, determinant = self.changes(directions, self.draws(_DRAWS, rng))
        gradient = determinant - self.residuals @ jacobian
        half = solve_triangular(self.factor, self.design.transposed(jacobian), lower=True)
        return gradient, jacobian.T @ jacobian - half.T @ half

    def draws(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws from the posterior of the coefficients, less their mean: (coefficients, n)."""
        white = rng.standard_normal((len(self.coefficients), n))
        return solve_triangular(self.factor, white, lower=True, trans="T")

    def changes(
        self, directions: Sequence[tuple[Lenses, float]], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return derivatives by the lens: of the data (data, directions), and of half the log determinant.

        The latter, (directions,), are estimated from `draws`.
        """
        n = len(self.basis.shapes)
        sources = self.basis.combine(np.column_stack([self.coefficients, draws])[:n]).T
        jacobian, determinant = self.plane.derivatives(
            self.lensing, directions, sources[0], sources[1:], self.design.data(draws)
        )
        return jacobian.astype(np.float64), determinant / draws.shape[1]


def invert(
    plane: SourcePlane, basis: SourceBasis, lenses: Lenses, strength: float, *, tune: int = 0
) -> Inversion:
    """
    Find the most probable source behind a lens, as each observation sees it, and the evidence.

    ``strength``, the lambda of the prior, takes at most ``tune`` steps towards the largest evidence (MacKay
    1992, Neural Comput. 4, 415).
    """
    data, constant = plane.source.data, plane.source.constant
    lensing = plane.lensing(lenses)
    design = _design(plane, basis, lensing)
    gram = design.gram(plane.source.of_others)
    right = design.transposed(data)
    n = len(basis.shapes)
    for step in range(tune + 1):
        factor = _factor(gram, n, strength)
        coefficients = cho_solve((factor, True), right)
        inverse = lapack.dtrtri(factor, lower=1)[0][:, :n]
        modes = n - strength * float(np.vdot(inverse, inverse))
        if modes < _UNSEEN:
            break
        change = np.log(modes / (strength * float(coefficients[:n] @ coefficients[:n])))
        if step == tune or abs(change) < 1e-3:
            break
        strength *= float(np.exp(np.clip(change, -3, 3)))
    log_det = 2 * float(np.sum(np.log(np.diag(factor)))) - n * np.log(strength)
    cost = 0.5 * (float(data @ data) - float(right @ coefficients) + log_det - constant)
    residuals = data - design.data(coefficients)
    found = Inversion(plane, basis, lenses, coefficients, residuals, cost, strength, modes)
    found.__dict__.update(lensing=lensing, design=design, factor=factor)  # they are known
    return found


def _design(plane, basis, lensing):
    return DesignMatrix(plane.observe(lensing, basis.shapes), plane.source.others)


def _factor(gram, n, strength):
    """Return the Cholesky factor for n shapes of a source and a strength of their prior."""
    system = gram.copy()
    system[np.diag_indices_from(system)] += np.where(np.arange(len(gram)) < n, strength, 1.0)
    return np.linalg.cholesky(system)
