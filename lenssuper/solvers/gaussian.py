"""
Semi-linear inversion: the source under a quadratic prior whose strength maximises the evidence.

Warren & Dye 2003, ApJ 590, 673, for the inversion; Suyu et al. 2006, MNRAS 371, 983, for the evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

from lenssuper._utils.checks import check_count, check_kind, check_number, check_rng
from lenssuper._utils.progress import quietly
from lenssuper._utils.threads import in_threads
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.heldout import predicted_chi2
from lenssuper.solvers.numerics import probes
from lenssuper.solvers.priors import GradientPrior, QuadraticPrior
from lenssuper.solvers.whitened import EvidenceCurve, WhitenedProblem, cholesky

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["Gaussian"]

# Random vectors of an evidence curve, if it is the final result and if exact evidence follows it. Eight find
# the strength to a few per cent
_PROBES, _FEW_PROBES = 8, 3
# Error of its log-determinants, beside the scatter of the random vectors, which is larger
_TOL = 0.5
# Two vectors are enough in the search for the shape of the prior, as they are the same for every shape
_SEARCH_PROBES, _SEARCH_TOL, _SEARCH_EVALUATIONS = 2, 2.0, 25
# Loss of log evidence at which the strength is good enough
_LOSS = 0.05
# Residuals, relative to the right-hand side, of the mean, of draws, and of changes by the noise: at 1e-2 the
# variance of these is 5% too small in the mean of all modes, as those that the data hardly know come last
_MEAN_TOL, _DRAW_TOL, _CHANGE_TOL = 1e-8, 1e-2, 1e-4
# The same of sources without the pixels held out, and of refitted ones, of which small differences count
_HELD_OUT_TOL, _REFIT_TOL = 1e-5, 1e-8
# Source pixels up to which a posterior keeps the root of its covariance, to refit sources with: 9 MB
_MOST_KEPT = 1500


class Gaussian(Solver):
    r"""
    Source under a Gaussian prior, hyper-parameters by maximum evidence.

    Parameters
    ----------
    prior : QuadraticPrior, optional
        `GradientPrior` (by default), `CurvaturePrior` or `MaternPrior`.
    strength : float, optional
        The prior's strength lambda; found by maximum evidence if not given. For a `MaternPrior` it is one
        over the square of the standard deviation.
    n_draws : int, optional
        Draws from the posterior.
    dense_limit : int, optional
        Up to this many source pixels the posterior is computed with dense matrices: error bars and
        evidence are exact. Beyond it, error bars are the scatter of the draws, and log-determinants are
        estimated with random vectors, to a few units of log evidence.

    Notes
    -----
    With data :math:`d`, noise covariance :math:`C` and operator :math:`A`, the mean of the posterior of the
    source solves

    .. math:: (F + \lambda R)\,s = D, \qquad F = A^T C^{-1} A, \qquad D = A^T C^{-1} d

    (Warren & Dye 2003, section 2; Suyu et al. 2006, eq. 12), its covariance is
    :math:`(F + \lambda R)^{-1}`, and

    .. math:: \ln Z = -\tfrac12 (\chi^2 + \lambda s^T R s) - \tfrac12 \ln\det(F + \lambda R)
              + \tfrac12 \ln\det(\lambda R) - \tfrac12 \ln\det(2 \pi C)

    (Suyu et al. 2006, eq. 19), all terms included. The number of effective modes is
    :math:`N_s - \lambda\,\mathrm{tr}\left[(F + \lambda R)^{-1} R\right]` (MacKay 1992, Neural Computation
    4, 415, section 4).

    Examples
    --------
    >>> from lenssuper import ForwardModel
    >>> from lenssuper.simulate import random_mock
    >>> from lenssuper.solvers import Gaussian, GradientPrior
    >>> mock = random_mock(1, shape=(16, 16))
    >>> model = ForwardModel(mock.observation, mock.lens)
    >>> posterior = Gaussian(GradientPrior()).solve(model, rng=1)
    >>> posterior.mean.shape == model.source_grid.shape
    True
    """

    takes_covariance = True

    def __init__(
        self,
        prior: QuadraticPrior | None = None,
        *,
        strength: float | None = None,
        n_draws: int = 16,
        dense_limit: int = 5000,
    ) -> None:
        prior = GradientPrior() if prior is None else prior
        self.prior = check_kind(prior, "prior", QuadraticPrior, "a QuadraticPrior, e.g. GradientPrior()")
        self.strength = None if strength is None else check_number(strength, "strength", above=0)
        self.n_draws = check_count(n_draws, "n_draws")
        self.dense_limit = dense_limit

    def solve(self, model: ForwardModel, *, rng=None, report: Callable | None = None) -> Posterior:
        """Find the source; see `Solver.solve`."""
        tune_rng, draw_rng, split_rng = check_rng(rng).spawn(3)
        report = report or quietly
        report(0.0, "tuning the prior by its evidence")
        parameters = self._shape(model, tune_rng, report)
        problem = self._problem(model, parameters)
        dense = model.shape[1] <= self.dense_limit
        vectors = probes(_FEW_PROBES if dense else _PROBES, model.in_shape, tune_rng)
        curve = problem.evidence_curve(vectors, _TOL)
        strength = curve.best_strength() if self.strength is None else self.strength
        report(0.5, "solving for the source")
        if dense:
            found = _dense(problem, curve, strength, self.strength is None)
        else:
            found = _matrix_free(problem, curve, strength)
        settled = self.strength is not None or _settled(curve, found.strength)
        report(0.7, "drawing from the posterior")
        draws = found.draw(self.n_draws, draw_rng)
        std = found.std
        if std is None:
            std = np.sqrt(np.mean((draws - found.mean) ** 2, axis=0))
        report(0.9, "holding out pixels")
        refit = _Refit.of(problem, found)
        held_out = predicted_chi2(model, partial(refit, tol=_HELD_OUT_TOL), split_rng)
        report(1.0, "done")
        return Posterior(
            mean=found.mean,
            std=std,
            draws=draws,
            log_evidence=found.log_evidence,
            effective_modes=found.modes,
            hyperparameters=self.prior.named(found.strength, *parameters),
            held_out_chi2=held_out,
            converged=found.converged and settled,
            _draw=_GaussianDraws(problem, found.xi, found.strength),
            _refit=refit if found.xi.size <= _MOST_KEPT else replace(refit, root=None),
            _by_noise=partial(_by_noise, problem, found.strength),
        )

    def _problem(self, model, parameters):
        return WhitenedProblem(model, self.prior.precision(model.in_shape, *parameters), self.dense_limit)

    def _shape(self, model, rng, report) -> np.ndarray:
        """Fit the parameters of the prior other than its strength, which is optimal for each trial."""
        start, bounds = self.prior.search(model.in_shape)
        if not start.size:
            return start
        vectors = probes(_SEARCH_PROBES, model.in_shape, rng)
        tried = 0

        def cost(parameters):
            nonlocal tried
            problem = self._problem(model, parameters)
            curve = problem.evidence_curve(vectors, _SEARCH_TOL)
            strength = curve.best_strength() if self.strength is None else self.strength
            tried += 1
            report(0.45 * min(1.0, tried / _SEARCH_EVALUATIONS), "tuning the prior by its evidence")
            return -curve.log_evidence(strength)

        highest = np.array([high for _, high in bounds])
        steps = np.minimum(0.7, (highest - start) / 2)
        found = minimize(
            cost,
            start,
            method="Nelder-Mead",
            bounds=bounds,
            options={
                "initial_simplex": np.vstack([start, start + np.diag(steps)]),
                "maxfev": _SEARCH_EVALUATIONS,
                "xatol": 0.03,
                "fatol": 0.3,
            },
        )
        return found.x


@dataclass(frozen=True)
class _Solution:
    """A posterior at given hyper-parameters; xi are the coordinates in which the prior is white."""

    xi: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None
    strength: float
    log_evidence: float
    modes: float
    converged: bool
    draw: Callable[[int, np.random.Generator], np.ndarray]
    root: np.ndarray | None = None


@dataclass(frozen=True)
class _GaussianDraws:
    """Draw from the posterior by solving for perturbed data; it keeps the mean and the problem only."""

    problem: WhitenedProblem
    xi: np.ndarray
    strength: float

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.problem.source(self.xi + self.problem.fluctuations(self.strength, n, rng, _DRAW_TOL))


def _matrix_free(problem: WhitenedProblem, curve: EvidenceCurve, strength: float) -> _Solution:
    """Solve with conjugate gradients; the log-determinant is the curve's estimate."""
    right = problem.adjoint(problem.data)
    xi, converged = problem.solve(strength, right, _MEAN_TOL)
    explained = 0.5 * float(np.vdot(right, xi))
    return _Solution(
        xi=xi,
        mean=problem.source(xi),
        std=None,
        strength=strength,
        log_evidence=curve.constant + explained - curve.half_log_det(strength),
        modes=curve.modes(strength),
        converged=converged,
        draw=_GaussianDraws(problem, xi, strength),
    )


def _dense(problem: WhitenedProblem, curve: EvidenceCurve, strength: float, tune: bool) -> _Solution:
    """Solve by Cholesky decomposition, and move the strength to the maximum of the exact evidence."""
    normal = problem.dense_normal()
    right = problem.adjoint(problem.data).ravel()
    for _ in range(10):
        root = _inverse_root(normal, strength)
        xi = root.T @ (root @ right)
        modes = right.size - strength * float(np.vdot(root, root))
        slope, bend = 0.5 * (modes - strength * xi @ xi), curve.curvature(strength)
        if not tune or bend >= 0 or slope**2 < 2 * abs(bend) * _LOSS:
            break
        low, high = np.exp(curve.bounds)
        strength = float(np.clip(strength * np.exp(np.clip(-slope / bend, -1, 1)), low, high))
    half_log_det = -np.sum(np.log(np.diag(root))) - 0.5 * right.size * np.log(strength)

    def draw(n, rng):
        white = rng.standard_normal((n, right.size))
        return problem.source((xi + white @ root).reshape(n, *problem.shape))

    return _Solution(
        xi=xi.reshape(problem.shape),
        mean=problem.source(xi.reshape(problem.shape)),
        std=_standard_deviation(problem, root),
        strength=strength,
        log_evidence=curve.constant + 0.5 * float(right @ xi) - float(half_log_det),
        modes=modes,
        converged=True,
        draw=draw,
        root=root,
    )


def _inverse_root(normal: np.ndarray, strength: float) -> np.ndarray:
    """Return the inverse of the lower Cholesky factor of ``normal + strength``."""
    factor = cholesky(normal.copy(), strength)
    return lapack.dtrtri(factor, lower=1, overwrite_c=1)[0]


def _standard_deviation(problem: WhitenedProblem, root: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each source pixel, given a root of the covariance of xi."""

    def squares(rows):
        return np.sum(problem.source(rows.reshape(-1, *problem.shape)) ** 2, axis=0)

    chunks = [root[first : first + 256] for first in range(0, len(root), 256)]
    return np.sqrt(sum(in_threads(squares, chunks)))


@dataclass(frozen=True)
class _Refit:
    """
    Find the source for another model with the same prior.

    ``root``, in single precision and without its scale, is the root of the covariance for the first model,
    where there is a matrix: that of another PSF, lens or weights is close, and solved for in some iterations.
    """

    problem: WhitenedProblem
    strength: float
    root: np.ndarray | None

    @classmethod
    def of(cls, problem: WhitenedProblem, found: _Solution) -> _Refit:
        root = found.root
        return cls(
            problem, found.strength, None if root is None else (root / np.max(root)).astype(np.float32)
        )

    def __call__(self, model: ForwardModel, tol: float = _REFIT_TOL) -> np.ndarray:
        other = self.problem.for_model(model)
        inverse = None if self.root is None else partial(_multiplied, self.root)
        xi, _ = other.solve(self.strength, other.adjoint(other.data), tol, inverse)
        return other.source(xi)

    def __getstate__(self) -> dict:
        # as large as all draws and more, and iterations without it give the same
        return self.__dict__ | {"root": None}


def _multiplied(root: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Multiply an image by a covariance, given its root in single precision."""
    size = np.max(np.abs(image)) or 1.0
    flat = (image / size).astype(np.float32).ravel()
    return size * (root.T @ (root @ flat)).astype(np.float64).reshape(image.shape)


def _by_noise(problem: WhitenedProblem, strength: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return by how much ``n`` realisations of the noise change the source, which is linear in the data."""
    return problem.source(problem.changes_by_noise(strength, n, rng, _CHANGE_TOL))


def _settled(curve: EvidenceCurve, strength: float) -> bool:
    """Return whether the evidence has its maximum within the range searched; warn if not."""
    low, high = curve.bounds
    if low + 0.1 < np.log(strength) < high - 0.1:
        return True
    if np.log(strength) > low + 0.1:
        message = (
            "the evidence grows with the strength of the prior without end: the data are consistent with no "
            "source at all. Check that the lens is where the light is, and that the noise is not too large"
        )
    else:
        message = (
            "the evidence grows without end as the strength of the prior falls: the noise is so small that "
            "the prior has no influence. Check the uncertainty of the observation"
        )
    warn(message, ConvergenceWarning)
    return False
