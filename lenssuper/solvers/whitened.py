"""The linear problem with a quadratic prior, in coordinates in which the prior is white noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve, lapack
from scipy.optimize import minimize_scalar

from lenssuper._utils.threads import in_threads
from lenssuper.solvers.numerics import LanczosRun, batches, conjugate_gradients, dot
from lenssuper.solvers.priors import sine_transform

if TYPE_CHECKING:
    from lenssuper.forward.joint import JointForwardModel
    from lenssuper.forward.model import ForwardModel

__all__ = ["EvidenceCurve", "WhitenedProblem", "cholesky"]

# Up to this many source pixels matrices are faster than iterations. At 576 pixels all eigenvalues take 0.14
# to 0.19 s of one core, and estimates of them 0.27 to 0.78 s; a Cholesky decomposition takes 0.08 to 0.10 s,
# and conjugate gradients to 1e-8 take 0.09 to 0.9 s (mocks of 26 to 60 pixels a side, two priors). At 784
# pixels both take about the same
_FEW = 600
# That number grows as this power of the number of right sides, which share one decomposition: 64 draws of
# 2304 pixels take 1.7 s with a matrix and 1.5 to 8 s without, 16 of 1444 pixels 0.6 s, and 0.3 to 2.4 s
_SHARED = 1 / 3
# Source pixels whose columns are computed at once
_CHUNK = 64
# Largest number of weights (12 bytes each) of the PSF as a matrix
_MOST_WEIGHTS = 30_000_000
# Share of entries that are not zero above which a matrix is multiplied as a dense one: at 0.12 to 0.2, which
# PSF and lens fill for 256 to 2500 source pixels, that takes half of the time or less, and at 0.05 more
_DENSE = 0.1
# Steps of the Lanczos iteration between two tests of convergence, and in all
_STEPS_AT_ONCE, _MOST_STEPS = 40, 400
# The strength is searched between these multiples of the largest eigenvalue: at the lower end the data
# determine every mode, at the upper end none
_RANGE = 1e-10, 1e3


class WhitenedProblem:
    """
    Least squares with a quadratic prior: |z - G xi|^2 + lambda |xi|^2.

    z are the data in units of the noise, and the source is s = R^(-1/2) xi, so that G = A R^(-1/2) / sigma.
    ``precision`` (ny, nx) are the eigenvalues of R on sine waves. Problems of more than ``dense_limit``
    source pixels, and large ones, are solved without matrices.
    """

    def __init__(self, model: ForwardModel, precision: np.ndarray, dense_limit: int) -> None:
        self.model = model
        self.dense_limit = dense_limit
        self.data = model.whiten(model.data)
        self._operator = model.whitened
        self._amplitude = precision**-0.5
        self.shape = model.in_shape

    def for_model(self, model: ForwardModel) -> WhitenedProblem:
        """Return the same prior with another model of the same source grid."""
        return WhitenedProblem(model, self._amplitude**-2, self.dense_limit)

    def is_small(self, n: int = 1) -> bool:
        """Return whether matrices are the faster way to solve for ``n`` right sides."""
        return self._amplitude.size <= min(self.dense_limit, _FEW * n**_SHARED)

    def source(self, xi: np.ndarray) -> np.ndarray:
        """Return the source of coordinates (..., ny, nx)."""
        return sine_transform(self._amplitude * xi)

    def adjoint(self, image: np.ndarray) -> np.ndarray:
        """Apply G' to images in units of the noise."""
        return self._amplitude * sine_transform(self._operator.adjoint(image))

    def normal(self, xi: np.ndarray) -> np.ndarray:
        """Apply G'G."""
        return self.adjoint(self._operator.forward(self.source(xi)))

    def dense_normal(self) -> np.ndarray:
        """Return G'G as a new matrix (n, n), n being the number of source pixels."""
        return self._normal_of_few.copy() if self.is_small() else self._dense_normal()

    @cached_property
    def _normal_of_few(self) -> np.ndarray:
        """G'G, kept: the evidence, the source and its draws need it, and a small problem has room for it."""
        return self._dense_normal()

    def __getstate__(self) -> dict:
        # the matrix can be computed again
        return {name: value for name, value in self.__dict__.items() if name != "_normal_of_few"}

    def _dense_normal(self):
        size = self._amplitude.size
        normal = _normal_matrix(self.model)

        def whiten(first):
            rows = normal[first : first + _CHUNK]
            rows[...] = (self._amplitude * sine_transform(rows.reshape(-1, *self.shape))).reshape(rows.shape)

        for _ in range(2):  # along the rows, and after transposition along the columns
            list(in_threads(whiten, range(0, size, _CHUNK)))
            normal = np.ascontiguousarray(normal.T)
        return normal

    def solve(
        self, strength: float, right: np.ndarray, tol: float, inverse: Callable | None = None
    ) -> tuple[np.ndarray, bool]:
        """
        Solve (G'G + lambda) xi = right; return xi and whether it converged.

        The right sides are any number of images (..., ny, nx). Small problems are solved to rounding, others
        to residuals of ``tol`` times the right side. ``inverse`` solves a problem that is close, for one
        right side: some iterations are then faster than matrices.
        """
        flat = right.reshape(-1, self._amplitude.size).T
        if inverse is None and self.is_small(flat.shape[1]):
            factor = cholesky(self.dense_normal(), strength)
            return cho_solve((factor, True), flat, check_finite=False).T.reshape(right.shape), True
        limit = 5000
        xi, iterations = conjugate_gradients(
            lambda v: self.normal(v) + strength * v, right, tol=tol, max_iterations=limit, inverse=inverse
        )
        return xi, iterations < limit

    def fluctuations(self, strength: float, n: int, rng: np.random.Generator, tol: float) -> np.ndarray:
        """
        Draw ``n`` times from the posterior, less its mean, in the coordinates xi.

        They are the least-squares solutions for data and prior replaced by draws of their noise, whose
        covariance is exactly (G'G + lambda)^-1 (Papandreou & Yuille 2010; Orieux et al. 2012).
        """

        def right(rng):
            noise, prior = self._noise(rng), rng.standard_normal(self.shape)
            return self.adjoint(noise) + np.sqrt(strength) * prior

        return self._solutions(strength, right, rng.spawn(n), tol)

    def changes_by_noise(self, strength: float, n: int, rng: np.random.Generator, tol: float) -> np.ndarray:
        """Return by how much ``n`` realisations of the noise change the least-squares solution."""
        return self._solutions(strength, lambda rng: self.adjoint(self._noise(rng)), rng.spawn(n), tol)

    def _noise(self, rng):
        return np.where(self.model.weights > 0, rng.standard_normal(self.data.shape), 0.0)

    def _solutions(self, strength, right, rngs, tol):
        """Solve for the right side that each random generator makes."""

        def solutions(rngs):
            return self.solve(strength, np.stack([right(rng) for rng in rngs]), tol)[0]

        # the matrix of a small problem is decomposed once for all
        parts = [rngs] if self.is_small(len(rngs)) else batches(rngs)
        return np.concatenate(list(in_threads(solutions, parts)))

    def evidence_curve(self, probes: Sequence[np.ndarray] | np.ndarray, tol: float) -> EvidenceCurve:
        """
        Return the evidence as a function of the strength.

        The probes are random signs, for stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017, SIAM J.
        Matrix Anal. Appl. 38, 1075) if there are too many eigenvalues to compute. The Lanczos iteration ends
        when the log-determinant changes by less than ``tol`` in ten steps.
        """
        right = self.adjoint(self.data)
        constant = self.model.log_norm - 0.5 * float(dot(self.data, self.data))
        if self.is_small():
            values, vectors = np.linalg.eigh(self.dense_normal())
            projections = (right.ravel() @ vectors) ** 2
            return EvidenceCurve(constant, values, projections, values, np.ones(values.size))
        # the data and one random vector determine the number of steps
        pilots = [LanczosRun(self.normal, vector) for vector in (right, probes[0])]
        log_det, steps = np.inf, 0
        while steps < _MOST_STEPS:
            steps += _STEPS_AT_ONCE
            data, first = in_threads(lambda run: run.extend(_STEPS_AT_ONCE).quadrature(), pilots)
            curve = EvidenceCurve(constant, *data, *first)
            previous, log_det = log_det, curve.half_log_det(curve.best_strength())
            if abs(log_det - previous) < tol * _STEPS_AT_ONCE / 10:
                break
        others = in_threads(
            lambda probe: LanczosRun(self.normal, probe).extend(steps).quadrature(), probes[1:]
        )
        nodes, weights = (np.concatenate(parts) for parts in zip(first, *others, strict=True))
        return EvidenceCurve(constant, data[0], data[1], nodes, weights / len(probes))


def cholesky(normal: np.ndarray, strength: float) -> np.ndarray:
    """Return the lower Cholesky factor of ``normal + strength``; ``normal`` is used up."""
    normal[np.diag_indices_from(normal)] += strength
    # the transpose of a symmetric matrix is the matrix itself, in LAPACK's order: nothing is copied
    factor, info = lapack.dpotrf(normal.T, lower=1, clean=1, overwrite_a=1)
    if info:
        raise ValueError(
            "strength must be large enough for the prior to fill in what the data do not measure; "
            f"got {strength}"
        )
    return factor


def _normal_matrix(model: ForwardModel | JointForwardModel) -> np.ndarray:
    """Return F = A' C_D^-1 A of a model as a dense matrix, the sum of those of its observations."""
    first, *others = map(_normal_matrix_of_one, model.parts)
    return sum(others, first)


def _normal_matrix_of_one(model: ForwardModel) -> np.ndarray:
    size = model.shape[1]
    if model.shape[0] * model.blur.kernel.size <= _MOST_WEIGHTS:
        matrix = model.blur.as_sparse() @ model.lensing.matrix
        matrix = sparse.diags_array(np.sqrt(model.weights).ravel()) @ matrix
        if model._whitener is not None:
            matrix = model._whitener.matrix @ matrix
        entries = size * matrix.shape[0]
        if _DENSE * entries < matrix.nnz and entries <= _MOST_WEIGHTS:
            matrix = matrix.toarray()
            return matrix.T @ matrix
        return (matrix.T @ matrix).toarray()
    # the PSF is so large that its matrix would not fit: column by column
    normal = np.zeros((size, size))
    normal[np.diag_indices(size)] = 1
    whitened = model.whitened

    def fill(first):
        columns = normal[first : first + _CHUNK]
        images = columns.reshape(-1, *model.in_shape)
        columns[...] = whitened.adjoint(whitened.forward(images)).reshape(columns.shape)

    list(in_threads(fill, range(0, size, _CHUNK)))
    return normal


@dataclass(frozen=True)
class EvidenceCurve:
    r"""
    The evidence of a prior as a function of its strength lambda.

    With the eigenvalues :math:`\mu` of :math:`G^T G`, and the squared projections :math:`b` of :math:`G^T z`
    on its eigenvectors (Suyu et al. 2006, MNRAS 371, 983, eq. 19, in these coordinates),

    .. math:: \ln Z = \mathrm{const} + \tfrac12 \sum \frac{b}{\mu + \lambda}
              - \tfrac12 \sum \ln\left(1 + \frac{\mu}{\lambda}\right) .

    ``data_nodes`` and ``data_weights`` are eigenvalues and the squared projections on them, ``nodes`` and
    ``weights`` eigenvalues and how often each occurs.
    """

    constant: float
    data_nodes: np.ndarray
    data_weights: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray

    def __post_init__(self) -> None:
        # G'G has no negative eigenvalues, but for rounding errors
        for name in ("data_nodes", "nodes"):
            object.__setattr__(self, name, np.maximum(getattr(self, name), 0.0))

    def log_evidence(self, strength) -> float:
        """Return the logarithm of the evidence."""
        explained = 0.5 * float(self.data_weights @ (1 / (self.data_nodes + strength)))
        return self.constant + explained - self.half_log_det(strength)

    def half_log_det(self, strength: float) -> float:
        """Return log det(1 + G'G / lambda) / 2."""
        return 0.5 * float(self.weights @ np.log1p(self.nodes / strength))

    def modes(self, strength: float) -> float:
        """Return the number of modes that the data measure better than the prior."""
        return float(self.weights @ (self.nodes / (self.nodes + strength)))

    def curvature(self, strength: float) -> float:
        """Return the second derivative of the log evidence with respect to log lambda."""
        total = self.data_nodes + strength
        data = -0.5 * self.data_weights @ (strength * (self.data_nodes - strength) / total**3)
        return float(data - 0.5 * self.weights @ (strength * self.nodes / (self.nodes + strength) ** 2))

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of the logarithm of the strength that is searched."""
        top = self.nodes.max()
        return float(np.log(_RANGE[0] * top)), float(np.log(_RANGE[1] * top))

    def best_strength(self) -> float:
        """Return the strength that maximises the evidence."""

        def cost(u):
            return -self.log_evidence(np.exp(u))

        trial = np.linspace(*self.bounds, 80)
        k = int(np.argmin([cost(u) for u in trial]))
        bracket = trial[max(k - 1, 0)], trial[min(k + 1, len(trial) - 1)]
        return float(
            np.exp(minimize_scalar(cost, bounds=bracket, method="bounded", options={"xatol": 1e-6}).x)
        )
