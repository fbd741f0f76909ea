"""Noise for what no model of a galaxy can know: an error that is a share of its light."""

from __future__ import annotations

import numpy as np

from lenssuper.observation import Observation
from lenssuper.observation.objects import smoothed

__all__ = ["limited", "misfit_with_error", "with_model_error"]

# Excess over the galaxy, in sigma, beyond which a pixel counts no more for the misfit: it may be an arc
_OUTLIER = 1.0
# Shares of the light at which misfits are compared
_SHARES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5)


def with_model_error(observation: Observation, share: float) -> Observation:
    """
    Return an image with a share of its light added to its noise, in quadrature.

    The light is that of the image itself, smoothed, so that two models of it can be compared.
    """
    if share == 0:
        return observation
    light, _ = smoothed(observation)
    return observation.without(np.zeros(observation.shape), (share * light) ** 2)


def misfit_with_error(fit) -> float:
    r"""
    Return how badly a `ForegroundFit` explains its image, beyond an error that is a share of the light.

    Notes
    -----
    With residuals r, noise :math:`\sigma` and smoothed image L, it is

    .. math:: \min_s \sum \rho\left(\frac{r}{\sigma_s}\right) + \ln\frac{\sigma_s^2}{\sigma^2}, \qquad
              \sigma_s^2 = \sigma^2 + s^2 L^2,

    which is -2 times the logarithm of a likelihood, but for a constant; :math:`\rho` is the square, limited
    where there is more light than that of the galaxy. In the core of a bright galaxy a PSF that is wrong by a
    few per cent makes residuals of many sigma. In chi-square they outweigh all else, and a galaxy without its
    disk, which is then left for arcs, may have the smaller one.
    """
    observation = fit.observation
    used = ~observation.mask
    variance = observation.sigma[used] ** 2
    left = (observation.data - fit.light - fit.sky)[used]
    relative = smoothed(observation)[0][used] ** 2 / variance

    def misfit(share):
        ratio = 1 + share**2 * relative
        squares = left**2 / (ratio * variance)
        return float(np.sum(limited(left, squares) + np.log(ratio)))

    return min(misfit(share) for share in _SHARES)


def limited(left: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return squares of residuals, limited where there is light left."""
    return np.where(left > 0, np.minimum(squares, _OUTLIER**2), squares)
