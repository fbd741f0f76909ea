"""The verdict on the light of a lens galaxy."""

from __future__ import annotations

import math

import numpy as np

from lenssuper.forward.judgement import LIGHT_RULES, LensGalaxy, Verdict, judge
from lenssuper.lens.interop.ellipticity import axis_ratio_and_angle, components
from lenssuper.observation.objects import smoothed

__all__ = ["galaxy_of", "judge_foreground"]

# Parameters of a Sersic profile that can end at a bound: R_e, n and q
_BOUNDED = slice(2, 5)
# The galaxy is seen where it is so many times as bright as the noise; a model is too bright by so many sigma
_SEEN, _TOO_BRIGHT = 3.0, 4.0


def judge_foreground(fit) -> Verdict:
    """Return the verdict on a `ForegroundFit`."""
    observation = fit.observation
    used = ~observation.mask
    sersics = fit.fit.parameters
    errors = np.sqrt(np.diag(fit.fit.covariance))[: 6 * len(sersics)].reshape(-1, 6)
    flat = np.zeros((len(sersics), 3), dtype=bool)
    flat[:, 1] = sersics[:, 3] < 1
    measures = {
        "light_chi2": fit.reduced_chi2,
        "light_model_error": fit.model_error,
        # a parameter that ended at a bound has no error; a flat core, of low n, is common among components
        "at_bounds": float(np.count_nonzero((errors[:, _BOUNDED] == 0) & ~flat)),
        "largest_index": float(np.max(sersics[:, 3], initial=0.0)),
        "arc_share": float(np.mean(fit.arcs[used])),
        "lobes": _lobes(fit),
    }
    return judge(measures, LIGHT_RULES)


def _lobes(fit):
    """Return the share of the galaxy's pixels that are darker than the model, which arcs cannot be."""
    observation = fit.observation
    smooth, noise = smoothed(observation.with_data(observation.data - fit.light - fit.sky))
    seen = ~observation.mask & (fit.light > _SEEN * observation.sigma)
    return float(np.mean((smooth < -_TOO_BRIGHT * noise)[seen])) if seen.any() else math.nan


def galaxy_of(fit) -> LensGalaxy:
    """
    Return centre and shape of a galaxy's light.

    The centre is the centroid of the pixels that are at least half as bright as the brightest; the shape is
    the mean of those of the Sersic profiles, weighted by their fluxes.
    """
    x, y = np.broadcast_arrays(*fit.observation.grid.centers_arcsec())
    bright = np.where(fit.light >= 0.5 * fit.light.max(), fit.light, 0.0)
    center = float(np.average(x, weights=bright)), float(np.average(y, weights=bright))
    fluxes = fit.fit.component_images().sum(axis=(1, 2))
    each = [components(q, phi) for q, phi in fit.fit.parameters[:, 4:6]]
    q, phi = axis_ratio_and_angle(*np.average(each, axis=0, weights=fluxes))
    return LensGalaxy(*center, q, phi)
