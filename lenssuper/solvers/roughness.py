"""Where a source is rougher than elsewhere: the local scale of the white noise that its field is made of."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from lenssuper.solvers.curvature import Curvature
from lenssuper.solvers.numerics import batches, probes

__all__ = ["local_roughness"]

# Standard deviation of the window, in pixels of the source, and number of measured modes whose worth of
# evidence it takes to move the squared map halfway from 1. Both are tuned: of 2 to 12 and 1 to 80 these were
# chosen on rings, ellipticals, clumpy spirals, random fields and images of real galaxies, four to eight each,
# and on three of these kinds as Hubble and Webb see them. With more modes half of the gain is lost, with
# fewer peaks become too bright.
_WINDOW = 3.0
_MODES = 30.0
# Bounds of the map
_RANGE = (0.1, 10.0)
# Random vectors that estimate how much of the noise is measured, and the error of their solutions, squared
_PROBES, _SHARE, _STEPS = 8, 1e-3, 60


def local_roughness(
    curvature: Curvature, white: np.ndarray, roughness: float | np.ndarray = 1.0
) -> np.ndarray:
    r"""
    Estimate the standard deviation of the white noise around each pixel that maximises the evidence.

    Galaxies have rough arms and knots in smooth surroundings, which no stationary field has. With the white
    noise :math:`r_i \xi_i` in place of :math:`\xi_i`, the evidence has a maximum where

    .. math::
        r_i^2 = \frac{(r_i \xi_i)^2}{\gamma_i}, \qquad \gamma_i = 1 - (H^{-1})_{ii}

    at the mode :math:`\xi` of the posterior with curvature H (Tipping 2001, JMLR 1, 211, eqs. 16-17):
    :math:`\gamma_i` is the share of the noise of a pixel that the data measure. Both are summed over a
    Gaussian window of 3 pixels, whose area is 113 pixels, and thirty measured modes with :math:`r = 1` are
    added, as by an inverse gamma prior of :math:`r^2`: where nothing is measured, r is 1.

    Parameters
    ----------
    curvature : Curvature
        H, at the mode, with the map so far.
    white : array, shape (ny, nx)
        The mode.
    roughness : float or array, optional
        The map so far.

    Returns
    -------
    array, shape (ny, nx)
        The map r.

    Notes
    -----
    The diagonal of :math:`1 - H^{-1}` is estimated with random signs (Bekas, Kokiopoulou & Saad 2007, Appl.
    Numer. Math. 57, 1214).
    """
    measured = np.zeros(white.shape)
    for signs in batches(probes(_PROBES, white.shape, np.random.default_rng(0)).astype(np.float32)):
        solved, _ = curvature.solve(signs, share=_SHARE, steps=_STEPS)
        measured += np.sum(signs * (signs - solved), axis=0) / _PROBES
    squares = _in_window((roughness * white) ** 2)
    # an estimate of a small diagonal may be negative
    return np.clip(np.sqrt((squares + _MODES) / (np.maximum(_in_window(measured), 0) + _MODES)), *_RANGE)


def _in_window(image):
    """Return sums over the window around each pixel; its area is that of a Gaussian squared."""
    return 4 * np.pi * _WINDOW**2 * gaussian_filter(image, _WINDOW, mode="constant")
