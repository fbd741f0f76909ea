"""Measures of what a model of a lens leaves: chi-square by region, structure, noise, hot pixels."""

from __future__ import annotations

import math

import numpy as np

from lenssuper.forward.judgement.scene import Scene
from lenssuper.observation.objects import smoothed

__all__ = ["clumps", "correlation", "of_residuals"]

# The median of the absolute values of Gaussian noise, times this, is its standard deviation.
_GAUSSIAN = 1.4826
# Fewest pixels from which the noise of the sky is measured, and the structure of residuals.
_ENOUGH = 60
# Pixels that are so many sigma below the sky have lost more light than there was.
_NEGATIVE = 4.0
# Distance from the lens, in Einstein radii, within which missing and unexplained light is looked for.
_NEAR = 2.0


def of_residuals(scene: Scene) -> dict[str, float]:
    """Return the measures of a scene's residuals, by their names."""
    residuals, used = scene.residuals, scene.used
    rest = used & ~scene.core & ~scene.arcs
    freedom = np.count_nonzero(used) - (0.0 if math.isnan(scene.modes) else scene.modes)
    bright = np.count_nonzero(scene.bright)
    # the modes are those of the light: they are shared out among the pixels that have some
    per_pixel = 0.0 if math.isnan(scene.modes) or not bright else min(scene.modes / bright, 0.9)
    correlated, significance = correlation(scene.white_residuals, scene.arcs)
    unexplained, missing = clumps(scene)
    return {
        "chi2_core": _mean(residuals[scene.core] ** 2),
        "chi2_arcs": _mean(residuals[scene.arcs] ** 2),
        "chi2_rest": _mean(residuals[rest] ** 2),
        "chi2_bright": _mean(residuals[scene.bright] ** 2) / (1 - per_pixel),
        "reduced_chi2": float(np.sum(residuals**2)) / freedom if freedom > 0 else math.nan,
        "degrees_of_freedom": float(freedom),
        "sky_noise": _noise_of(scene),
        "largest_residual": float(np.max(np.abs(residuals))),
        "structure": correlated,
        "structure_sigma": significance,
        "unexplained_sigma": unexplained,
        "missing_sigma": missing,
        "negative_share": _negative(scene),
    }


def correlation(residuals: np.ndarray, region: np.ndarray) -> tuple[float, float]:
    """
    Return the correlation of neighbouring residuals in a region, and how many sigma it is above none.

    It is Moran's I with the pixels above, below, left and right as neighbours, about zero (Moran 1950,
    Biometrika 37, 17). Of white noise it scatters by 1 / sqrt(number of pairs).
    """
    products, pairs = 0.0, 0
    for ahead, behind in (np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1]):
        both = region[ahead] & region[behind]
        products += float(np.sum((residuals[ahead] * residuals[behind])[both]))
        pairs += int(np.count_nonzero(both))
    variance = _mean(residuals[region] ** 2)
    if pairs < _ENOUGH or not variance > 0:
        return math.nan, math.nan
    value = products / pairs / variance
    return value, value * math.sqrt(pairs)


def clumps(scene: Scene) -> tuple[float, float]:
    """
    Return how many sigma the most significant light is that the model lacks, and that only the model has.

    Both are extremes of the smoothed residuals within two Einstein radii, outside of the core.
    """
    smooth, noise = smoothed(scene.observation.with_data(scene.observation.data - scene.model))
    near = scene.used & ~scene.core & (scene.distance < _NEAR)
    if not near.any():
        return math.nan, math.nan
    ratio = (smooth / noise)[near]
    return float(ratio.max()), float(-ratio.min())


def _noise_of(scene):
    """
    Return the scatter of the sky, in units of the noise map.

    It is that of the data, as a model with many modes takes some of the noise for light.
    """
    sky = scene.observation.data[scene.sky] * np.sqrt(scene.observation.weights[scene.sky])
    if sky.size < _ENOUGH:
        return math.nan
    return _GAUSSIAN * float(np.median(np.abs(sky - np.median(sky))))


def _negative(scene):
    """Return the share of the pixels near the lens that are significantly below the sky."""
    near = scene.used & (scene.distance < _NEAR)
    if not near.any():
        return math.nan
    smooth, noise = smoothed(scene.observation)
    return float(np.mean((smooth < -_NEGATIVE * noise)[near]))


def _mean(values):
    return float(np.mean(values)) if values.size else math.nan
