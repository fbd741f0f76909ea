"""The lens of the largest evidence, the source integrated out, by Gauss-Newton steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lenssuper.exceptions import ObservationError
from lenssuper.lensfit.evidence import Inversion, SourceBasis, SourcePrior, invert
from lenssuper.lensfit.lensedsource import LensedSource, SourcePlane
from lenssuper.lensfit.sourceplane import envelope, moved_to

__all__ = ["Refined", "climbed", "cost_of", "modes_of", "refine", "seen_by", "settled"]

# Source pixels along the side of an observed one in the first round, and in the others
_COARSE, _FINE = 2.0, 3.0
# Number of modes of the source at first; later a multiple of those that the data measure, in the first round
# and in the others, within limits
_FIRST_MODES, _FEW_PER_MEASURED, _PER_MEASURED, _LEAST_MODES, _MOST_MODES = 300, 2.0, 2.5, 150, 800
# The same where a share of the arcs' brightness is added to the noise
_TOLERANT_MODES = 150
# Rounds, each with its own source grid and prior, and steps in each
_ROUNDS, _STEPS = 8, 4
# Rounds with a prior of the source that is the same everywhere, gain and move that end them, which need not
# be exact, and move, in units of the spread of guesses, by which a lens is lost and beyond which no step goes
_SETTLING, _SETTLED, _LOST = 4, (0.5, 1.0), 10.0
# Gain in log evidence that ends a round, and move, in standard deviations, that ends the last one
_GAIN, _STILL = 0.1, 0.3
# Gain that was promised, of a step that lost, below which no shorter one is tried; below which none is taken
_UNSURE, _NOTHING = 0.3, 0.02
# Step of the derivatives of the rays, in units of the spread of guesses; so short that a one-sided difference
# is accurate
_DELTA = 1e-5
# Damping at first, and the largest, relative to the diagonal
_DAMPING, _STUCK = 1e-3, 1e4


@dataclass(frozen=True, eq=False)
class Refined:
    """The lens of the largest evidence."""

    vector: np.ndarray  # of the parameters
    inversions: tuple[Inversion, ...]  # one for each source
    information: np.ndarray  # inverse covariance of the vector, priors included
    cost: float  # minus the log of evidence and priors
    converged: bool
    gathering: float  # relative size of the light in the source plane, see `sourceplane.gathering`

    @property
    def reduced_chi2(self) -> float:
        """Chi-square per degree of freedom."""
        freedom = sum(len(each.residuals) - each.modes for each in self.inversions)
        return sum(each.chi2 for each in self.inversions) / max(1.0, freedom)


def refine(
    sources: Sequence[LensedSource],
    vector: np.ndarray,
    rng: np.random.Generator,
    report: Callable[[float, str], None],
    *,
    rounds: int = _ROUNDS,
    after: Refined | None = None,
) -> Refined:
    """
    Improve a lens, from the parameters ``vector`` on, until it no longer changes.

    With ``after``, go on from there, where fewer rounds were asked for before.

    In each of at most ``rounds`` rounds, source grid and prior are fixed, those that suit its first lens, so
    that the evidence is a smooth function of the lens. The sources share one registration, and their costs
    add up; the first is the clearest. ``report`` is called with the share of the work done, and what is done
    next.
    """
    seed = int(rng.integers(2**31))
    found = after
    for k in range(rounds):
        report(k / rounds, "fitting lens and source")
        new = found is None
        last = found.inversions if found else [None] * len(sources)
        before = vector
        # without a name, so that the first inversions are freed as soon as there are better ones
        found = _climb(
            vector,
            [
                _begin(source, vector, inversion, np.random.default_rng(seed))
                for source, inversion in zip(sources, last, strict=True)
            ],
            seed,
        )
        vector = found.vector
        moved = vector - before
        if not new and moved @ found.information @ moved < _STILL**2 * len(vector):
            return found
    assert found is not None, "at least one round, or a fit to resume"
    return replace(found, converged=False)


def cost_of(sources: Sequence[LensedSource], vector: np.ndarray) -> float:
    """Return minus the log of evidence and priors of a lens; the prior of the source is stationary."""
    return _total(sources[0].registration, vector, _all_flat(sources, vector, 0))


def modes_of(sources: Sequence[LensedSource], vector: np.ndarray) -> float:
    """Return how many modes of the sources the data measure, with the prior of `cost_of`."""
    return sum(each.modes for each in _all_flat(sources, vector, 0))


def settled(sources: Sequence[LensedSource], vector: np.ndarray, rng: np.random.Generator) -> Refined | None:
    """
    Improve a lens with a prior of the source that is the same everywhere, and few modes, as for large noise.

    The prior of `refine` expects the source where the first lens has it, and holds the lens there. None is
    returned if the lens is lost, as the data are too few for so free a source.
    """
    seed, first, found = int(rng.integers(2**31)), vector, None
    spread, (gain, still) = sources[0].registration.spread, _SETTLED
    for _ in range(_SETTLING):
        try:
            found = _climb(vector, _all_flat(sources, vector, seed), seed, enough=gain)
        except (np.linalg.LinAlgError, ObservationError):
            return None
        vector, moved = found.vector, found.vector - vector
        if not np.max(np.abs(vector - first) / spread) < _LOST:
            return None
        if moved @ found.information @ moved < still**2 * len(vector):
            break
    return found


def climbed(refined: Refined, vector: np.ndarray, held: Sequence[int], rng: np.random.Generator) -> Refined:
    """
    Improve a lens from another vector on, whose elements ``held`` stay as they are.

    Source grids and modes are those of ``refined``, so that its cost and the new one can be compared.
    """
    vector = refined.inversions[0].plane.source.registration.inside(vector)
    return _climb(vector, _inverted(refined.inversions, vector), int(rng.integers(2**31)), held)


def seen_by(sources: Sequence[LensedSource], refined: Refined, rng: np.random.Generator) -> Refined:
    """Return a lens as it was found, with the evidence for other pixels of the same observations."""
    pairs = zip(sources, refined.inversions, strict=True)
    inversions = tuple(_begin(source, refined.vector, inversion, rng) for source, inversion in pairs)
    cost = _total(sources[0].registration, refined.vector, inversions)
    return replace(refined, inversions=inversions, cost=cost)


def _all_flat(sources, vector, seed):
    """Invert for all sources as `_flat`, with as many modes as large noise leaves."""
    rng = np.random.default_rng(seed)
    return [_flat(source, source.lenses(vector), rng, _TOLERANT_MODES) for source in sources]


def _flat(source, lenses, rng, modes):
    """Invert for a lens of which no source is known yet, on large pixels and with a stationary prior."""
    plane = SourcePlane(source, source.light_grid(lenses, _COARSE), lenses)
    prior = SourcePrior(source.prior.precision(plane.grid(lenses).shape))
    basis = SourceBasis.of(prior, plane, plane.lensing(lenses), modes, rng)
    # the strength is tuned from 1, as strong as the data
    return invert(plane, basis, lenses, 1.0, tune=25)


def _begin(source, vector, last, rng):
    """Choose source grid and modes for a lens, and invert; ``last`` is the inversion of the round before."""
    lenses = source.lenses(vector)
    if last is None:
        flat = _flat(source, lenses, rng, _FIRST_MODES)
        plane, grid, lensing = flat.plane, flat.grid, flat.lensing
        light, strength, size = flat.source, flat.strength, _FEW_PER_MEASURED * flat.modes
    else:
        grid = source.light_grid(lenses, _FINE)
        plane = SourcePlane(source, grid, lenses)
        lensing = plane.lensing(lenses)
        light, strength = moved_to(grid, last.source, last.grid), last.strength
        size = _PER_MEASURED * last.modes
    precision = source.prior.precision(grid.shape)
    prior = SourcePrior(precision, envelope(light, grid, source.clearest.part.grid.side_arcsec))
    size = np.clip(size, _LEAST_MODES, _MOST_MODES)
    basis = SourceBasis.of(prior, plane, lensing, int(size), rng)
    return invert(plane, basis, lenses, strength, tune=25)


def _climb(vector, inversions, seed, held=(), enough=_GAIN):
    """
    Take Levenberg-Marquardt steps with source grids and modes as they are, until they gain less than enough.

    The elements ``held`` of the vector stay as they are.
    """
    sources = [each.plane.source for each in inversions]
    registration, damping = sources[0].registration, _DAMPING
    free = np.delete(np.arange(len(vector)), held)
    cost = _total(registration, vector, inversions)
    path = []
    for _ in range(_STEPS):
        gradient, information = _slopes(vector, inversions, seed)
        path.append((vector[free], gradient[free]))
        slope, matrix = gradient[free], _corrected(information[np.ix_(free, free)], path)
        while True:
            step = np.zeros(len(vector))
            step[free] = np.linalg.solve(matrix + damping * np.diag(np.diag(matrix)), -slope)
            step *= min(1.0, _LOST / max(np.max(np.abs(step) / registration.spread), 1e-300))
            promised = -step[free] @ (slope + 0.5 * matrix @ step[free])
            if promised < _NOTHING:
                gain = 0.0
                break
            tried, new = registration.inside(vector + step), None
            new = _inverted(inversions, tried)
            gain = cost - _total(registration, tried, new)
            if gain >= 0 or promised < _UNSURE or damping > _STUCK:
                break
            damping = max(10 * damping, 1e-2)
        if gain > 0:
            vector, inversions, cost = tried, new, cost - gain
        if gain < enough:
            break
        damping = max(damping / 10, 1e-6)
    gathering = sources[0].gathering(sources[0].lenses(vector))
    kept = tuple(each.bare() for each in inversions)
    return Refined(vector, kept, information, cost, True, gathering)


def _corrected(matrix, path):
    """
    Return a Gauss-Newton matrix with what the slopes on the path so far say of the curvature.

    The matrix knows nothing of the curvature of the determinant, and is up to twice too large. The updates
    are those of Broyden, Fletcher, Goldfarb and Shanno (Nocedal & Wright 2006, Numerical Optimization, eq.
    6.19); without them steps are too short.
    """
    for (start, before), (end, after) in pairwise(path):
        step, change = end - start, after - before
        if step @ change > 0:
            turned = matrix @ step
            matrix = (
                matrix
                - np.outer(turned, turned) / (step @ turned)
                + np.outer(change, change) / (step @ change)
            )
    return matrix


def _inverted(inversions, vector):
    """Invert for another lens, source grids and modes as they are."""
    return [
        invert(old.plane, old.basis, old.plane.source.lenses(vector), old.strength, tune=4)
        for old in inversions
    ]


def _total(registration, vector, inversions):
    residuals, _ = registration.prior_residuals(vector)
    return sum(each.cost for each in inversions) + 0.5 * float(residuals @ residuals)


def _slopes(vector, inversions, seed):
    """Return gradient and Gauss-Newton matrix of the total cost."""
    registration = inversions[0].plane.source.registration
    residuals, rows = registration.prior_residuals(vector)
    gradient, information = rows.T @ residuals, rows.T @ rows
    steps = _DELTA * registration.spread
    steps[registration.inside(vector + steps) < vector + steps] *= -1  # at the end of a range, back into it
    for inversion in inversions:
        source = inversion.plane.source
        elements = registration.moving(source.positions)
        ends = [(source.lenses(vector + np.diag(steps)[k]), steps[k]) for k in elements]
        # the same draws every time, or the gradient would never vanish
        of_source = inversion.derivatives(ends, np.random.default_rng(seed))
        gradient[elements] += of_source[0]
        information[np.ix_(elements, elements)] += of_source[1]
    return gradient, information
