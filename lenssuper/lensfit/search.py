"""From where a fit begins to the lens that explains the data best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lenssuper.lensfit.parametric import Arcs, first_guesses
from lenssuper.lensfit.problem import Problem
from lenssuper.lensfit.refine import Refined, refine

__all__ = ["POOR", "SCATTERED", "search"]

# Chi-square per degree of freedom from which on another first guess is given a try
POOR = 1.2
# How near to each other, relative to the image, a lens must take the light of the arcs to be one
SCATTERED = 0.5
# The cost of a first guess, relative to the best, that is not worth a try, how many are tried in all, and
# rounds of a try
_HOPELESS, _TRIED, _TRY = 1.5, 2, 2


def search(
    problems: Sequence[Problem],
    starts: Iterable[np.ndarray],
    rng: np.random.Generator,
    report: Callable[[float, str], None],
) -> Refined:
    """
    Fit a lens to all problems.

    Parameters
    ----------
    problems : sequence of Problem
        One for each source, with the same registration. The first guess is that of the clearest observation.
    starts : iterable of ndarray
        Vectors of lens parameters.
    rng : `~numpy.random.Generator`
    report : callable
        Gets the share of the work done, and a word.
    """
    problems = sorted(problems, key=lambda problem: -problem.clearest.signal)
    first, registration = problems[0], problems[0].registration
    clearest = first.clearest
    arcs = Arcs(clearest.part, clearest.weights, clearest.lit_part, registration.parameters)
    guesses = first_guesses(arcs, starts, lambda share, what: report(0.2 * share, what))

    # the others stay in the order of their cost
    guesses.sort(key=lambda g: first.gathering(first.lens(registration.begin(g.vector))) > SCATTERED)
    begins = [registration.begin(guess.vector) for guess in guesses]
    best = refine(problems, begins[0], rng, lambda share, what: report(0.2 + 0.6 * share, what))
    for guess, begin in list(zip(guesses, begins, strict=True))[1:_TRIED]:
        lost = best.gathering > SCATTERED
        if not lost and (best.reduced_chi2 < POOR or guess.cost > _HOPELESS * guesses[0].cost):
            break
        report(0.8, "trying another lens")
        other = refine(problems, begin, rng, lambda share, what: None, rounds=_TRY)
        if (other.gathering > SCATTERED, other.cost) < (lost, best.cost):
            best = refine(problems, other.vector, rng, lambda share, what: None)
    report(1.0, "done")
    return best
