"""What searches in many lenses say of the mass function of subhaloes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from scipy import special

from lenssuper._utils.checks import check_kind, check_number
from lenssuper.simulate.substructure import ColdSubhaloes
from lenssuper.substructure.result import SubstructureResult

__all__ = ["SubhaloCounts", "subhalo_counts"]


@dataclass(frozen=True, eq=False)
class SubhaloCounts:
    """
    Subhaloes that were detected, and those that a mass function lets expect.

    Attributes
    ----------
    expected : ndarray, shape (n,)
        Number of detections that each lens lets expect for the normalisation 1, that of the mass function.
    detected : ndarray of int, shape (n,)
        Number of detections in each lens.
    """

    expected: np.ndarray
    detected: np.ndarray

    def log_likelihood(self, normalisation: float) -> float:
        """
        Return the log-likelihood of the numbers of detections of all lenses, by Poisson's distribution.

        Parameters
        ----------
        normalisation : float
            Multiple of the mass function; 0 for no substructure.

        Returns
        -------
        float
            Minus infinity if there is a detection and none is possible.
        """
        mean = check_number(normalisation, "normalisation", least=0) * self.expected
        terms = special.xlogy(self.detected, mean) - mean - special.gammaln(self.detected + 1)
        return float(np.sum(terms))

    def upper_limit(self, confidence: float = 0.95) -> float:
        """
        Return the normalisation that is not exceeded with a probability, for a flat prior above 0.

        Parameters
        ----------
        confidence : float, optional

        Returns
        -------
        float
            Infinite if no detection is possible in any lens.
        """
        confidence = check_number(confidence, "confidence", above=0, below=1)
        mean = self.expected.sum()
        return float(special.gammaincinv(self.detected.sum() + 1, confidence) / mean) if mean > 0 else np.inf


def subhalo_counts(
    results: Sequence[SubstructureResult], mass_function: ColdSubhaloes, *, sigmas: float = 5.0
) -> SubhaloCounts:
    """
    Compare detections with the number that a mass function lets expect.

    Parameters
    ----------
    results : sequence of SubstructureResult
        One for each lens, with perturbers of the masses that the mass function means: M200 before tides, of
        `~lenssuper.substructure.TidalHalo`.
    mass_function : ColdSubhaloes
        Gives the number on the sky, uniform within its ``radius``, and the power law of masses.
    sigmas : float, optional
        Significance of a perturber that is detected.

    Returns
    -------
    SubhaloCounts

    Notes
    -----
    The expected number is the integral over the map of those above the mass that would be seen there. A
    search misses some of these, and finds some below it.
    """
    check_kind(mass_function, "mass_function", ColdSubhaloes)
    sigmas = check_number(sigmas, "sigmas", above=0)
    results = list(results)
    if not results:
        raise ValueError("results must hold at least one SubstructureResult; got none")
    for each in results:
        check_kind(each, "each of results", SubstructureResult)
        if not each.profile.has_mass:
            raise ValueError(f"each of results must be of perturbers with a mass; got {each.profile!r:.80}")
    expected = [_expected(each, mass_function, sigmas) for each in results]
    return SubhaloCounts(np.array(expected), np.array([len(each.detections) for each in results]))


def _expected(result, mass_function, sigmas):
    """Return the expected number of detections in one lens."""
    low, high = mass_function.mass.to_value(u.Msun)
    seen = result.maps.sensitivity(sigmas)
    seen = np.clip(np.where(np.isfinite(seen), seen, high), low, high)
    power = mass_function.slope + 1
    # the share of the haloes above each mass
    if power == 0:
        share = np.log(high / seen) / np.log(high / low)
    else:
        share = (high**power - seen**power) / (high**power - low**power)
    density = mass_function.mean_number / (np.pi * mass_function.radius.to_value(u.arcsec) ** 2)
    return float(density * result.grid.area_arcsec2 * share.sum())
