"""Measures of what a model of a lens leaves: chi-square by region, structure, noise, hot pixels."""

from __future__ import annotations

import math

import numpy as np

from lenssuper.forward.judgement.scene import Scene
from lenssuper.forward.whitening import Whitener
from lenssuper.observation.objects import smoothed

__all__ = ["clumps", "correlation", "correlation_of_noise", "of_residuals"]

# The median of the absolute values of Gaussian noise, times this, is its standard deviation.
_GAUSSIAN = 1.4826
# Fewest pixels from which the noise of the sky is measured, and the structure of residuals.
_ENOUGH = 60
# Pixels that are so many sigma below the sky have lost more light than there was.
_NEGATIVE = 4.0
# Distance from the lens, in Einstein radii, within which missing and unexplained light is looked for.
_NEAR = 2.0
# Slices of neighbours, above each other and beside each other
_NEIGHBOURS = (np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])


def of_residuals(scene: Scene) -> dict[str, float]:
    """Return the measures of a scene's residuals, by their names."""
    residuals, used = scene.residuals, scene.used
    rest = used & ~scene.core & ~scene.arcs
    freedom = np.count_nonzero(used) - (0.0 if math.isnan(scene.modes) else scene.modes)
    bright = np.count_nonzero(scene.bright)
    # the modes are those of the light: they are shared out among the pixels that have some
    per_pixel = 0.0 if math.isnan(scene.modes) or not bright else min(scene.modes / bright, 0.9)
    noise = 0.0 if scene.whitener is None else correlation_of_noise(scene.whitener, scene.arcs)
    correlated, significance = correlation(scene.white_residuals, scene.arcs, noise)
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


def correlation(residuals: np.ndarray, region: np.ndarray, noise: float = 0.0) -> tuple[float, float]:
    """
    Return by how much neighbouring residuals in a region correlate more than ``noise`` does, and in sigma.

    It is Moran's I with the pixels above, below, left and right as neighbours, about zero (Moran 1950,
    Biometrika 37, 17). Of white noise it scatters by 1 / sqrt(number of pairs).
    """
    products, pairs = 0.0, 0
    for ahead, behind in _NEIGHBOURS:
        both = region[ahead] & region[behind]
        products += float(np.sum((residuals[ahead] * residuals[behind])[both]))
        pairs += int(np.count_nonzero(both))
    variance = _mean(residuals[region] ** 2)
    if pairs < _ENOUGH or not variance > 0:
        return math.nan, math.nan
    value = products / pairs / variance - noise
    return value, value * math.sqrt(pairs)


def correlation_of_noise(whitener: Whitener, region: np.ndarray) -> float:
    """
    Return the correlation of neighbours that noise still has after it was whitened.

    It is 0 if the whitening is perfect. Drizzled noise may have less power at the shortest waves than the
    operator allows for; then neighbours still correlate.
    """
    covariance, number = whitener.remaining(region), np.full(region.shape, -1)
    number[region] = np.arange(np.count_nonzero(region))
    shared = [
        covariance[number[ahead][both], number[behind][both]]
        for ahead, behind in _NEIGHBOURS
        if (both := region[ahead] & region[behind]).any()
    ]
    return _mean(np.concatenate(shared)) / _mean(covariance.diagonal()) if shared else 0.0


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
