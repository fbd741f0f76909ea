"""
Positive sources: least squares with a convex or nearly convex penalty, and no pixel below zero.

There is no evidence in closed form where positivity cuts the posterior off, so that the strength of the
penalty is the one that predicts held-out pixels best.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from lenssuper._utils.checks import check_count, check_kind, check_number, check_rng
from lenssuper._utils.progress import quietly
from lenssuper._utils.threads import in_threads
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.heldout import held_out_chi2, split_pixels
from lenssuper.solvers.numerics import WhitenedData, brightness_unit, conjugate_gradients, dot, draw_pairs

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["Positive", "RelativeGradient", "Roughness", "SquaredGradient", "TotalVariation"]

# Share of the pixels held out to find the strength, and in how many splits: the best strengths of two splits
# differ by up to a factor of two
_HELD_OUT, _SPLITS = 0.15, 3
# Range of the logarithm (base 10) of the strength, brightness being in units of the brightest pixel
_STRENGTHS = (-1.5, 4.5)
_MAX_STEPS = 40
_MAX_CG = 150  # for a step; draws take twice as many


class Roughness(ABC):
    """
    A penalty on the differences of neighbouring pixels of a source that is dark beyond its grid.

    The source is in units of the image's brightest pixel.
    """

    @abstractmethod
    def value(self, source: np.ndarray) -> float:
        """Return the penalty of a source (ny, nx)."""

    @abstractmethod
    def gradient(self, source: np.ndarray) -> np.ndarray:
        """Return its derivative with respect to each pixel."""

    @abstractmethod
    def weights(self, source: np.ndarray) -> list[np.ndarray]:
        """
        Return the curvature of the penalty along each difference, not negative.

        With the difference operator grad, ``grad' weights grad`` stands for the Hessian (lagged diffusivity:
        Vogel & Oman 1996, SIAM J. Sci. Comput. 17, 227).
        """


class SquaredGradient(Roughness):
    """Half the sum of the squared differences: Suyu et al. 2006, eq. A2, with a dark border."""

    def value(self, source):
        return 0.5 * sum(np.sum(d**2) for d in differences(source))

    def gradient(self, source):
        return spread(differences(source))

    def weights(self, source):
        return [np.ones_like(d) for d in differences(source)]


@dataclass(frozen=True)
class TotalVariation(Roughness):
    """
    Sum of the lengths of the gradient, which keeps edges (Rudin, Osher & Fatemi 1992).

    Parameters
    ----------
    smoothing : float, optional
        Gradients below this, in units of the image's brightest pixel per source pixel, count by their square,
        because the length has no derivative at zero.

    Notes
    -----
    The sum of sqrt(tx^2 + ty^2 + smoothing^2) over the pixels, each with the differences to its neighbours on
    two sides: edges in any direction count alike. With less smoothing the source consists of flatter patches,
    and the error bars are smaller, as if the pixels of a patch had to be equal.
    """

    smoothing: float = 0.03

    def value(self, source):
        return float(np.sum(self._lengths(source) - self.smoothing))

    def gradient(self, source):
        pairs = zip(differences(source), self.weights(source), strict=True)
        return spread([d * w for d, w in pairs])

    def weights(self, source):
        inverse = 1 / self._lengths(source)
        return [inverse[:, 1:], inverse[1:]]

    def _lengths(self, source):
        """Return the lengths at all pixels and the dark ones before the first of them, (ny + 1, nx + 1)."""
        along_y, along_x = differences(source)
        squares = np.pad(along_y**2, ((0, 0), (1, 0))) + np.pad(along_x**2, ((1, 0), (0, 0)))
        return np.sqrt(squares + self.smoothing**2)


@dataclass(frozen=True)
class RelativeGradient(Roughness):
    """
    Half the sum of squared differences over the mean brightness of the pixels: bright sources may be rougher.

    Parameters
    ----------
    floor : float, optional
        Brightness, in units of the image's brightest pixel, below which the penalty no longer depends on it.

    Notes
    -----
    t^2 / 2 (m + floor), with the mean m of the two pixels: four times the squared gradient of the square root
    of the brightness, or Fisher's information of the source.
    """

    floor: float = 0.003

    def value(self, source):
        pairs = zip(differences(source), means(source), strict=True)
        return 0.5 * sum(np.sum(d**2 / (m + self.floor)) for d, m in pairs)

    def gradient(self, source):
        pairs = list(zip(differences(source), means(source), strict=True))
        rough = spread([d / (m + self.floor) for d, m in pairs])
        return rough - spread_means([0.5 * (d / (m + self.floor)) ** 2 for d, m in pairs])

    def weights(self, source):
        return [1 / (m + self.floor) for m in means(source)]


def differences(source: np.ndarray) -> list[np.ndarray]:
    """Return differences along y (ny + 1, nx) and x (ny, nx + 1), with dark pixels beyond the grid."""
    ny, nx = source.shape
    # Every step of conjugate gradients calls this; np.pad and np.diff would take six times as long.
    along_y, along_x = np.empty((ny + 1, nx)), np.empty((ny, nx + 1))
    along_y[0], along_y[-1] = source[0], -source[-1]
    np.subtract(source[1:], source[:-1], out=along_y[1:-1])
    along_x[:, 0], along_x[:, -1] = source[:, 0], -source[:, -1]
    np.subtract(source[:, 1:], source[:, :-1], out=along_x[:, 1:-1])
    return [along_y, along_x]


def spread(values: list[np.ndarray]) -> np.ndarray:
    """Apply the adjoint of `differences`."""
    along_y, along_x = values
    return along_y[:-1] - along_y[1:] + along_x[:, :-1] - along_x[:, 1:]


def means(source: np.ndarray) -> list[np.ndarray]:
    """Return the means of the pairs of pixels of `differences`."""
    padded = np.pad(source, 1)
    return [
        (padded[1:, 1:-1] + padded[:-1, 1:-1]) / 2,
        (padded[1:-1, 1:] + padded[1:-1, :-1]) / 2,
    ]


def spread_means(values: list[np.ndarray]) -> np.ndarray:
    """Apply the adjoint of `means`."""
    along_y, along_x = values
    return (along_y[:-1] + along_y[1:] + along_x[:, :-1] + along_x[:, 1:]) / 2


class Positive(Solver):
    r"""
    Source without negative pixels, with a penalty on its roughness whose strength predicts held-out pixels.

    Parameters
    ----------
    roughness : Roughness, optional
        `RelativeGradient` (by default), `SquaredGradient` or `TotalVariation`.
    strength : float, optional
        Of the penalty, for a source in units of the image's brightest pixel; found from pixels held out if
        not given.
    n_draws : int, optional
        Draws for the error bars; even, at least 2.
    max_evaluations : int, optional
        Strengths to try.

    Notes
    -----
    Minimises :math:`\tfrac12 \lVert d - B s \rVert^2 + \lambda R(s)` over :math:`s \ge 0`, data d and
    operator B in units of the noise, by Newton's method on the pixels that are not held at zero (Bertsekas
    1982, SIAM J. Control Optim. 20, 221).
    Draws are from the Gaussian whose inverse covariance is the Hessian at the minimum, B'B plus the penalty's
    (Laplace's approximation), and are cut off at zero.
    """

    takes_covariance = True

    def __init__(
        self,
        roughness: Roughness | None = None,
        *,
        strength: float | None = None,
        n_draws: int = 16,
        max_evaluations: int = 10,
    ) -> None:
        roughness = RelativeGradient() if roughness is None else roughness
        self.roughness = check_kind(roughness, "roughness", Roughness, "a Roughness, e.g. TotalVariation()")
        self.strength = None if strength is None else check_number(strength, "strength", above=0)
        self.n_draws = check_count(n_draws, "n_draws", 2, even=True)
        self.max_evaluations = check_count(max_evaluations, "max_evaluations", 3)

    def solve(self, model: ForwardModel, *, rng=None, report: Callable | None = None) -> Posterior:
        """Find the source; see `Solver.solve`."""
        split_rng, draw_rng, mode_rng = check_rng(rng).spawn(3)
        report = report or quietly
        problem = _PenalisedProblem.of(model, self.roughness)
        splits = [split_pixels(model, _HELD_OUT, child) for child in split_rng.spawn(_SPLITS)]
        strength, chi2 = self._tune(problem, model, splits, report)
        found = problem.minimise(strength, tolerance=1e-3)
        if not found.converged:
            warn(
                f"the source has not settled after {_MAX_STEPS} Newton steps: look at the residuals",
                ConvergenceWarning,
            )
        report(0.7, "drawing from the posterior")
        draws = _draws(problem, strength, found, self.n_draws, draw_rng)
        report(1.0, "done")
        return Posterior(
            mean=found.source * problem.scale,
            std=np.sqrt(np.mean((draws - found.source * problem.scale) ** 2, axis=0)),
            draws=draws,
            effective_modes=_measured_modes(problem, strength, found, mode_rng),
            hyperparameters={"strength": float(strength)},
            held_out_chi2=chi2,
            converged=found.converged,
            _draw=partial(_draws, problem, strength, found),
            _refit=partial(_refit, problem, strength, found),
        )

    def _tune(self, problem, model, splits, report):
        """Return the strength, and chi-square per pixel held out."""
        report(0.0, "tuning the strength on pixels held out")
        tried = {}

        def predict(log_strength):
            nearest = min(tried, key=lambda t: abs(t - log_strength), default=None)
            starts = [None] * len(splits) if nearest is None else tried[nearest][1]

            def fit(split_and_start):
                (training, held_out), start = split_and_start
                found = problem.for_model(training).minimise(10**log_strength, start, tolerance=0.1)
                return held_out_chi2(model, held_out, found.source * problem.scale), found.source

            fits = list(in_threads(fit, zip(splits, starts, strict=True)))
            tried[log_strength] = np.mean([chi2 for chi2, _ in fits]), [source for _, source in fits]
            share = min(1.0, len(tried) / self.max_evaluations)
            report(0.65 * share, "tuning the strength on pixels held out")
            return tried[log_strength][0]

        if self.strength is not None:
            return self.strength, float(predict(np.log10(self.strength)))
        minimize_scalar(
            predict,
            bounds=_STRENGTHS,
            method="bounded",
            options={"maxiter": self.max_evaluations, "xatol": 0.05},
        )
        best = min(tried, key=lambda t: tried[t][0])
        return 10**best, float(tried[best][0])


@dataclass(frozen=True)
class _Minimum:
    source: np.ndarray
    free: np.ndarray
    converged: bool


class _PenalisedProblem(WhitenedData):
    """Least squares with a penalty: data in units of the noise, brightness in units of ``scale``."""

    def __init__(self, model, scale, roughness):
        super().__init__(model, scale)
        self.roughness = roughness

    @classmethod
    def of(cls, model, roughness):
        return cls(model, brightness_unit(model), roughness)

    def for_model(self, model):
        return _PenalisedProblem(model, self.scale, self.roughness)

    def curvature(self, source, strength, free):
        """Return a function that applies the Hessian of the energy among the pixels that are free."""
        weights = self.roughness.weights(source)

        def apply(v):
            v = np.where(free, v, 0.0)
            rough = spread([w * d for w, d in zip(weights, differences(v), strict=True)])
            return np.where(free, self.adjoint(self.forward(v)) + strength * rough, 0.0)

        return apply

    def minimise(self, strength, start=None, *, tolerance=1e-2):
        """Minimise |d - B s|^2 / 2 + strength R(s) over positive s."""
        source = np.full(self.shape, 1e-3) if start is None else start

        def energy(s):
            residual = self.forward(s) - self.data
            return 0.5 * dot(residual, residual) + strength * self.roughness.value(s), residual

        value, residual = energy(source)
        free = np.ones(self.shape, dtype=bool)
        for _ in range(_MAX_STEPS):
            gradient = self.adjoint(residual) + strength * self.roughness.gradient(source)
            free = (source > 0) | (gradient < 0)
            step, _ = conjugate_gradients(
                self.curvature(source, strength, free),
                np.where(free, -gradient, 0.0),
                tol=0.03,
                max_iterations=_MAX_CG,
            )
            size = 1.0
            while True:
                new = np.maximum(source + size * step, 0.0)
                new_value, new_residual = energy(new)
                # a fixed share of the linear prediction along the projected step
                if new_value <= value + 1e-4 * np.sum(gradient * (new - source)) or size < 1e-6:
                    break
                size /= 2
            change = value - new_value
            if change < 0:
                break
            source, value, residual = new, new_value, new_residual
            if change < tolerance * max(1.0, 0.01 * abs(value)) * size:
                return _Minimum(source, free, True)
        return _Minimum(source, free, False)


def _draws(problem, strength, found, n, rng):
    """Draw ``n`` sources, in pairs of opposite deviations that follow each other."""
    weights = problem.roughness.weights(found.source)
    curvature = problem.curvature(found.source, strength, np.ones(problem.shape, dtype=bool))

    def pair(child):
        noise = problem.noise(child)
        rough = spread([np.sqrt(strength * w) * child.normal(size=w.shape) for w in weights])
        right = problem.adjoint(noise) + rough
        step, _ = conjugate_gradients(curvature, right, tol=0.01, max_iterations=2 * _MAX_CG)
        return np.stack([found.source + step, found.source - step])

    def pairs(generators):
        return np.concatenate([pair(child) for child in generators])

    return np.maximum(draw_pairs(pairs, n, rng), 0.0) * problem.scale


def _refit(problem, strength, found, model):
    """Return the source for another model, starting from a minimum."""
    other = problem.for_model(model).minimise(strength, found.source, tolerance=1e-3)
    return other.source * problem.scale


def _measured_modes(problem, strength, found, rng, n=8):
    """
    Return the trace of (F + lambda R)^-1 F among the free pixels, by Hutchinson's estimate (1990).

    It is the number of modes that the data measure (Suyu et al. 2006, eq. 21; MacKay 1992).
    """
    curvature = problem.curvature(found.source, strength, found.free)

    def one(child):
        sign = child.choice([-1.0, 1.0], size=problem.data.shape) * problem.used
        right = np.where(found.free, problem.adjoint(sign), 0.0)
        solved, _ = conjugate_gradients(curvature, right, tol=0.01, max_iterations=2 * _MAX_CG)
        return dot(sign, problem.forward(solved))

    return float(np.mean(list(in_threads(one, rng.spawn(n)))))
