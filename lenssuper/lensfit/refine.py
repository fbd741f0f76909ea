"""The lens that explains the data best whatever the source: Gauss-Newton steps on the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lenssuper.lensfit.marginal import Inversion, SourceBasis, SourcePrior, invert
from lenssuper.lensfit.problem import Problem
from lenssuper.lensfit.sourceplane import envelope, moved_to
from lenssuper.observation.grid import PixelGrid

__all__ = ["Behind", "Refined", "refine"]

# Source pixels along the side of an observed one in the first round, and in the others
_COARSE, _FINE = 2.0, 3.0
# Modes of the source: for a first look, and then as a multiple of those that are measured, in the first round
# and in the others, within limits
_FIRST_MODES, _FEW_PER_MEASURED, _PER_MEASURED, _LEAST_MODES, _MOST_MODES = 300, 2.0, 2.5, 150, 800
# Rounds, each with its own source grid and prior, and steps in each
_ROUNDS, _STEPS = 8, 4
# Gain in log evidence below which a round ends; and move, in standard deviations, after which it was the last
_GAIN, _STILL = 0.1, 0.3
# Step of the derivatives of where rays land, in units of the spread of guesses: so short that one to one side
# is as good as two
_DELTA = 1e-5
# Damping at first, and the largest, relative to the diagonal
_DAMPING, _STUCK = 1e-3, 1e4


@dataclass(frozen=True, eq=False)
class Behind:
    """A source that was found behind the lens, what it was found from, and its pixels."""

    problem: Problem
    inversion: Inversion
    grid: PixelGrid


@dataclass(frozen=True, eq=False)
class Refined:
    """
    A lens at its best.

    Attributes
    ----------
    vector : ndarray
        Of the parameters.
    sources : tuple of Behind
        One for each problem, in their order.
    information : ndarray
        Inverse covariance of the vector, priors included.
    cost : float
        Minus the log of evidence and priors.
    converged : bool
    gathering : float
        How near to each other the lens takes the light of the arcs, see `sourceplane.gathering`.
    """

    vector: np.ndarray
    sources: tuple[Behind, ...]
    information: np.ndarray
    cost: float
    converged: bool
    gathering: float

    @property
    def reduced_chi2(self) -> float:
        """Chi-square per degree of freedom."""
        inversions = [source.inversion for source in self.sources]
        freedom = sum(len(inversion.residuals) - inversion.modes for inversion in inversions)
        return sum(inversion.chi2 for inversion in inversions) / max(1.0, freedom)


def refine(
    problems: Sequence[Problem],
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
    problems : sequence of Problem
        One for each source, all with the same registration; their costs add up. The first is the clearest.
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
        begun = [
            _begin(problem, vector, source, np.random.default_rng(seed))
            for problem, source in zip(
                problems, found.sources if found else [None] * len(problems), strict=True
            )
        ]
        before = vector
        found = _climb(problems, vector, begun, seed)
        vector = found.vector
        moved = vector - before
        if k > 0 and moved @ found.information @ moved < _STILL**2 * len(vector):
            return found
    return replace(found, converged=False)


def _begin(problem, vector, found, rng):
    """Source grid and modes for a lens, and the source it has with them."""
    lens = problem.lens(vector)
    grid = problem.light_grid(lens, _COARSE if found is None else _FINE)
    camera = problem.camera(lens, grid)
    matrix = camera.lensing(lens)
    precision = problem.prior.precision(grid.shape)
    if found is None:
        # as strong as the data to begin with: of the first guess only its order of magnitude matters
        basis = SourceBasis.of(SourcePrior(precision), camera, matrix, _FIRST_MODES, rng)
        flat = invert(camera, basis, lens, 1.0, tune=25)
        source, strength = flat.source.reshape(grid.shape), flat.strength
        size = _FEW_PER_MEASURED * flat.modes
    else:
        old = found.inversion
        source = moved_to(grid, old.source.reshape(found.grid.shape), found.grid)
        strength, size = old.strength, _PER_MEASURED * old.modes
    prior = SourcePrior(precision, envelope(source, grid, problem.side))
    size = np.clip(size, _LEAST_MODES, _MOST_MODES)
    basis = SourceBasis.of(prior, camera, matrix, int(size), rng)
    return invert(camera, basis, lens, strength, tune=25)


def _climb(problems, vector, inversions, seed):
    """Levenberg-Marquardt steps with source grids and modes as they are."""
    registration, damping = problems[0].registration, _DAMPING
    cost = _total(registration, vector, inversions)
    for _ in range(_STEPS):
        gradient, information = _slopes(problems, vector, inversions, seed)
        while True:
            step = np.linalg.solve(information + damping * np.diag(np.diag(information)), -gradient)
            tried = registration.inside(vector + step)
            new = [
                invert(old.camera, old.basis, problem.lens(tried), old.strength, tune=4)
                for problem, old in zip(problems, inversions, strict=True)
            ]
            gain = cost - _total(registration, tried, new)
            promised = -step @ (gradient + 0.5 * information @ step)
            if gain >= 0 or promised < _GAIN or damping > _STUCK:
                break
            damping = max(10 * damping, 1e-2)
        if gain > 0:
            vector, inversions, cost = tried, new, cost - gain
        if gain < _GAIN:
            break
        damping = max(damping / 10, 1e-6)
    sources = tuple(
        Behind(problem, each, each.camera.source_grid(each.lens))
        for problem, each in zip(problems, inversions, strict=True)
    )
    return Refined(vector, sources, information, cost, True, problems[0].gathering(inversions[0].lens))


def _total(registration, vector, inversions):
    residuals, _ = registration.prior_residuals(vector)
    return sum(each.cost for each in inversions) + 0.5 * float(residuals @ residuals)


def _slopes(problems, vector, inversions, seed):
    """Gradient and Gauss-Newton matrix of the total cost."""
    registration = problems[0].registration
    residuals, rows = registration.prior_residuals(vector)
    gradient, information = rows.T @ residuals, rows.T @ rows
    for problem, inversion in zip(problems, inversions, strict=True):
        elements = registration.moving(problem.places)
        lenses = []
        for k in elements:
            change = np.zeros(len(vector))
            change[k] = step = _DELTA * registration.spread[k]
            lenses.append((problem.lens(vector + change), step))
        # the same draws every time, or the gradient would never vanish
        of_source = inversion.derivatives(lenses, np.random.default_rng(seed))
        gradient[elements] += of_source[0]
        information[np.ix_(elements, elements)] += of_source[1]
    return gradient, information
