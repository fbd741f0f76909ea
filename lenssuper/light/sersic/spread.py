"""Uncertainties of the parameters of Sersic profiles that the data hardly constrain."""

from __future__ import annotations

import numpy as np

__all__ = ["confined", "prior_widths"]

# Standard deviations of a wide prior: of the centre in half-light radii, of log R_e, log n, and both parts of
# the shape.
_CENTER, _LOG_R, _LOG_N, _SHAPE = 0.5, 0.7, 0.7, 0.5
# Smallest eigenvalue of a correlation matrix that is more than rounding error.
_LEAST = 1e-13


def prior_widths(profiles: np.ndarray, n_amplitudes: int) -> np.ndarray:
    """
    Return the standard deviations (6 n + n_amplitudes,) of a wide prior on n profiles (n, 6).

    All six parameters are free, in the order of `Components`; the amplitudes, which follow, have no prior.
    """
    widths = [(_CENTER * p[2], _CENTER * p[2], _LOG_R, _LOG_N, _SHAPE, _SHAPE) for p in profiles]
    return np.concatenate([*widths, np.full(n_amplitudes, np.inf)])


def confined(covariance: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """
    Combine the covariance (n, n) from the data with a prior of standard deviations ``widths`` (n,).

    The result is the inverse of the sum of both inverses; rows that are zero, of parameters held fixed, stay
    zero.
    """
    free = np.diag(covariance) > 0
    scale = np.sqrt(np.diag(covariance)[free])
    values, vectors = np.linalg.eigh(covariance[np.ix_(free, free)] / np.outer(scale, scale))
    values = np.maximum(values, _LEAST * values.max(initial=_LEAST))
    precision = (vectors / values) @ vectors.T + np.diag((scale / widths[free]) ** 2)
    out = np.zeros_like(covariance)
    out[np.ix_(free, free)] = np.linalg.inv(0.5 * (precision + precision.T)) * np.outer(scale, scale)
    return 0.5 * (out + out.T)
