"""The verdict on a fitted lens."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lenssuper.forward.judgement import LENS_RULES, LensGalaxy, Scene, Verdict, judge, measure_lens
from lenssuper.lens import LensModel
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.parameters import FreeParameters, main_component

__all__ = ["judged", "scene_of"]

# Step, in units of the spread of guesses, beyond which a parameter at its bound cannot go.
_STEP = 1e-3


def judged(fit: LensFit, parameters: FreeParameters) -> LensFit:
    """
    Return a fit with the verdict on it.

    ``parameters`` are those of the fit, with its guess and priors. Of several observations the one with the
    worst verdict rules. If the light of the lens galaxy was subtracted and judged before, its verdict counts.
    """
    of_lens = _of_parameters(fit, parameters)
    parts = [_judge(part, fit, of_lens) for part in fit.parts if part.images is not None]
    if not parts:
        return fit
    if len(parts) == 1:
        return replace(fit, judgement=parts[0])
    whole = parts[0]
    for k, part in enumerate(parts[1:], 2):
        whole = whole.joined(part, f"observation {k}")
    each = (replace(part, judgement=own) for part, own in zip(fit.parts, parts, strict=True))
    return replace(fit, judgement=whole, of_each=tuple(each))


def scene_of(part, lens: LensModel) -> Scene:
    """Return what there is to see of a lens in the fit to one observation."""
    images = part.images
    return Scene(part.subtracted, lens, images.model - images.foreground, part.effective_modes)


def _judge(part, fit, of_lens):
    """Return the verdict on the fit to one observation."""
    images, scene = part.images, scene_of(part, fit.lens)
    galaxy = LensGalaxy.of(images.observation)
    if galaxy is None and images.foreground.any():
        galaxy = _brightest(images.foreground, images.observation.grid)
    found = measure_lens(scene, source=images.source, galaxy=galaxy, errors=_center_errors(fit))
    own = judge(found | of_lens, LENS_RULES)
    return own.joined(Verdict.in_cards(scene.observation.meta), "lens light")


def _brightest(image, grid):
    """Return the position of the brightest pixel, of which the shape is not known."""
    row, column = np.unravel_index(np.argmax(image), image.shape)
    return LensGalaxy(*(float(v) for v in grid.to_offset(column, row)))


def _center_errors(fit):
    """Return the standard deviations of x and y of the profile with the largest Einstein radius."""
    name = _name_of_radius(fit.lens).rpartition("theta_E")[0]
    errors = ((key, fit.errors.get(f"{name}{key}")) for key in ("x", "y"))
    return {key: float(error.to_value("arcsec")) for key, error in errors if error is not None}


def _name_of_radius(lens):
    """Return the name of the largest Einstein radius; empty if no profile has one."""
    mass = main_component(lens)
    return "" if mass is None else f"{mass}theta_E"


def _of_parameters(fit, parameters):
    """Return the measures of the fitted parameters: bounds, priors, and the guess."""
    vector, name = parameters.pack(fit.lens), _name_of_radius(fit.lens)
    residuals, _ = parameters.prior_residuals(vector)
    steps = _STEP * np.concatenate([np.diag(parameters.spread), -np.diag(parameters.spread)])
    stopped = [not np.allclose(parameters.inside(vector + step), vector + step) for step in steps]
    ratio = math.nan
    if name in fit.names:
        ratio = fit.lens.values()[name] / parameters.given.values()[_name_of_radius(parameters.given)]
    return {
        "at_bounds": float(np.count_nonzero(stopped)),
        "prior_pull": float(np.max(np.abs(residuals), initial=0.0)),
        "radius_above": ratio,
        "radius_below": ratio,
        "not_converged": float(not fit.converged),
        **_of_runner_up(fit),
    }


def _of_runner_up(fit):
    """Return how much less likely the best other lens is, and its Einstein radius in arcsec."""
    if len(fit.optima) < 2:
        return {}
    best, other = fit.optima[0], fit.optima[1]
    radius = other[0].values().get(_name_of_radius(other[0]), math.nan)
    return {"runner_up": float(best[1] - other[1]), "runner_up_radius": radius}
