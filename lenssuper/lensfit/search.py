"""From a guess to the lens that explains the data best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
from astropy import units as u

from lenssuper._utils.progress import quietly
from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.lens import SIE, ExternalShear, LensModel
from lenssuper.lensfit.firstguess import Arcs, distinct, first_guesses
from lenssuper.lensfit.lensedsource import LensedSource
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.refine import Refined, cost_of, modes_of, refine, seen_by, settled

__all__ = ["POOR", "SCATTERED", "all_round", "around", "candidates", "from_radius", "improve", "search"]

# Chi-square per degree of freedom above which another first guess is tried
POOR = 1.2
# Size of the light in the source plane, relative to that in the image, up to which it is one source
SCATTERED = 0.5
# Relative cost of a first guess above which it is not tried, number tried, and rounds of a trial
_HOPELESS, _TRIED, _TRY = 1.5, 2, 2
# Shares of the arcs' brightness that are added to the noise while lenses are sought: the largest at which the
# data measure at least so many modes of the source, and the next but one; and number of lenses that are then
# tried with the noise as it is (tuned on `simulate.hard_lenses`, seed 11, and SLACS lenses)
_SHARES, _SEEN, _FOLLOWED = (0.3, 0.2, 0.1, 0.05, 0.025), 30.0, 4
# Rounds of a trial on larger pixels
_ROUGH = 4
# Least difference between first guesses, in units of the spread of guesses: where the best is followed, and
# where all are
_ALIKE, _UNLIKE = 0.1, 0.8
# For fits of which only a radius is known: multiples of it, and ellipticities
_RADII = (0.8, 0.9, 1.0, 1.12, 1.25)
_TURNS, _FLATTENING = (0, 60, 120), 0.1
# Steps of the logarithm of the radius at which the evidence of expected lenses is compared, and number of its
# maxima that are followed (tuned on `simulate.hard_lenses`, seed 5)
_SCAN, _MAXIMA = np.linspace(-0.32, 0.32, 9), 2
# Number of tried lenses, of different radii, that are improved further
_KEPT = 2
# Lenses that are less likely than the best by more than this in ln Z are given up: it counts as much as 3 in
# the logarithm of the prior, see `credibility`
_BEHIND = 300.0
# Difference of the logarithms of their radii
_OTHER_RADIUS = 0.05
# Steps of the logarithm of the radius from a fitted lens to where other lenses are looked for, and gain in
# ln Z for which it is given up for one of them (tuned on one lens of `simulate.hard_lenses`, seed 15)
_ASIDE, _BETTER = (-0.16, 0.16), 50.0


def from_radius(theta_E: u.Quantity) -> LensModel:
    """Return a lens of which no more is known than its Einstein radius."""
    if not to_arcsec(theta_E, "guess") > 0 or not theta_E.isscalar:
        raise ValueError(f"an Einstein radius must be one positive angle; got {theta_E}")
    return SIE(theta_E=theta_E, q=0.9, phi=0 * u.deg) + ExternalShear(gamma1=0.0, gamma2=0.0)


def around(parameters: FreeParameters) -> list[np.ndarray]:
    """Return the vector of the guess, and those of lenses with slightly smaller and larger radii."""
    start, radii = parameters.start, parameters.is_radius
    if not radii.any():
        return [start]
    return [start, start - parameters.spread * radii, start + parameters.spread * radii]


def all_round(parameters: FreeParameters) -> list[np.ndarray]:
    """Return vectors of lenses with radii in a wide range, flattened in all directions."""
    starts = []
    for factor in _RADII:
        for turn in np.radians(_TURNS):
            vector = parameters.start.copy()
            vector[parameters.is_radius] += np.log(factor)
            vector[parameters.is_ellipse] = np.resize(
                _FLATTENING * np.array([np.cos(2 * turn), np.sin(2 * turn)]), parameters.is_ellipse.sum()
            )
            starts.append(vector)
    return starts


def search(
    sources: Sequence[LensedSource],
    starts: Iterable[np.ndarray],
    rng: np.random.Generator,
    report: Callable[[float, str], None],
) -> list[Refined]:
    """
    Fit a lens to all sources behind it, from vectors of lens parameters; return the best, and others tried.

    The first guess is that of the clearest observation. ``report`` is called with the share of the work done,
    and what is done next.
    """
    sources = _clearest_first(sources)
    begins, guesses = _begun(sources, starts, report, _ALIKE)
    best = refine(sources, begins[0], rng, lambda share, what: report(0.2 + 0.6 * share, what))
    others = []
    for guess, begin in list(zip(guesses, begins, strict=True))[1:_TRIED]:
        lost = best.gathering > SCATTERED
        if not lost and (best.reduced_chi2 < POOR or guess.cost > _HOPELESS * guesses[0].cost):
            break
        report(0.8, "trying another lens")
        other = refine(sources, begin, rng, quietly, rounds=_TRY)
        if (other.gathering > SCATTERED, other.cost) < (lost, best.cost):
            best, other = refine(sources, other.vector, rng, quietly), best
        others.append(other)
    report(1.0, "done")
    return [best, *others]


def candidates(
    sources: Sequence[LensedSource],
    starts: Iterable[np.ndarray],
    rng: np.random.Generator,
    report: Callable[[float, str], None],
) -> list[Refined]:
    """
    Return a few lenses that differ, improved for only as long as it takes to compare them.

    They begin with the first guesses of `search`, and with lenses as the priors expect them, those from the
    light of the lens galaxy above all, of the radii at which the evidence has its largest maxima. All are
    compared on larger pixels where there are many; the best few of different radii are improved on the pixels
    of the data, and the evidences of all are for these.
    """
    sources = _clearest_first(sources)
    rough = [source.rough for source in sources]
    begins, guesses = _begun(rough, starts, report, _UNLIKE)
    begins = [b for b, g in zip(begins, guesses, strict=True) if g.cost <= _HOPELESS * guesses[0].cost]
    report(0.2, "trying radii")
    begins = _cooled(rough, begins, rng, lambda share: report(0.2 + 0.35 * share, "trying a lens"))
    found = []
    for k, begin in enumerate(begins):
        report(0.55 + 0.15 * k / len(begins), "trying a lens")
        found.append(refine(rough, begin, rng, quietly, rounds=1))
    found = _likely(found)
    report(0.7, "trying the best of them")
    if rough != sources:
        found = [refine(rough, one.vector, rng, quietly, rounds=_ROUGH - 1, after=one) for one in found]
        found = _likely(found)
    improved = _worth_improving(found, sources[0].registration.parameters.is_radius)
    for k, one in enumerate(found):
        if k in improved:
            found[k] = refine(sources, one.vector, rng, quietly, rounds=_TRY - 1, after=one)
        elif rough != sources:
            found[k] = seen_by(sources, one, rng)
    report(1.0, "done")
    return found


def _cooled(sources, begins, rng, report):
    """
    Return the best few lenses that are found from several, and from expected ones, as the noise falls.

    With a large share of the arcs' brightness added to the noise, the source is smooth, the evidence has few
    maxima, and the priors hold the lens. The maxima are then followed as less is added.
    """
    registration = sources[0].registration
    spread, expected = registration.spread, registration.begin(registration.parameters.expected)
    tolerant = ([source.tolerant(share) for source in sources] for share in _SHARES)
    enough = (each for each in tolerant if modes_of(each, expected) > _SEEN)
    stages = list(islice(enough, 0, 3, 2)) or [sources]
    begins = [*_best_radii(stages[0]), *begins]
    for k, stage in enumerate(stages):
        found = []
        for j, begin in enumerate(begins):
            report((k + j / len(begins)) / len(stages))
            found.append(settled(stage, begin, rng))
        begins = [one.vector for one in distinct(filter(None, found), spread, _UNLIKE)] or begins
    return begins[:_FOLLOWED]


def _likely(found):
    """Return the lenses that are not far less likely than the best one, the best first."""
    best = min(one.cost for one in found)
    return sorted((one for one in found if one.cost - best < _BEHIND), key=lambda one: one.cost)


def _worth_improving(found, radii):
    """Return the positions of the best few of different radii."""
    kept = []
    for k, one in enumerate(found):
        apart = [np.max(np.abs(one.vector - found[j].vector)[: len(radii)][radii], initial=0.0) for j in kept]
        if min(apart, default=np.inf) > _OTHER_RADIUS:
            kept.append(k)
    return kept[:_KEPT]


def _best_radii(sources):
    """Return expected lenses of the radii, in a wide range, where the evidence has its largest maxima."""
    registration = sources[0].registration
    expected = registration.parameters.expected
    radii = registration.parameters.is_radius
    if not radii.any():
        return []
    vectors = [registration.begin(expected + step * radii) for step in _SCAN]
    costs = np.pad([cost_of(sources, vector) for vector in vectors], 1, constant_values=np.inf)
    lowest = np.flatnonzero((costs[1:-1] <= costs[:-2]) & (costs[1:-1] <= costs[2:]))
    return [vectors[k] for k in sorted(lowest, key=lambda k: costs[1 + k])[:_MAXIMA]]


def improve(
    sources: Sequence[LensedSource],
    starts: Iterable[np.ndarray],
    rng: np.random.Generator,
    report: Callable[[float, str], None],
) -> list[Refined]:
    """
    Return the lens that is found from the first of the starts, which is known to be close, and its rivals.

    The first round is done on larger pixels, where there are many.
    """
    sources = _clearest_first(sources)
    rough, vector = [source.rough for source in sources], sources[0].registration.begin(next(iter(starts)))
    first = None if rough == sources else refine(rough, vector, rng, report, rounds=1)
    best = refine(sources, vector if first is None else first.vector, rng, report, after=first)
    report(0.9, "looking for lenses of other radii")
    others = _rivals(sources, rough, best, rng)
    if others and others[0].cost < best.cost - _BETTER:
        best, others[0] = others[0], best
    return [best, *others]


def _rivals(sources, rough, best, rng):
    """
    Return lenses of other radii that are almost as likely as the best, the most likely one first.

    None are looked for where the errors of the best lens leave no room for them. Else lenses are improved
    from radii to both sides, at first on larger pixels. Many come back to the best one.
    """
    radii = np.flatnonzero(sources[0].registration.parameters.is_radius)
    if not radii.size:
        return []
    covariance = np.linalg.inv(best.information)[np.ix_(radii, radii)]
    if 0.5 * _ASIDE[1] ** 2 * np.linalg.inv(covariance).sum() > _BEHIND:
        return []
    known = best if rough == sources else seen_by(rough, best, rng)

    def is_rival(one, level):
        apart = np.max(np.abs(one.vector - best.vector)[radii])
        return apart > _OTHER_RADIUS and one.cost - level < _BEHIND

    found = []
    for step in _ASIDE:
        vector = best.vector.copy()
        vector[radii] += step
        try:
            other = refine(rough, vector, rng, quietly, rounds=_TRY)
            if is_rival(other, known.cost):
                found.append(refine(sources, other.vector, rng, quietly, after=other))
        except (np.linalg.LinAlgError, ObservationError):  # a lens that went astray
            continue
    return sorted((one for one in found if is_rival(one, best.cost)), key=lambda one: one.cost)


def _begun(sources, starts, report, apart):
    """Return vectors to begin with, and the guesses they are from; the first source is the clearest."""
    first, registration = sources[0], sources[0].registration
    arcs = Arcs(first.clearest, registration.parameters)
    guesses = first_guesses(arcs, starts, lambda share, what: report(0.2 * share, what), apart=apart)
    # the others stay in the order of their cost
    guesses.sort(key=lambda g: first.gathering(first.lenses(registration.begin(g.vector))) > SCATTERED)
    return [registration.begin(guess.vector) for guess in guesses], guesses


def _clearest_first(sources):
    return sorted(sources, key=lambda source: -source.clearest.signal)
