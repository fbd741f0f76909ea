"""The light of a source where it is too faint for the data to show it pixel by pixel."""

from __future__ import annotations

import numpy as np

from lenssuper.forward.model import ForwardModel
from lenssuper.solvers.numerics import WhitenedData

__all__ = ["faint_light"]

# Brightness, in standard deviations, below which a pixel is faint.
_FAINT = 1.0


def faint_light(
    model: ForwardModel, source: np.ndarray, std: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""
    Return the faint pixels in and outside of an aperture, and the error of their mean brightness by the data.

    Sources that may not be negative are too bright where the data show nothing: each pixel may deviate to
    one side only, and a sum over many pixels may be wrong by several of its standard deviations. The mean
    brightness of all of them, however, is measured well. With the residuals r of the source in units of the
    noise, the images a and b of a source that is 1 in the faint pixels of the aperture, and of one that is 1
    in those outside of it, and A = (a, b), the correction c of both is that of least squares,

    .. math:: c = (A^T A)^{-1} A^T r, \qquad \mathrm{Cov}(c) = (A^T A)^{-1}

    (Gauss-Markov; e.g. Hogg, Bovy & Lang 2010, arXiv 1008.4686, eqs. 5 and 6), all other pixels being known.

    Parameters
    ----------
    model : ForwardModel
    source, std : ndarray, shape of the source grid, in units of the data
    inside : ndarray of bool, shape of the source grid

    Returns
    -------
    faint : ndarray of bool, shape (2, ny, nx)
        Pixels in the aperture, and outside of it, that are less than a standard deviation bright.
    correction : ndarray, shape (2,)
        To be added to each of them.
    covariance : ndarray, shape (2, 2)
        Of the corrections.
    """
    known = np.isfinite(std) & (std > 0) & (model.lensing.coverage > 0)
    faint = known & (source < _FAINT * std)
    parts = np.stack([faint & inside, faint & ~inside])
    if not parts.any():
        return parts, np.zeros(2), np.zeros((2, 2))
    scale = float(np.max(std[faint]))
    data = WhitenedData(model, scale)
    images = data.forward(parts.astype(float)).reshape(2, -1)
    residuals = data.data - data.forward(source / scale)
    # there may be no faint pixel in one of both
    covariance = np.linalg.pinv(images @ images.T, hermitian=True)
    correction = covariance @ (images @ residuals.ravel())
    return parts, scale * correction, scale**2 * covariance
