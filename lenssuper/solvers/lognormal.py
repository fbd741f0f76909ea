"""
The default solver: a source that is the exponential of a Gaussian random field.

Galaxies are positive, and rough where they are bright: only the logarithm of the brightness is smooth. The
prior is Gaussian in that logarithm, with a power-law spectrum (log-normal correlated fields: Arras et al.
2022, Nature Astronomy 6, 259; in lens modelling Galan et al. 2024, A&A 689, A304).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lenssuper._utils.checks import check_count, check_number, check_rng
from lenssuper._utils.progress import quietly
from lenssuper._utils.threads import in_threads
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.curvature import Curvature
from lenssuper.solvers.field import MAX_CG, MAX_NEWTON, UNIFORM, FieldPrior, FieldProblem
from lenssuper.solvers.heldout import predicted_chi2
from lenssuper.solvers.numerics import (
    StationaryField,
    batches,
    brightness_unit,
    dot,
    draw_pairs,
    probes,
)
from lenssuper.solvers.roughness import local_roughness
from lenssuper.solvers.search import maximise

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["LogNormal"]

# Bounds of the hyper-parameters: logarithm of the field's standard deviation, and slope
_MOST = np.array([2.5, 7.0])
# First steps of the search, for the logarithm of the amplitude at `_PIVOT` and for the slope
_STEPS = np.array([0.3, 0.4])
# Wavenumber, in radians a cell, at which data measure the field best: there the amplitude hardly depends on
# the slope that goes with it (20 lenses of five kinds of galaxies)
_PIVOT = 0.27
# Promised rise of the log evidence below which the search ends
_TOP = 0.5
# Change of the energy at which the search takes a mode to be found
_ROUGH = 0.005
# Evaluations of the evidence after a change of the local roughness
_NEIGHBOURS = 3
# Newton steps at most from the mode of other hyper-parameters: one that is hard to find has a small evidence
_FEW = 6
# Number of pixels from which the search has a faster forward model; with fewer it saves nothing
_MANY = 10_000
# Seed of the random signs that determinants are estimated with: always the same, so that the evidences of two
# lens models of one image differ by little else than the models
_SIGNS = 0
# Error of draws of the linear problem, squared, relative to the noise of all data
_EXACT = 1e-4
# Newton steps that make a draw agree with the data to second order; their error, squared, relative to them
_BENDS, _INEXACT = 3, 0.1


class LogNormal(Solver):
    r"""
    Source whose logarithm is a Gaussian random field, hyper-parameters by maximum evidence.

    Parameters
    ----------
    turnover : float or None, optional
        Brightness t, in units of the brightest pixel of the image, above which the source is proportional to
        the field f instead of its exponential, and so smoother: s = t log(1 + exp(f)). None for the plain
        exponential.
    n_draws : int, optional
        Draws from the posterior, for the error bars; even, at least 2.
    max_evaluations : int, optional
        Evaluations of the evidence in the search for the hyper-parameters.
    passes : int, optional
        How often the local roughness of the source is estimated, and the hyper-parameters searched for anew;
        0 for a source that is equally rough everywhere.
    n_probes, lanczos_steps : int, optional
        Random vectors, and steps for each, that estimate the log-determinant in the evidence; the search
        uses half of the vectors, and the evidence that is returned twice as many steps. The vectors are the
        same for all images of one shape: other ones would change the evidence by about 20, but the
        difference between two lens models of one image by about 2.

    Notes
    -----
    With white noise :math:`\xi`, the source is :math:`s = g(m + G \xi)`: :math:`G` is the square root of the
    field's covariance, a stationary field with a power-law spectrum, and :math:`g` the exponential or its
    softer form. The mode of the posterior minimises

    .. math:: E(\xi) = \tfrac12 \lVert d - B\,s(\xi) \rVert^2 + \tfrac12 \lVert \xi \rVert^2 ,

    :math:`d` and :math:`B` being data and forward model in units of the noise, by Newton's method with the
    Gauss-Newton curvature :math:`H = 1 + G\,g' B^T B\,g'\,G`. The field's standard deviation and the slope of
    its spectrum maximise the evidence in Laplace's approximation (MacKay 2003, eq. 27.5),

    .. math:: \ln Z = -E - \tfrac12 \ln\det H + \tfrac12 \sum \ln \frac{w}{2 \pi} ,

    with the weights :math:`w` of the pixels; unlike the mode of the joint posterior it does not reward
    overfitting. For the determinant and Newton's steps see `lenssuper.solvers.curvature.Curvature`.

    The white noise is then multiplied by a map of the local roughness, see
    ``lenssuper/solvers/roughness.py``. The evidence of the result is that before, of a source that is equally
    rough everywhere: a map that follows the data would help wrong lenses more than right ones.

    Draws are those of the Gaussian in :math:`\xi` with the mode and the curvature of the posterior. With
    :math:`J = B\,g'\,G`, white noise :math:`n` for the data and :math:`\xi_0` from the prior, they deviate by

    .. math:: H^{-1} (\xi_0 + J^T n) = \xi_0 + J^T (1 + J J^T)^{-1} (n - J\,\xi_0)

    (Hoffman & Ribak 1991, ApJ 380, L5, eq. 3): what the data do not measure varies as much as in the prior.
    The exponential of such a deviation is brighter in the mean than that of the mode, which the data do not
    allow. Draws are therefore Gaussian in the coordinates of geometric variational inference (Frank, Leike &
    Ensslin 2021, Entropy 23, 853), :math:`\xi + J^T B\,s(\xi)`, in which the posterior is one to
    second order: they are found from the deviations above by Newton's method.
    They come in pairs of opposite deviations. For sources drawn from the prior, 70% of the bright pixels are
    within one standard deviation of the mode; with draws by randomise-then-optimise, which minimise
    :math:`E` for perturbed data and prior mean, it is 53%, as these do not know of the bias of the mode.
    """

    takes_covariance = True
    order = 1

    def __init__(
        self,
        *,
        turnover: float | None = None,
        n_draws: int = 16,
        max_evaluations: int = 10,
        passes: int = 2,
        n_probes: int = 4,
        lanczos_steps: int = 10,
    ) -> None:
        self.turnover = None if turnover is None else check_number(turnover, "turnover", above=0)
        self.n_draws = check_count(n_draws, "n_draws", 2, even=True)  # as draws come in pairs
        self.max_evaluations = check_count(max_evaluations, "max_evaluations", 3)
        self.passes = check_count(passes, "passes", 0)
        self.n_probes = check_count(n_probes, "n_probes")
        self.lanczos_steps = check_count(lanczos_steps, "lanczos_steps", 2)

    def solve(self, model: ForwardModel, *, rng=None, report: Callable | None = None) -> Posterior:
        """Find the source; see `Solver.solve`."""
        return self.solve_with(UNIFORM, model, brightness_unit(model), rng=rng, report=report)

    def solve_with(
        self,
        prior: FieldPrior,
        model: ForwardModel,
        scale: float,
        *,
        rng=None,
        report: Callable | None = None,
    ) -> Posterior:
        """
        Find the source with a prior of another shape, whose standard deviation and slope are fitted.

        The logarithm of the brightness ``scale`` is 0; all else is as for `solve`.
        """
        rng = check_rng(rng)
        report = report or quietly
        problem = FieldProblem(model, scale, self.turnover, prior)
        signs = probes(self.n_probes, problem.data.shape, np.random.default_rng(_SIGNS))
        vectors = problem.used * signs.astype(np.float32)
        coarse = problem.coarser() if np.count_nonzero(problem.used) > _MANY else None
        problem, best, log_evidence = self._roughened(problem, coarse or problem, vectors, report)
        mode, _ = problem.find(best.field, best.xi, tolerance=1e-3, curvature=best.curvature)
        if not mode.converged:
            warn(
                f"the source has not settled after {MAX_NEWTON} Newton steps: look at the residuals before "
                "trusting it; a lens model or a noise map that is far off can cause this",
                ConvergenceWarning,
            )
        curvature = problem.curvature(best.field, mode.slope)
        modes = curvature.measured_modes(vectors, MAX_CG)
        report(0.7, "drawing from the posterior")
        draws = _draws(problem, best.field, mode, self.n_draws, rng, curvature)
        report(0.95, "predicting pixels held out")
        refit = partial(_refit, problem, best.field, mode, curvature=curvature)
        held_out = predicted_chi2(model, refit, rng)
        report(1.0, "done")
        return Posterior(
            mean=mode.source * problem.scale,
            # half the difference of a pair is the deviation from its middle
            std=np.sqrt(np.mean((draws[::2] - draws[1::2]) ** 2, axis=0)) / 2,
            draws=draws,
            log_evidence=log_evidence,
            effective_modes=modes,
            hyperparameters=best.named,
            held_out_chi2=held_out,
            converged=mode.converged,
            # not a lambda: results are pickled
            _draw=partial(_draws, problem, best.field, mode),
            _refit=partial(refit, tolerance=1e-3),
            _by_noise=partial(_by_noise, problem, best.field, mode),
        )

    def predicted(
        self, prior: FieldPrior, model: ForwardModel, scale: float, posterior: Posterior
    ) -> np.ndarray:
        """Return the source (ny, nx) of other data with the hyper-parameters of a posterior."""
        problem = FieldProblem(model, scale, self.turnover, prior)
        found = posterior.hyperparameters
        return scale * problem.mode(problem.field([np.log(found["std"]), found["slope"]])).source

    def _roughened(self, problem, fast, vectors, report):
        """
        Find the hyper-parameters, and then the local roughness and the hyper-parameters anew, a few times.

        ``fast`` is the problem itself or one with a faster model. Returns the problem with the roughness,
        its hyper-parameters, and the evidence of a source that is equally rough everywhere.
        """
        share = 0.65 / (1 + self.passes / 2)
        best = self._tune(fast, vectors, lambda done, what: report(share * done, what))
        mode, curvature = problem.find(best.field, best.xi, tolerance=1e-3, alike=best.curvature)
        # more steps and vectors than in the search, which only compares evidences
        log_evidence = _laplace(problem, mode, curvature, vectors, 2 * self.lanczos_steps)
        best = replace(best, xi=mode.xi, curvature=curvature)
        for k in range(self.passes):
            report(share * (1 + k / 2), "finding where the source is rough")
            rough = local_roughness(best.curvature, best.xi, problem.prior.roughness)
            prior = replace(problem.prior, roughness=rough)
            problem, fast = problem.with_prior(prior), fast.with_prior(prior)
            best = self._tune(fast, vectors, quietly, best)
        return problem, best, log_evidence

    def _tune(self, problem, vectors, report, before=None):
        """
        Maximise the evidence over the logarithm of the field's standard deviation and the slope.

        ``before`` are those of a problem that is nearly the same: from there, only the neighbours are tried.
        """
        found = []
        few = vectors[: (len(vectors) + 1) // 2]
        most = self.max_evaluations if before is None else _NEIGHBOURS

        def evaluate(searched):
            theta = _from_pivot(problem, searched)
            field = problem.field(theta)
            start = alike = None
            best = max(found, key=lambda f: f.log_evidence) if found else before
            if best is not None:
                start, alike = field.invert(best.field.apply(best.xi)), best.curvature
            state, curvature = problem.find(
                field, start, tolerance=_ROUGH, max_newton=_FEW if found else MAX_NEWTON, alike=alike
            )
            log_evidence = _laplace(problem, state, curvature, few, self.lanczos_steps)
            found.append(_Tuned(np.array(theta), field, state.xi, log_evidence, curvature))
            report(len(found) / most, "tuning the prior by its evidence")
            return log_evidence

        prior = problem.prior
        log_std, slope = (prior.log_std, prior.slope) if before is None else before.theta
        maximise(
            evaluate,
            np.array([log_std + _at_pivot(problem, slope), slope]),
            _STEPS,
            (np.array([-np.inf, prior.least_slope]), np.array([np.inf, _MOST[1]])),
            tol=_TOP,
            most=most,
        )
        return max(found, key=lambda f: f.log_evidence)


@dataclass(frozen=True)
class _Tuned:
    """Hyper-parameters, with their field, mode, evidence and curvature."""

    theta: np.ndarray
    field: StationaryField
    xi: np.ndarray
    log_evidence: float
    curvature: Curvature

    @property
    def named(self):
        return {"std": float(np.exp(self.theta[0])), "slope": float(self.theta[1])}


def _at_pivot(problem, slope) -> float:
    """Return the logarithm of the amplitude at `_PIVOT` of a field of standard deviation 1."""
    return problem.field([0.0, slope]).log_amplitude(_PIVOT)


def _from_pivot(problem, searched) -> np.ndarray:
    """Return the logarithm of the standard deviation, and the slope, for an amplitude at `_PIVOT`."""
    log_std = searched[0] - _at_pivot(problem, searched[1])
    return np.array([np.clip(log_std, -_MOST[0], _MOST[0]), searched[1]])


def _laplace(problem, state, curvature, vectors, steps) -> float:
    """Return the log evidence in Laplace's approximation."""
    return problem.model.log_norm - state.energy - curvature.log_det(vectors, steps) / 2


def _refit(problem, field, mode, training, tolerance=1e-2, curvature=None):
    """Return the source for another model, starting from a mode."""
    other = FieldProblem(training, problem.scale, problem.turnover, problem.prior)
    return other.mode(field, mode.xi, tolerance=tolerance, curvature=curvature).source * problem.scale


def _draws(problem, field, mode, n, rng, curvature=None):
    """Draw ``n`` sources, in pairs that follow each other."""
    curvature = curvature or problem.curvature(field, mode.slope)
    return draw_pairs(partial(_pairs, problem, field, mode, curvature), n, rng) * problem.scale


def _by_noise(problem, field, mode, n, rng):
    """Return by how much ``n`` realisations of the noise change the source, to first order."""
    curvature = problem.curvature(field, mode.slope)
    least = _EXACT * np.count_nonzero(problem.used)

    def changes(generators):
        noise = np.stack([problem.noise(rng) for rng in generators]).astype(np.float32)
        found, _ = curvature.solve(curvature.adjoint(noise), least=least, steps=MAX_CG)
        return mode.slope * field.apply(found)

    return np.concatenate(list(in_threads(changes, batches(rng.spawn(n))))) * problem.scale


def _pairs(problem, field, mode, curvature, generators):
    """Return two draws of opposite perturbations for each generator; single precision is enough for them."""
    noise = np.stack([problem.noise(rng) for rng in generators]).astype(np.float32)
    prior = np.stack([rng.normal(size=problem.shape) for rng in generators]).astype(np.float32)
    least = _EXACT * np.count_nonzero(problem.used)
    # x0 + J'n has the covariance H, and so H^-1 (x0 + J'n) that of the posterior, H^-1
    steps, _ = curvature.solve(prior + curvature.adjoint(noise), least=least, steps=MAX_CG)
    steps = np.stack([steps, -steps], axis=1).reshape(-1, *problem.shape)
    solve = partial(curvature.solve, least=least, share=_INEXACT, steps=MAX_CG)
    return _bent(problem, field, mode, solve, steps)


def _bent(problem, field, mode, solve, steps):
    """
    Return the sources of steps from a mode, changed such that the data change as if linear in the steps.

    By Newton's method with the curvature at the mode; of each draw the nearest iterate is kept.
    """
    forward, adjoint = problem.jacobian(field, mode.slope)
    start, linear = mode.xi.astype(np.float32), forward(steps)
    before = problem.forward(mode.source.astype(np.float32))
    xi, least = start + steps, np.full((len(steps), 1, 1), np.inf)
    best = np.zeros_like(steps)
    for left in reversed(range(_BENDS + 1)):
        source = problem.link(field.apply(xi))[0]
        away, rest = xi - start - steps, problem.forward(source) - before - linear
        wrong = away + adjoint(rest)
        size = dot(wrong, wrong)[:, None, None]
        nearer = size < least
        best, least = np.where(nearer, source, best), np.where(nearer, size, least)
        if left:
            xi = xi - solve(wrong)[0]
    return best.astype(float)
