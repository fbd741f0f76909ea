"""Peaks of a scan that are fitted, as clumps of a lens, and judged by the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lenssuper.lens import LensModel
from lenssuper.substructure.fitted import Fitted
from lenssuper.substructure.maps import Maps, Peak
from lenssuper.substructure.parameters import Clumps
from lenssuper.substructure.templates import Perturber

__all__ = ["Candidate", "refined_clump"]

# Peaks from which a clump is fitted, and the distance in arcsec of two peaks between which it is fitted too:
# the smooth lens has changed to make up for what it lacks, and a perturber may lie between two peaks
_STARTS, _PAIR = 3, 0.9
# Share of the significance of the highest peak that another one must have
_WEAK = 0.5
# Rounds of a fit from each start; the best is fitted to the end
_TRIAL = 2
# Range of masses at the start
_LIGHT, _HEAVY = 1e7, 3e10
# Gain in log evidence that is a detection: that of 5 sigma
DETECTION = 12.5


@dataclass(frozen=True, eq=False)
class Candidate:
    """
    A clump that was fitted together with the lens.

    Attributes
    ----------
    x, y : float
        Position in arcsec.
    mass : float
        In solar masses.
    concentration : float
        Over the mean one at the mass; 1 if it was not fitted.
    errors : tuple of float
        Standard deviations of x, y, and of the logarithms of mass and, if fitted, concentration.
    gain : float
        Logarithm of the ratio of the evidence with the clump to that without, Delta ln Z.
    peak : float
        Significance of its peak in the scan.
    lens : LensModel
        The clump.
    """

    x: float
    y: float
    mass: float
    concentration: float
    errors: tuple[float, ...]
    gain: float
    peak: float
    lens: LensModel

    @property
    def detected(self) -> bool:
        """Whether the evidence is decisive: a gain above 12.5, that of 5 sigma."""
        return self.gain > DETECTION


def refined_clump(
    fitted: Fitted,
    maps: Maps,
    kind: tuple[Perturber, bool],
    refit: Callable[..., Fitted],
) -> tuple[Fitted, Candidate] | None:
    """
    Fit one more clump, from the peaks of a scan; None if there is none.

    ``kind`` are the perturber, and whether its concentration is fitted; ``refit`` fits parameters from a
    vector on, with ``rounds``.
    """
    peaks = maps.peaks(_STARTS)
    if not peaks:
        return None
    old = fitted.registration.clumps
    n = 1 if old is None else old.n + 1
    corners = (
        np.array(maps.grid.vertices_arcsec()[0].ravel()),
        np.array(maps.grid.vertices_arcsec()[1].ravel()),
    )
    x_middle, y_middle = (float((v.min() + v.max()) / 2) for v in corners)
    # the standard deviation of a uniform distribution over the map
    width = max(float(v.max() - v.min()) for v in corners) / math.sqrt(12)
    clumps = Clumps(kind[0], n, (x_middle, y_middle), width, kind[1])
    registration = fitted.registration.with_clumps(clumps)
    tried = [
        refit(registration, np.concatenate([fitted.refined.vector, _start(peak, clumps)]), rounds=_TRIAL)
        for peak in _starts(peaks)
    ]
    best = max(tried, key=lambda each: each.log_evidence)
    best = refit(registration, best.refined.vector)
    part = clumps.size
    x, y, *logs = best.refined.vector[-part:].tolist()
    errors = tuple(np.sqrt(np.diag(best.covariance))[-part:].tolist())
    mass, concentration = (*map(math.exp, logs), 1.0)[:2]
    gain = best.log_evidence - fitted.log_evidence
    lens = kind[0].lens(mass, x, y, concentration)
    return best, Candidate(x, y, mass, concentration, errors, gain, peaks[0].significance, lens)


def _starts(peaks):
    """Return the peaks, and the middle between the first and the next one near it."""
    first = peaks[0]
    peaks = [peak for peak in peaks if peak.significance > _WEAK * first.significance]
    for other in peaks[1:]:
        if math.hypot(other.x - first.x, other.y - first.y) < _PAIR:
            mass = max(first.mass, other.mass)
            between = Peak((first.x + other.x) / 2, (first.y + other.y) / 2, mass, other.significance)
            return [*peaks, between]
    return peaks


def _start(peak, clumps):
    log_mass = math.log(np.clip(peak.mass, _LIGHT, _HEAVY))
    return [peak.x, peak.y, log_mass, 0.0][: clumps.size]
