"""What the sky of an observation says of its noise, and where there is light."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from lenssuper.observation import Observation

__all__ = [
    "given_or_measured",
    "lit_pixels",
    "noise_correlation",
    "noise_covariance",
    "sky_pixels",
    "white_scatter",
]

# Largest distance, in pixels along each axis, at which noise is looked for to agree. Drizzling with usual
# kernels reaches no further (Fruchter & Hook 2002, PASP 114, 144, section 7).
_REACH = 2
# Side, in pixels, of the square whose mean is subtracted from each pixel.
_LOCAL = 7
# Pixels of empty sky from which the correlation can be measured to a fifth.
_SKY = 500
# Mean of 5 x 5 pixels, in units of its own scatter, above which there may be light, and how far from there
# the sky begins.
_BRIGHT, _APART = 4.0, 4
# S/N of the mean of 3 x 3 pixels from which there is light, and how many such pixels must touch.
_LIT, _GROUP = 4.0, 6


def noise_correlation(observation: Observation) -> float:
    """
    Measure by how much correlations raise the noise of what is larger than a pixel.

    Parameters
    ----------
    observation : Observation

    Returns
    -------
    float
        Variance of a sum over many pixels of sky, relative to what the variances of the single pixels add up
        to: the sum of `noise_covariance`; 1 where there is none.

    Notes
    -----
    What is wider than a few pixels has the variance of a pixel times the sum of the noise's autocorrelation
    over all distances (Casertano et al. 2000, AJ 120, 2747, appendix A): its power spectrum at long waves.
    """
    covariance = noise_covariance(observation)
    return 1.0 if covariance is None else float(covariance.sum())


def noise_covariance(observation: Observation) -> np.ndarray | None:
    """
    Measure how the noise of a pixel goes along with that of its neighbours.

    Parameters
    ----------
    observation : Observation

    Returns
    -------
    ndarray, shape (5, 5), or None
        Mean product of the noise of two pixels, in units of their standard deviations, by the distance
        between them: in the middle that of a pixel with itself, above it with the one a row below. None where
        the noise is not significantly correlated, or there is too little sky to tell.

    Notes
    -----
    Drizzled images share the light, and so the noise, of an exposure's pixel among several pixels (Fruchter &
    Hook 2002, PASP 114, 144, section 7). The covariance of data over sigma is measured in the sky, so that it
    makes up for a noise map that is too large or too small. Gradients, faint outskirts of galaxies and the
    like are taken out first with the mean b of 7 x 7 pixels around each, which turns the covariance c into
    c - 2 c * b + c * b * b; that is solved for c.
    """
    used = ~observation.mask
    scaled = observation.data * np.sqrt(observation.weights)
    sky = sky_pixels(scaled, used)
    n = np.count_nonzero(sky)
    if n < _SKY:
        return None
    spread = white_scatter(scaled, sky)
    scaled = np.clip(scaled - _local_mean(scaled, sky, _LOCAL), -4 * spread, 4 * spread) * sky
    side = 2 * _REACH + 1
    # row by row, from a pixel with itself onwards; what lies before is the same
    later = [divmod(k, side) for k in range(side**2 // 2, side**2)]
    half = [_covariance(scaled, sky, j - _REACH, i - _REACH) for j, i in later]
    solve = _of_less_local_mean()
    covariance = (solve @ np.array(half[:0:-1] + half)).reshape(side, side)
    # of white noise the covariance at each distance, and its opposite, scatters by variance / sqrt(n)
    scatter = np.sqrt(2 / n) * np.linalg.norm(solve.sum(axis=0)) * spread**2
    return covariance if covariance.sum() > 1 + 3 * scatter else None


@cache
def _of_less_local_mean():
    """The matrix to a covariance by distance from that of noise less its local mean."""
    side = 2 * _REACH + 1
    reach = _REACH + _LOCAL - 1
    mean, delta = np.zeros((2, 2 * reach + 1, 2 * reach + 1))
    inner = np.s_[reach - _LOCAL // 2 : reach + _LOCAL // 2 + 1]
    mean[inner, inner] = _LOCAL**-2.0
    delta[reach, reach] = 1.0
    kernel = delta - 2 * mean + ndimage.convolve(mean, mean, mode="constant")
    at = np.stack(np.divmod(np.arange(side**2), side), axis=1)
    apart = at[:, None] - at[None] + reach
    return np.linalg.inv(kernel[apart[..., 0], apart[..., 1]])


def given_or_measured(given: float | np.ndarray | None, observation: Observation) -> float | np.ndarray:
    """Give how neighbours share their noise: as given, else what `noise_covariance` finds; 1 for nothing."""
    if given is not None:
        return given
    covariance = noise_covariance(observation)
    return 1.0 if covariance is None else covariance


def white_scatter(scaled: np.ndarray, used: np.ndarray) -> float:
    """
    Give the standard deviation of a pixel, from the differences of pixels two apart.

    Light hardly changes over that distance.

    Parameters
    ----------
    scaled : ndarray, shape (ny, nx)
        Data, in any unit in which the noise is the same in all pixels.
    used : ndarray of bool, shape (ny, nx)
        Pixels to use.
    """
    differences = (scaled[:, 2:] - scaled[:, :-2])[used[:, 2:] & used[:, :-2]]
    if not differences.size:
        return 1.0
    return max(1.4826 * float(np.median(np.abs(differences))) / np.sqrt(2), 1e-6)


def _local_mean(values, where, side):
    count = ndimage.uniform_filter(where.astype(float), side, mode="constant")
    return ndimage.uniform_filter(values * where, side, mode="constant") / np.maximum(count, side**-2.0)


def sky_pixels(scaled: np.ndarray, used: np.ndarray) -> np.ndarray:
    """
    Find the pixels away from all light.

    Parameters
    ----------
    scaled : ndarray, shape (ny, nx)
        Data less the level of the sky, in any unit in which the noise is the same in all pixels.
    used : ndarray of bool, shape (ny, nx)
        Pixels to use.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    smooth = np.where(used, _local_mean(scaled, used, 5), 0.0)
    # light makes nothing darker: what is below zero is noise, and so are as many pixels above
    scatter = np.sqrt(np.mean(smooth[smooth < 0] ** 2)) if np.any(smooth < 0) else 0.0
    return used & ~ndimage.binary_dilation(smooth > _BRIGHT * scatter, iterations=_APART)


def _covariance(values, where, rows, columns):
    """Mean product of the values at a distance, over pairs of which both are in a mask."""
    ny, nx = values.shape
    first = np.s_[: ny - rows, max(0, -columns) : nx - max(0, columns)]
    second = np.s_[rows:, max(0, columns) : nx - max(0, -columns)]
    return np.sum(values[first] * values[second]) / max(1, np.count_nonzero(where[first] & where[second]))


def lit_pixels(observation: Observation) -> np.ndarray:
    """
    Find the pixels around which there is light.

    Parameters
    ----------
    observation : Observation

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Where the weighted mean of 3 x 3 pixels is four times its standard deviation or more, and so are its
        neighbours', as a star would make them.
    """
    largest = observation.weights.max()
    relative = observation.weights / largest  # of order one, whatever the unit
    box = np.ones((3, 3))
    total = ndimage.convolve(relative, box, mode="constant")
    signal = ndimage.convolve(relative * observation.data, box, mode="constant")
    noise = np.sqrt(total * noise_correlation(observation) / largest)
    groups, _ = ndimage.label((signal > _LIT * noise) & ~observation.mask, box)
    return (np.bincount(groups.ravel()) >= _GROUP)[groups] & (groups > 0)
