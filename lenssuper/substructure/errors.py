r"""
Errors of the clumps of a fit, whose evidence is no Gaussian and may have other maxima.

The probability of one element of the vector is that of all of them, integrated over the others; by Laplace's
approximation at each of its values (Tierney & Kadane 1986, J. Am. Stat. Assoc. 81, 82, eq. 4.1)

.. math:: p(v) \propto \exp(-C(v)) \, |H(v)|^{-1/2}

with the least cost C, minus the logarithm of evidence and priors, that a lens with this value v can have, and
the matrix H of second derivatives by the other elements there. The cost along a straight line would not do:
position and mass of a clump and the smooth lens change together along a curve, and beside it the evidence
falls much faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lenssuper.lensfit.fitter import CLUMPY
from lenssuper.substructure.fitted import Fitted

__all__ = ["errors", "of_curvature", "parts"]

# Distance from the maximum, in errors by its curvature, at which the evidence is looked at first, and how
# many times farther it is looked at where it has fallen by less than the last number there
_ASIDE, _FARTHER, _FLAT = 2.0, 3.0, 1.0
# Longest error, in the same unit, that a side may have
_LONGEST = 3.0


def parts(fitted: Fitted) -> np.ndarray:
    """Return the elements (clumps, size) of the clumps of a fit."""
    clumps = fitted.registration.clumps
    assert clumps is not None, "of a fit with clumps"
    return fitted.registration.of_clumps(fitted.refined.vector).reshape(clumps.n, clumps.size)


def of_curvature(fitted: Fitted, k: int) -> np.ndarray:
    """Return the standard deviations (size,) of one of the clumps from the curvature of the evidence."""
    return CLUMPY * np.sqrt(np.diag(fitted.covariance)[_elements(fitted, k)])


def _elements(fitted, k):
    """Return the positions of one of the clumps in the vector."""
    shape, n = parts(fitted).shape, len(fitted.refined.vector)
    return np.arange(n - np.prod(shape), n).reshape(shape)[k]


def errors(fitted: Fitted, k: int, others: Sequence[Fitted]) -> np.ndarray:
    """
    Return the standard deviations (size,) of the elements of one of the clumps about those of a fit.

    The posterior is taken as a sum of peaks, one for each of the ``others`` too, with the weight of its
    evidence. That of the fit itself has two sides, see `_about_peak`; the others are Gaussians. All widths
    are `CLUMPY` times those of the evidence, so its logarithm counts 1 / CLUMPY^2 times in weights as well.
    """
    fits = [fitted, *others]
    middle, which = parts(fitted), _elements(fitted, k)
    variances = [_about_peak(fitted, which), *(np.diag(each.covariance)[which] for each in others)]
    squares = CLUMPY**2 * np.array(variances) + (np.array([parts(each)[k] for each in fits]) - middle[k]) ** 2
    weights = np.exp([(each.log_evidence - fitted.log_evidence) / CLUMPY**2 for each in fits])
    return np.sqrt(weights @ squares / weights.sum())


def _about_peak(fitted, which):
    """
    Return the mean squares of some elements of the vector about the maximum of the evidence.

    On either side the probability falls like a Gaussian of a width of its own.
    """
    found = []
    for column in which:
        low, high = (_width(fitted, column, sign) for sign in (-1, 1))
        # the second moment of two halves of Gaussians that meet, (low^3 + high^3) / (low + high)
        found.append(low**2 - low * high + high**2)
    return np.array(found)


def _width(fitted, column, sign):
    """Return the width of a Gaussian that falls as the probability of an element does on one side."""
    std = np.sqrt(fitted.covariance[column, column])
    aside = _ASIDE
    fall = _fall(fitted, column, sign * aside)
    if fall < _FLAT:
        aside *= _FARTHER
        fall = _fall(fitted, column, sign * aside)
    return std * aside / np.sqrt(2 * max(fall, 0.5 * (aside / _LONGEST) ** 2))


def _fall(fitted, column, aside):
    """Return minus the logarithm of the probability of an element, ``aside`` errors from the maximum."""
    covariance, refined = fitted.covariance, fitted.refined
    # where a Gaussian of the same curvature has its maximum
    begin = refined.vector + aside * covariance[:, column] / np.sqrt(covariance[column, column])
    held = fitted.climbed(begin, [column]).refined
    dets = [_log_det_of_others(each.information, column) for each in (held, refined)]
    return held.cost - refined.cost + 0.5 * (dets[0] - dets[1])


def _log_det_of_others(matrix, column):
    others = np.delete(np.arange(len(matrix)), column)
    return np.linalg.slogdet(matrix[np.ix_(others, others)])[1]
