"""The sky under a galaxy that fills an image: what its profile falls to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

__all__ = ["SkyUnderHalo", "sky_under_halo"]

# Rings around the galaxy, and how many pixels one must have; part of the radius of the largest whole ring
# within which arcs are, and the profile is not looked at.
_RINGS, _PIXELS, _ARCS = 40, 30, 0.25
# Light of other objects is what exceeds the profile by so many times the scatter of the mean of 5 x 5 pixels.
_BRIGHT = 4.0
# What is expected of a galaxy that fills an image, an elliptical: Sersic index and its scatter, and the
# scatter of the logarithm of its radius.
_INDEX, _SCATTER, _LOG_SCATTER = 4.0, 1.0, 1.5


@dataclass(frozen=True)
class SkyUnderHalo:
    """
    Level of the sky that a galaxy's profile falls to.

    Attributes
    ----------
    level, error : float
        In the unit of the data.
    reduced_chi2 : float
        How well the profile is a Sersic profile and a constant.
    """

    level: float
    error: float
    reduced_chi2: float


def sky_under_halo(data: np.ndarray, used: np.ndarray, center: tuple[float, float]) -> SkyUnderHalo | None:
    """
    Extrapolate the light of a galaxy to its end, and give the sky that is left.

    A Sersic profile and a constant are fitted to the medians of rings. The outskirts alone do not tell one
    from the other; an index of 4 +- 1, that of galaxies which fill an image, decides.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    used : ndarray of bool, shape (ny, nx)
        Pixels to use.
    center : (float, float)
        Column and row of the galaxy.

    Returns
    -------
    SkyUnderHalo or None
        None if there are too few pixels to tell.
    """
    radius, level, error, reach, farthest = _profile(data, used, center)
    seen = np.isfinite(level) & (radius > _ARCS * reach)
    if np.count_nonzero(seen) < 8:
        return None
    radius, level, error = radius[seen], level[seen], error[seen]
    start = np.log(max(level[0] - level[-1], error[0]))

    def residuals(parameters):
        bright, size, index, sky = parameters
        profile = np.exp(bright - (2 * index - 1 / 3) * ((radius / np.exp(size)) ** (1 / index) - 1))
        prior = ((index - _INDEX) / _SCATTER, (size - np.log(reach / 3)) / _LOG_SCATTER)
        return np.r_[(profile + sky - level) / error, prior]

    fits = [
        optimize.least_squares(
            residuals,
            (start, np.log(reach / 3), index, level[-1]),
            bounds=((start - 50, 0, 0.5, -np.inf), (start + 50, np.log(farthest) + 1, 8, np.inf)),
            x_scale=(1, 1, 1, 5 * np.mean(error)),
        )
        for index in (2, 4)
    ]
    best = min(fits, key=lambda fit: fit.cost)
    chi2 = float(np.sum(best.fun[:-2] ** 2) / len(radius))
    covariance = np.linalg.pinv(best.jac.T @ best.jac)
    return SkyUnderHalo(float(best.x[3]), float(np.sqrt(covariance[3, 3] * max(1.0, chi2))), chi2)


def _profile(data, used, center):
    """Radii of rings, the median in each and its error; radii of the largest whole ring and of the last."""
    ny, nx = data.shape
    y, x = np.indices(data.shape)
    distance = np.hypot(y - center[1], x - center[0])
    reach = max(1.0, min(center[0] + 0.5, nx - 0.5 - center[0], center[1] + 0.5, ny - 0.5 - center[1]))
    ring = np.minimum((distance / distance.max() * _RINGS).astype(int), _RINGS - 1)
    away = used
    for _ in range(3):
        radius, level, error = np.full((3, _RINGS), np.nan)
        for k in range(_RINGS):
            at = away & (ring == k)
            if np.count_nonzero(at) < _PIXELS:
                continue
            values = data[at]
            level[k], radius[k] = np.median(values), distance[at].mean()
            error[k] = 1.25 * 1.4826 * np.median(np.abs(values - level[k])) / np.sqrt(len(values))
        known = np.isfinite(level)
        if not known.any():
            break
        left = np.where(used, data - np.interp(distance, radius[known], level[known]), 0.0)
        left = ndimage.uniform_filter(left, 5)
        scatter = 1.4826 * np.median(np.abs(left[away]))
        away = used & ~ndimage.binary_dilation(left > _BRIGHT * scatter, iterations=3)
    # neighbouring pixels share their noise, and a galaxy is not round
    floor = 0.5 * np.nanmedian(error) if np.isfinite(error).any() else 0.0
    return radius, level, np.hypot(error, floor), reach, distance.max()
