"""The lens that explains the data best whatever the source: Gauss-Newton steps on the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lenssuper.grid import PixelGrid
from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.marginal import Inversion, SourceBasis, SourcePrior, invert
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.sourceplane import envelope, gathering, light_grid, moved_to
from lenssuper.observation import Observation
from lenssuper.solvers.priors import QuadraticPrior

__all__ = ["Problem", "Refined", "refine"]

# Source pixels along the side of an observed one in the first round, and in the others
_COARSE, _FINE = 2.0, 3.0
# Modes of the source: at first, and later as a multiple of those that are measured, within limits
_FIRST_MODES, _PER_MEASURED, _LEAST_MODES, _MOST_MODES = 300, 2.5, 150, 800
# Rounds, each with its own source grid and prior, and steps in each
_ROUNDS, _STEPS = 8, 4
# Gain in log evidence below which a round ends; and move, in standard deviations, after which it was the last
_GAIN, _STILL = 0.1, 0.3
# Step of the derivatives, in units of the spread of guesses
_DELTA = 0.005
# Damping at first, and the largest, relative to the diagonal
_DAMPING, _STUCK = 1e-3, 1e4


@dataclass(frozen=True, eq=False)
class Problem:
    """What is fitted: an observation, its weights, where there is light, and by what; other images beside."""

    observation: Observation
    weights: np.ndarray
    lit: np.ndarray
    factor: int
    parameters: FreeParameters
    prior: QuadraticPrior
    others: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Refined:
    """
    A lens at its best.

    Attributes
    ----------
    vector : ndarray
        Of the parameters.
    inversion : Inversion
        The source behind it, on ``grid``.
    information : ndarray
        Inverse covariance of the vector, priors included.
    cost : float
        Minus the log of evidence and priors.
    converged : bool
    gathering : float
        How near to each other the lens takes the light of the arcs, see `sourceplane.gathering`.
    """

    vector: np.ndarray
    inversion: Inversion
    grid: PixelGrid
    information: np.ndarray
    cost: float
    converged: bool
    gathering: float


def refine(
    problem: Problem,
    vector: np.ndarray,
    rng: np.random.Generator,
    report: Callable[[float, str], None],
    *,
    rounds: int = _ROUNDS,
) -> Refined:
    """
    Improve a lens until it stays where it is.

    Each round has a source grid and a prior that suit the lens it begins with, so that the evidence is smooth
    in the lens while steps are taken.

    Parameters
    ----------
    problem : Problem
    vector : ndarray
        Where to start.
    rng : `~numpy.random.Generator`
    report : callable
        Gets the share of the work done, and a word.
    rounds : int, optional
        The most rounds.
    """
    seed = int(rng.integers(2**31))
    found = None
    for k in range(rounds):
        report(k / rounds, "fitting lens and source")
        begun = _begin(problem, vector, found, np.random.default_rng(seed))
        before = vector
        found = _climb(problem, vector, begun, seed)
        vector = found.vector
        moved = vector - before
        if k > 0 and moved @ found.information @ moved < _STILL**2 * len(vector):
            return found
    return replace(found, converged=False)


def _begin(problem, vector, found, rng):
    """Source grid and modes for a lens, and the source it has with them."""
    lens = problem.parameters.lens(vector)
    grid = light_grid(problem.observation, lens, problem.lit, _COARSE if found is None else _FINE)
    camera = Camera(
        problem.observation, problem.weights, problem.lit, problem.factor, lens, grid, problem.others
    )
    matrix = camera.lensing(lens)
    precision = problem.prior.precision(grid.shape)
    if found is None:
        # as strong as the data to begin with: of the first guess only its order of magnitude matters
        basis = SourceBasis.of(SourcePrior(precision), camera, matrix, _FIRST_MODES, rng)
        flat = invert(camera, basis, lens, 1.0, tune=25)
        source, strength, modes = flat.source.reshape(grid.shape), flat.strength, flat.modes
    else:
        old = found.inversion
        source = moved_to(grid, old.source.reshape(found.grid.shape), found.grid)
        strength, modes = old.strength, old.modes
    prior = SourcePrior(precision, envelope(source, grid, problem.observation.grid._side))
    size = int(np.clip(_PER_MEASURED * modes, _LEAST_MODES, _MOST_MODES))
    basis = SourceBasis.of(prior, camera, matrix, size, rng)
    return invert(camera, basis, lens, strength, tune=25)


def _climb(problem, vector, inversion, seed):
    """Levenberg-Marquardt steps with source grid and modes as they are."""
    parameters, damping, cost = problem.parameters, _DAMPING, np.inf
    cost = _total(problem, vector, inversion)
    for _ in range(_STEPS):
        gradient, information = _slopes(problem, vector, inversion, seed)
        while True:
            step = np.linalg.solve(information + damping * np.diag(np.diag(information)), -gradient)
            tried = parameters.inside(vector + step)
            new = invert(
                inversion.camera, inversion.basis, parameters.lens(tried), inversion.strength, tune=4
            )
            gain = cost - _total(problem, tried, new)
            if gain >= 0 or damping > _STUCK:
                break
            damping = max(10 * damping, 1e-2)
        if gain > 0:
            vector, inversion, cost = tried, new, cost - gain
        if gain < _GAIN:
            break
        damping = max(damping / 10, 1e-6)
    lens = inversion.lens
    near = gathering(problem.observation, lens, problem.lit)
    return Refined(vector, inversion, inversion.camera.source_grid(lens), information, cost, True, near)


def _total(problem, vector, inversion):
    residuals, _ = problem.parameters.prior_residuals(vector)
    return inversion.cost + 0.5 * float(residuals @ residuals)


def _slopes(problem, vector, inversion, seed):
    parameters = problem.parameters
    lenses = []
    for k, step in enumerate(_DELTA * parameters.spread):
        change = np.zeros(len(vector))
        change[k] = step
        lenses.append((parameters.lens(vector - change), parameters.lens(vector + change), 2 * step))
    # the same draws every time, or the gradient would never vanish
    gradient, information = inversion.derivatives(lenses, np.random.default_rng(seed))
    residuals, rows = parameters.prior_residuals(vector)
    return gradient + rows.T @ residuals, information + rows.T @ rows
