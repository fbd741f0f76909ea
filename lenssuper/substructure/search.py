"""
Clumps that are found one after another: scans propose, fits with and without each clump decide.

A fit can end in a maximum of the evidence that is not the highest. The evidence without a clump is therefore
the larger one of two fits: that before the clump, and one that begins at the lens that was found with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from lenssuper.substructure.candidates import DETECTION, Candidate, Rival
from lenssuper.substructure.errors import errors, of_curvature, parts
from lenssuper.substructure.fitted import Fitted
from lenssuper.substructure.maps import Maps, Peak
from lenssuper.substructure.parameters import Clumps
from lenssuper.substructure.templates import Perturber

__all__ = ["FAR", "SAME", "ClumpSearch", "Found"]

# Positions from which a clump is fitted, or to which it has moved; two that are closer, in arcsec, are one
_STARTS, SAME = 6, 0.15
# Peaks of a scan among which those are
_LOOKED_AT = 12
# Distance in arcsec of two peaks between which a clump is fitted too: the smooth lens has changed to make up
# for what it lacks, and a perturber may lie between two peaks
_PAIR = 0.9
# Share of the significance of the highest peak that another one must have
_WEAK = 0.5
# Fits that are taken on after one round from each start; and after another one, if they are so close to the
# best in log evidence
_BETTER, _LAST, _CLOSE = 3, 2, 20.0
# Distance of two maxima of the evidence from which on they are two: the root mean square of the elements of
# the new clump, in standard deviations of the better one
_DISTINCT = 3.0
# Directions along the axes in which a fitted clump is moved to find maxima close by, by so many observed
# pixels: within the width of a PSF, and to the other side of an arc
_COMPASS, _STRIDES = ((1, 0), (0, 1), (-1, 0), (0, -1)), (1, 3)
# Times that it is moved on from a maximum that is better by more than `_CLOSE`
_MOVES = 3
# Distance of a parameter of the smooth lens from the mean of its prior, in standard deviations, from which on
# the lens may do what something else does
FAR = 3.0
# Range of masses at the start; a heavier perturber is a galaxy that would be seen
_LIGHT, _HEAVY = 1e7, 3e10


@dataclass(frozen=True, eq=False)
class Found:
    """The lens without and with the clumps that were detected, the scans, and all clumps that were fitted."""

    smooth: Fitted
    lens: Fitted
    first: Maps
    last: Maps
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, eq=False)
class ClumpSearch:
    """
    A search for clumps of a kind.

    ``refit`` fits the parameters of a lens from a vector on, with the options of `lensfit.refine`; ``rescan``
    makes the maps of a fitted lens, with ``finely`` for more masses; ``report`` is called with the share of
    the work done and what comes next.
    """

    perturber: Perturber
    concentration: bool  # whether it is fitted
    most: int  # clumps that are fitted
    refit: Callable[..., Fitted]
    rescan: Callable[..., Maps]
    report: Callable[[float, str], None]

    def run(self, smooth: Fitted, plain: Fitted | None) -> Found:
        """
        Return what is found in a smooth lens.

        ``plain`` is that without multipoles, with theirs at zero. It is scanned too for the first clump:
        fitted multipoles do what a strong clump does, and hide it.
        """
        self.report(0.2, "scanning")
        first = maps = self.rescan(smooth, finely=True)
        scans = [(smooth, first)]
        if plain is not None:
            scans.append((plain, self.rescan(plain)))
        clumps = _allowed(self.perturber, first.grid, self.concentration)
        found = smooth
        close: list[Fitted] = []  # other maxima of the evidence of what is found
        kept: list[Candidate] = []
        failed: list[Candidate] = []
        for k in range(self.most):
            self.report(0.3 + 0.7 * k / self.most, "fitting a peak")
            starts = _starts(scans)
            if not starts:
                break
            more, *others = self._added(found, starts, clumps)
            before, n_before = found, len(kept)
            if _gain(more, found) > DETECTION:
                found, kept = self._better(found, self._without(more, -1), kept)
            if found is not before:
                close = []
                maps = self.rescan(found, finely=not kept)
                smooth, first = (smooth, first) if kept else (found, maps)
            if len(kept) < n_before:  # to be looked for again, in a better lens
                scans = [(found, maps)]
                continue
            peak = starts[0][1].significance
            new = _candidate(more, -1, others, gain=_gain(more, found), peak=peak)
            if not new.detected:
                failed = [_measured(new, more, -1, others)]
                break
            found, kept = self._needed(more, [*kept, new], others, last=found)
            close = others if found is more else []
            maps = self.rescan(found)
            scans = [(found, maps)]
        kept = [_measured(each, found, k, close) for k, each in enumerate(kept)]
        return Found(smooth, found, first, maps, (*kept, *failed))

    def _added(self, found, starts, clumps):
        """Return fits with one more clump, the most credible first, the others of similar evidence."""
        old = found.registration.of_clumps(found.refined.vector)
        clumps = clumps.of_number(len(old) // clumps.size + 1)
        registration = found.registration.with_clumps(clumps)
        tried = []
        for fitted, peak in starts:
            smooth = registration.without_clumps(fitted.refined.vector)
            log_mass = math.log(np.clip(peak.mass, _LIGHT, _HEAVY))
            begin = [peak.x, peak.y, log_mass, 0.0][: clumps.size]
            tried.append(self.refit(registration, np.concatenate([smooth, old, begin]), rounds=1))
        for n, close, rounds in ((_BETTER, math.inf, {"rounds": 1}), (_LAST, _CLOSE, {})):
            apart = _apart(tried)
            more = [each.refined for each in apart[:n] if _gain(apart[0], each) < close]
            tried = [self.refit(registration, each.vector, after=each, **rounds) for each in more]
        best = _credible(tried)[0]
        for _ in range(_MOVES if _gain(best, found) > 0 else 0):
            others = self._close_by(best)
            tried += others
            before, best = best, max([best, *others], key=lambda each: each.log_evidence)
            if _gain(best, before) < _CLOSE:
                break
        return _credible(_distinct(tried))

    def _close_by(self, fitted):
        """
        Return fits that begin with the last clump of a fit a little aside, and do not end in worse ones.

        The evidence is rough: as a clump crosses an arc, it has several maxima within the width of a PSF, and
        more on the other side of the arc.
        """
        x = len(fitted.refined.vector) - fitted.registration.clumps.size
        side = fitted.source.clearest.part.grid.side_arcsec
        ends = [fitted]
        for stride, direction in product(_STRIDES, _COMPASS):
            vector = fitted.refined.vector.copy()
            vector[x : x + 2] += stride * side * np.array(direction)
            ends.append(fitted.climbed(vector))
        # on the same source grid as that of the fit
        best, *others = _distinct(ends)
        ends = [best, *(each for each in others if _gain(best, each) < _CLOSE)]
        more = [each.refined for each in ends if each is not fitted][:_LAST]
        return [self.refit(fitted.registration, each.vector, after=each) for each in more]

    def _without(self, fitted, k):
        """Return the fit without one of the clumps, from the lens with it on."""
        registration, clumps = fitted.registration, fitted.registration.clumps
        vector = fitted.refined.vector
        rest = np.delete(registration.of_clumps(vector).reshape(clumps.n, clumps.size), k, axis=0)
        fewer = registration.with_clumps(clumps.of_number(clumps.n - 1))
        return self.refit(fewer, np.concatenate([registration.without_clumps(vector), rest.ravel()]))

    def _better(self, fitted, other, candidates):
        """Return the better of two fits with the same clumps, and those that are needed in it."""
        return (fitted, candidates) if _gain(other, fitted) <= 0 else self._needed(other, candidates, ())

    def _needed(self, fitted, candidates, others, last=None):
        """
        Return the fit with the clumps that are needed, each being more credible with it than without.

        A new clump may do what an older one did. ``last`` is the fit without the newest, if it is known.
        """
        n_old = len(candidates) - (last is not None)
        without = [*(self._without(fitted, k) for k in range(n_old)), *([] if last is None else [last])]
        gains = [_gain(fitted, each) for each in without]
        if not gains or min(gains) > DETECTION:
            old = _candidates(fitted, candidates[:n_old], gains[:n_old], others)
            return fitted, [*old, *candidates[n_old:]]
        weakest = int(np.argmin(gains))
        rest = [each for k, each in enumerate(candidates) if k != weakest]
        return self._needed(without[weakest], rest, ())


def _allowed(perturber, grid, concentration):
    """Return one clump that may be anywhere in the field of the maps."""
    corners = np.array([np.ravel(v) for v in np.broadcast_arrays(*grid.vertices_arcsec())])
    low, high = corners.min(axis=1), corners.max(axis=1)
    # the standard deviation of a uniform distribution over the field
    width = float((high - low).max()) / math.sqrt(12)
    return Clumps(perturber, 1, tuple(((low + high) / 2).tolist()), width, concentration)


def _gain(fitted, other):
    return fitted.log_evidence - other.log_evidence


def _starts(scans):
    """Return fits and peaks from which a clump is fitted, the most significant first."""
    found = []
    for fitted, maps in scans:
        peaks = maps.peaks(_LOOKED_AT)
        peaks = [each for each in peaks if each.mass < _HEAVY] or peaks
        found += [(fitted, peak) for peak in peaks]
        for other in peaks[1:]:
            if math.hypot(other.x - peaks[0].x, other.y - peaks[0].y) < _PAIR:
                x, y = (peaks[0].x + other.x) / 2, (peaks[0].y + other.y) / 2
                mass = max(peaks[0].mass, other.mass)
                found.append((fitted, Peak(x, y, mass, other.significance)))
                break
    found.sort(key=lambda each: -each[1].significance)
    starts: list[tuple[Fitted, Peak]] = []
    for fitted, peak in found:
        apart = all(math.hypot(peak.x - other.x, peak.y - other.y) > SAME for _, other in starts)
        if apart and peak.significance > _WEAK * found[0][1].significance:
            starts.append((fitted, peak))
    return starts[:_STARTS]


def _apart(fits):
    """Return the best of those fits whose last clumps are at one place, for each place, the best first."""
    kept: list[Fitted] = []
    for fitted in sorted(fits, key=lambda each: -each.log_evidence):
        x, y, *_ = parts(fitted)[-1]
        others = [parts(other)[-1] for other in kept]
        if all(math.hypot(x - other[0], y - other[1]) > SAME for other in others):
            kept.append(fitted)
    return kept


def _distinct(fits):
    """Return one fit for each maximum of the evidence, the best of those that ended in it, the best first."""
    size, kept = fits[0].registration.clumps.size, []
    for fitted in sorted(fits, key=lambda each: -each.log_evidence):
        if all(_squares(fitted, other, size) > _DISTINCT**2 * size for other in kept):
            kept.append(fitted)
    return kept


def _squares(fitted, other, size):
    """Return the square of the distance of the last clumps of two fits in errors of the other one."""
    moved = (fitted.refined.vector - other.refined.vector)[-size:]
    return moved @ np.linalg.solve(other.covariance[-size:, -size:], moved)


def _credible(fits):
    """
    Return those of the fits whose evidence is close to the best, the most credible first.

    That is the one of the largest evidence, among those of a smooth lens that is not far from its priors if
    there are any: far from them it may do what something else does, and a wrong place of a clump fits better.
    """
    best = max(fits, key=lambda each: each.log_evidence)
    close = [each for each in fits if _gain(best, each) < _CLOSE]
    return sorted(close, key=lambda each: (_is_far(each), -each.log_evidence))


def _is_far(fitted):
    return fitted.largest_pull > FAR


def _candidates(fitted, former, gains, others=()):
    """Return the clumps of another fit, with their gains there, for the candidates that they were."""
    each = enumerate(zip(former, gains, strict=True))
    return [
        _candidate(fitted, k, others, gain=gain, peak=was.peak, rivals=was.rivals) for k, (was, gain) in each
    ]


def _candidate(fitted, k, others, *, gain, peak, rivals=()):
    """
    Return one of the clumps of a fit as a candidate.

    ``others`` are fits with the same clumps and of similar evidence, which may have them elsewhere.
    """
    clumps = fitted.registration.clumps
    x, y, *logs = parts(fitted)[k].tolist()
    mass, concentration = (*map(math.exp, logs), 1.0)[:2]
    new = [_rival(other, k, fitted) for other in others]
    rivals = (*rivals, *(rival for rival in new if math.hypot(rival.x - x, rival.y - y) > SAME))
    lens = clumps.perturber.lens(mass, x, y, concentration)
    return Candidate(x, y, mass, concentration, (), gain, peak, lens, rivals)


def _measured(candidate, fitted, k, others):
    """Return a candidate with the errors of that clump of a fit; rough ones if it makes the fit worse."""
    if candidate.gain < 0:
        return replace(candidate, errors=tuple(of_curvature(fitted, k).tolist()))
    as_credible = [each for each in others if _is_far(each) == _is_far(fitted)]
    return replace(candidate, errors=tuple(errors(fitted, k, as_credible).tolist()))


def _rival(other, k, fitted):
    x, y, log_mass, *_ = parts(other)[k].tolist()
    return Rival(x, y, math.exp(log_mass), _gain(other, fitted))
