"""Errors of the clumps of a fit, whose evidence is no Gaussian and may have other maxima."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lenssuper.lensfit.fitter import CLUMPY
from lenssuper.substructure.fitted import Fitted

__all__ = ["errors", "parts"]

# Distance from the maximum, in errors by its curvature, at which the evidence is looked at, and the longest
# error, in the same unit, that a side may have
_ASIDE, _LONGEST = 2.0, 3.0


def parts(fitted: Fitted) -> np.ndarray:
    """Return the elements (clumps, size) of the clumps of a fit."""
    clumps = fitted.registration.clumps
    assert clumps is not None, "of a fit with clumps"
    return fitted.registration.of_clumps(fitted.refined.vector).reshape(clumps.n, clumps.size)


def errors(fitted: Fitted, k: int, others: Sequence[Fitted]) -> np.ndarray:
    """
    Return the standard deviations (size,) of the elements of one of the clumps about those of a fit.

    The posterior is taken as a sum of peaks, one for each of the ``others`` too, with the weight of its
    evidence. That of the fit itself has two sides, see `_about_peak`; the others are Gaussians.
    """
    fits = [fitted, *others]
    middle, n = parts(fitted), len(fitted.refined.vector)
    which = (np.arange(n - middle.size, n)).reshape(middle.shape)[k]
    variances = [_about_peak(fitted, which), *(np.diag(each.covariance)[which] for each in others)]
    squares = CLUMPY**2 * np.array(variances) + (np.array([parts(each)[k] for each in fits]) - middle[k]) ** 2
    weights = np.exp([each.log_evidence - fitted.log_evidence for each in fits])
    return np.sqrt(weights @ squares / weights.sum())


def _about_peak(fitted, which):
    """
    Return the mean squares of some elements of the vector about the maximum of the evidence.

    On either side the evidence falls like a Gaussian of a width of its own, through what it is some way along
    the line on which a Gaussian of the same curvature has its maximum for each value of the element.
    """
    vector, covariance = fitted.refined.vector, fitted.covariance
    found = []
    for column in which:
        variance = covariance[column, column]
        aside = _ASIDE * covariance[:, column] / np.sqrt(variance)
        falls = np.array([fitted.cost(vector + sign * aside) for sign in (-1, 1)]) - fitted.refined.cost
        low, high = _ASIDE / np.sqrt(2 * np.maximum(falls, 0.5 * (_ASIDE / _LONGEST) ** 2))
        # the second moment of two halves of Gaussians that meet, (low^3 + high^3) / (low + high)
        found.append(variance * (low**2 - low * high + high**2))
    return np.array(found)
