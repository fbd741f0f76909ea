"""The noise of an image, measured in its sky, and the pixels that hold light: arrays in, arrays out."""

from __future__ import annotations

import numbers
from functools import cache

import numpy as np
from scipy import ndimage

__all__ = [
    "binned_covariance",
    "bright_pixels",
    "check_correlation",
    "check_covariance",
    "measure_covariance",
    "sky_level",
    "sky_pixels",
    "white_scatter",
]

# Largest distance, in pixels along each axis, over which noise is taken to be correlated. Drizzling with the
# usual kernels reaches no further (Fruchter & Hook 2002, PASP 114, 144, section 7).
_REACH = 2
# Side, in pixels, of the square whose mean is subtracted from each pixel.
_LOCAL = 7
# Pixels of empty sky needed to measure the correlation to a fifth.
_SKY = 500
# Mean of 5 x 5 pixels, in units of its own scatter, above which there may be light, and how many pixels from
# there the sky begins.
_BRIGHT, _APART = 4.0, 4
# Variance of a sum over many pixels, in units of the variance that differences of pixels show, above which it
# is that of light: 5 x 5 pixels that share all their noise raise it 25 times.
_MOST_SHARED = 25.0
# S/N of the mean of 3 x 3 pixels from which there is light, and how many such pixels must touch.
_SIGNIFICANT, _GROUP = 4.0, 6
# Longest side of a covariance, in pixels.
_LONGEST = 15


def measure_covariance(data: np.ndarray, weights: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """
    Measure the covariance of the noise of neighbouring pixels, in the sky of an image.

    Parameters
    ----------
    data, weights : ndarray, shape (ny, nx)
        Surface brightness, and one over its variance.
    mask : ndarray of bool, shape (ny, nx)
        Pixels that are not used.

    Returns
    -------
    ndarray, shape (5, 5), or None
        Mean product of the noise of two pixels, in units of their standard deviations, by the distance
        between them: in the middle that of a pixel with itself, above it with the one a row below. None where
        the noise is not significantly correlated, or there is too little sky to tell, as where arcs fill the
        field.

    Notes
    -----
    Drizzled images share the light, and so the noise, of an exposure's pixel among several pixels (Fruchter &
    Hook 2002, PASP 114, 144, section 7). The covariance is that of the data over sigma, so that it corrects a
    noise map that is too large or too small. Gradients and the faint outskirts of galaxies are removed first,
    with the mean b of 7 x 7 pixels around each, which turns the covariance c into
    c - 2 c * b + c * b * b; that is solved for c.

    The sum of the covariance is the variance of a sum over many pixels, relative to what the variances of the
    single pixels add up to: the power of the noise at long waves (Casertano et al. 2000, AJ 120, 2747,
    appendix A).
    """
    used = ~mask
    # less the level of the sky, which need not have been subtracted
    scaled = (data - sky_level(data, used)) * np.sqrt(weights)
    sky = sky_pixels(scaled, used)
    n = np.count_nonzero(sky)
    if n < _SKY:
        return None
    spread = white_scatter(scaled, sky)
    scaled = np.clip(scaled - _local_mean(scaled, sky, _LOCAL), -4 * spread, 4 * spread)
    scaled = np.where(sky, scaled, 0.0)
    side = 2 * _REACH + 1
    # row by row, from a pixel with itself onwards; the other half is its mirror image
    later = [divmod(k, side) for k in range(side**2 // 2, side**2)]
    half = [_covariance(scaled, sky, j - _REACH, i - _REACH) for j, i in later]
    solve = _of_less_local_mean()
    covariance = (solve @ np.array(half[:0:-1] + half)).reshape(side, side)
    # the covariance of white noise scatters by variance / sqrt(n), alike at opposite distances
    scatter = np.sqrt(2 / n) * np.linalg.norm(solve.sum(axis=0)) * spread**2
    return covariance if 1 + 3 * scatter < covariance.sum() < _MOST_SHARED * spread**2 else None


@cache
def _of_less_local_mean():
    """Return the matrix that turns the covariance of noise less its local mean into that of the noise."""
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


def binned_covariance(covariance: np.ndarray, factor: int) -> np.ndarray:
    """
    Return the covariance by distance of pixels ``factor`` times as large.

    It is that of the means of ``factor`` x ``factor`` pixels of equal weight, in units of what their standard
    deviations would be without correlations. Its sum is the same.
    """
    reach = max(covariance.shape) // 2 + factor
    side = reach // factor
    triangle = np.maximum(factor - np.abs(np.arange(-factor, factor + 1)), 0) / factor
    far = [max(0, (side + 1) * factor - n // 2) for n in covariance.shape]
    padded = np.pad(covariance, [(n, n) for n in far])
    summed = ndimage.convolve(padded, np.outer(triangle, triangle), mode="constant")
    ny, nx = (n // 2 for n in padded.shape)
    at = factor * np.arange(-side, side + 1)
    return summed[np.ix_(ny + at, nx + at)]


def check_covariance(covariance) -> np.ndarray:
    """
    Return a covariance of noise by distance as an array of floats, checked.

    Raises
    ------
    ValueError
        If it has no middle, is not symmetric about it or largest there, or not finite.
    """
    covariance = np.array(covariance, dtype=np.float64)
    if covariance.ndim != 2 or not all(n % 2 for n in covariance.shape) or max(covariance.shape) > _LONGEST:
        raise ValueError(
            f"a noise covariance must have two odd sides of up to {_LONGEST} pixels; got {covariance.shape}"
        )
    ny, nx = covariance.shape
    middle = covariance[ny // 2, nx // 2]
    symmetric = np.allclose(covariance, covariance[::-1, ::-1], rtol=0, atol=1e-9 * abs(middle))
    if not (
        np.isfinite(covariance).all() and symmetric and middle > 0 and np.abs(covariance).max() <= middle
    ):
        raise ValueError(
            "a noise covariance must be finite, symmetric about its middle, and largest there; "
            f"got {np.array2string(covariance, precision=2, threshold=30)}"
        )
    return covariance


def check_correlation(value: float | np.ndarray | None) -> float | np.ndarray | None:
    """
    Return what a user says about correlated noise, checked: a covariance by distance, a number, or None.

    Raises
    ------
    TypeError, ValueError
        If it is none of them, a number less than 1, or an array that is not a covariance by distance.
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray) and value.ndim:
        return check_covariance(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"noise_correlation must be a number or an array; got {value!r:.80}")
    if not (np.isfinite(value) and value >= 1):
        raise ValueError(f"noise_correlation must be 1 or more; got {value}")
    return float(value)


def sky_level(data: np.ndarray, used: np.ndarray) -> float:
    """Find the commonest brightness of an image, averaged over 5 x 5 pixels."""
    values = np.sort(_local_mean(data, used, 5)[used])
    # the half-sample mode, the densest half of the densest half ... (Bickel & Fruehwirth 2006, CSDA 50)
    while len(values) > 3:
        half = (len(values) + 1) // 2
        start = np.argmin(values[half - 1 :] - values[: len(values) - half + 1])
        values = values[start : start + half]
    return float(values.mean()) if len(values) else 0.0


def white_scatter(scaled: np.ndarray, used: np.ndarray) -> float:
    """
    Measure the standard deviation of a pixel from the differences of pixels two apart.

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
    # what is not used may be nan or huge, and the filter's running sum would carry it along the row
    total = ndimage.uniform_filter(np.where(where, values, 0.0), side, mode="constant")
    return total / np.maximum(count, side**-2.0)


def sky_pixels(scaled: np.ndarray, used: np.ndarray) -> np.ndarray:
    """
    Find the pixels far from all light.

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
    # light only adds, so the negative pixels give the scatter of the noise
    scatter = np.sqrt(np.mean(smooth[smooth < 0] ** 2)) if np.any(smooth < 0) else 0.0
    return used & ~ndimage.binary_dilation(smooth > _BRIGHT * scatter, iterations=_APART)


def _covariance(values, where, rows, columns):
    """Mean product of the values at a distance, over pairs of which both are in a mask."""
    ny, nx = values.shape
    first = np.s_[: ny - rows, max(0, -columns) : nx - max(0, columns)]
    second = np.s_[rows:, max(0, columns) : nx - max(0, -columns)]
    return np.sum(values[first] * values[second]) / max(1, np.count_nonzero(where[first] & where[second]))


def bright_pixels(data: np.ndarray, weights: np.ndarray, mask: np.ndarray, correlation: float) -> np.ndarray:
    """
    Find the pixels with light.

    Parameters
    ----------
    data, weights : ndarray, shape (ny, nx)
        Surface brightness, and one over its variance.
    mask : ndarray of bool, shape (ny, nx)
        Pixels that are not used.
    correlation : float
        Factor by which correlations between pixels raise the variance of a sum over many.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Where the weighted mean of 3 x 3 pixels is four times its standard deviation or more, and so are those
        of its neighbours, as for a star.
    """
    largest = weights.max()
    relative = weights / largest  # of order one, whatever the unit
    box = np.ones((3, 3))
    total = ndimage.convolve(relative, box, mode="constant")
    signal = ndimage.convolve(relative * np.where(mask, 0.0, data), box, mode="constant")
    noise = np.sqrt(total * correlation / largest)
    groups, _ = ndimage.label((signal > _SIGNIFICANT * noise) & ~mask, box)
    return (np.bincount(groups.ravel()) >= _GROUP)[groups] & (groups > 0)
