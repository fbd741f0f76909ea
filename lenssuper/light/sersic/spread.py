"""How far the parameters of Sersic profiles may be off, where the data leave it open."""

from __future__ import annotations

import numpy as np

__all__ = ["confined", "prior_widths"]

# Standard deviations of a prior that is wide: of the centre in half-light radii, of log R_e, log n, and both
# parts of the shape.
_CENTER, _LOG_R, _LOG_N, _SHAPE = 0.5, 0.7, 0.7, 0.5
# Smallest eigenvalue of a matrix of correlations that is more than rounding.
_LEAST = 1e-13


def prior_widths(profiles: np.ndarray, n_amplitudes: int) -> np.ndarray:
    """
    Give the standard deviations of a prior on what is free in profiles, as `Components` orders it.

    Parameters
    ----------
    profiles : ndarray, shape (n, 6)
        Of all free parameters.
    n_amplitudes : int
        Amplitudes that follow them, which have no prior.

    Returns
    -------
    ndarray, shape (6 n + n_amplitudes,)
    """
    widths = [(_CENTER * p[2], _CENTER * p[2], _LOG_R, _LOG_N, _SHAPE, _SHAPE) for p in profiles]
    return np.concatenate([*widths, np.full(n_amplitudes, np.inf)])


def confined(covariance: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """
    Give a covariance once more is known: the standard deviation of each parameter from elsewhere.

    Parameters
    ----------
    covariance : ndarray, shape (n, n)
        What the data say.
    widths : ndarray, shape (n,)
        Standard deviations; infinite where nothing else is known.

    Returns
    -------
    ndarray, shape (n, n)
        The inverse of the sum of both inverses; zero where the covariance is.
    """
    free = np.diag(covariance) > 0
    scale = np.sqrt(np.diag(covariance)[free])
    values, vectors = np.linalg.eigh(covariance[np.ix_(free, free)] / np.outer(scale, scale))
    values = np.maximum(values, _LEAST * values.max(initial=_LEAST))
    precision = (vectors / values) @ vectors.T + np.diag((scale / widths[free]) ** 2)
    out = np.zeros_like(covariance)
    out[np.ix_(free, free)] = np.linalg.inv(0.5 * (precision + precision.T)) * np.outer(scale, scale)
    return 0.5 * (out + out.T)
