"""
Corrections to a smooth galaxy whose isophotes differ from the ellipses of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Isophotes", "fit_isophotes", "unmodelled_share"]

# Ratio of the radii of neighbouring knots.
_STEP = 1.5
# Pixels that a ring needs for a share of its own.
_PIXELS = 12


@dataclass(frozen=True, eq=False)
class Isophotes:
    """
    The difference between a galaxy and a smooth model of it.

    Attributes
    ----------
    correction : ndarray, shape (ny, nx)
        To be added to the model.
    variance : ndarray, shape (ny, nx)
        Of the correction.
    order : int
        The highest mode.
    effective : float
        Number of coefficients that the data determine, rather than the prior.
    parts : ndarray, shape (n, ny, nx)
        Images by which the light may differ from the smooth model: those of the coefficients, each at one
        standard deviation of the prior.
    """

    correction: np.ndarray
    variance: np.ndarray
    order: int
    effective: float
    parts: np.ndarray


def fit_isophotes(
    residual: np.ndarray,
    weights: np.ndarray,
    light: np.ndarray,
    radius: np.ndarray,
    angle: np.ndarray,
    *,
    order: int = 4,
    smallest: float,
    share: float = 0.05,
) -> Isophotes:
    r"""
    Fit the residuals of a galaxy with Fourier modes along its ellipses.

    Parameters
    ----------
    residual : ndarray, shape (ny, nx)
        The image less the model.
    weights : ndarray, shape (ny, nx)
        One over the variance of the image; 0 in pixels that are not used.
    light : ndarray, shape (ny, nx)
        The galaxy in the model, without the sky.
    radius, angle : ndarray, shape (ny, nx)
        Of every pixel, from the centre of the galaxy: the radius of its ellipse and the angle along it.
    order : int, optional
        The highest mode.
    smallest : float
        The first radius at which the modes may change: about the width of the PSF.
    share : float, optional
        Standard deviation of the prior on the coefficients, as a share of the light.

    Returns
    -------
    Isophotes

    Notes
    -----
    The correction is the light times

    .. math:: \sum_j h_j(R) \left[a_{0j} + \sum_{m=1}^{M} a_{mj} \cos m \varphi + b_{mj} \sin m \varphi\right]

    with hat functions h_j of log R, a factor of 1.5 apart: the Fourier modes along isophotes of Jedrzejewski
    (1987, MNRAS 226, 747) with a Gaussian prior on each of them, which keeps them near zero where most of a
    ring is masked.
    """
    basis = light * _modes(radius, angle, order, smallest, radius[weights > 0].max())
    used = weights > 0
    columns = basis[:, used]
    weighted = columns * weights[used]
    precision = weighted @ columns.T
    n = len(precision)
    inverse = np.linalg.inv(share**2 * precision + np.eye(n)) * share**2
    coefficients = inverse @ (weighted @ residual[used])
    variance = np.einsum("iyx,iyx->yx", np.tensordot(inverse, basis, 1), basis)
    return Isophotes(
        correction=np.tensordot(coefficients, basis, 1),
        variance=np.maximum(variance, 0.0),
        order=order,
        effective=float(n - np.trace(inverse) / share**2),
        parts=share * basis,
    )


def unmodelled_share(
    residual: np.ndarray,
    variance: np.ndarray,
    light: np.ndarray,
    used: np.ndarray,
    radius: np.ndarray,
    smallest: float,
) -> np.ndarray:
    """
    Measure which share of the light of a galaxy its model misses, beyond the noise, around every radius.

    In rings of pixels of similar ``radius``, a factor of 1.5 apart from ``smallest`` on, the squares of the
    ``residual`` are compared with the ``variance`` of noise and model: the excess is taken as the square of a
    share times the ``light``. Arrays are of shape (ny, nx); ``used`` pixels are those without arcs.

    Returns
    -------
    ndarray, shape (ny, nx)
        0 or more; between the middles of the rings interpolated in the logarithm of the radius.
    """
    position = _position(radius, smallest)
    ring = np.maximum(np.ceil(position), 0).astype(int)
    n = ring.max() + 1
    here, light_here = ring[used], light[used]
    excess = np.bincount(here, (residual[used] ** 2 - variance[used]) * light_here**2, minlength=n)
    norm = np.bincount(here, light_here**4, minlength=n)
    known = (np.bincount(here, minlength=n) >= _PIXELS) & (norm > 0)
    if not known.any():
        return np.zeros(light.shape)
    shares = np.sqrt(np.maximum(excess[known], 0.0) / norm[known])
    middles = np.flatnonzero(known) - 0.5
    return np.interp(position, middles, shares)


def _position(radius, smallest):
    """Return radii as numbers of knots beyond the smallest."""
    return np.log(np.maximum(radius, 1e-3 * smallest) / smallest) / np.log(_STEP)


def _modes(radius, angle, order, smallest, largest):
    """Return hat functions of log radius times the Fourier modes, shape (n, ny, nx)."""
    n = max(2, 1 + int(np.ceil(np.log(largest / smallest) / np.log(_STEP))))
    position = _position(radius, smallest)
    images = []
    for knot in range(n):
        hat = np.clip(1 - np.abs(np.clip(position, 0, n - 1) - knot), 0, None)
        if not hat.any():
            continue
        images.append(hat)
        # the angle is not defined at the centre
        hat = hat * np.minimum(1.0, radius / smallest)
        for m in range(1, order + 1):
            images += [hat * np.cos(m * angle), hat * np.sin(m * angle)]
    return np.stack(images)
