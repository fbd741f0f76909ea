"""The light of a lens galaxy and its mass, fitted in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy import units as u

from lenssuper.forward.judgement import GRADES, Verdict
from lenssuper.lensfit.fit import LensFit
from lenssuper.light import ForegroundFit, ForegroundFitter
from lenssuper.observation import Observation

__all__ = ["fit_in_turn"]

# Share of the last change of the lens, when the light is fitted again, that is added to its errors: the next
# change would be about so large (J0330, J1420 and J1443 of SLACS: 0.1 to 0.8 of the last)
_NEXT_CHANGE = 0.5
# Relative change of the Einstein radius, when the light is fitted again, up to which both are one lens.
# Tuned on `simulate.hard_lenses`, seed 5, and odd lines of SLACS: 4% at most for right lenses, 7% for a wrong
_SETTLED = 0.05
# Einstein radii between which all is left out of another fit of the light
_ANNULUS = 0.6, 1.5


def fit_in_turn(
    fitter, observation: Observation, light: ForegroundFit | None, light_fitter: ForegroundFitter | None
) -> tuple[ForegroundFit, LensFit]:
    """
    Fit the light of the galaxy and the lens in turn, see `LensFitter.with_light`; ``fitter`` is such a one.

    If the verdict on the lens is wrong, both are fitted again from a light that is fitted outside of a whole
    annulus: the arcs that were found may have been part of the galaxy.
    """
    radius = fitter.guess.einstein_radius()
    if light_fitter is None:
        light_fitter = ForegroundFitter(einstein_radius=radius, progress=fitter.progress)
    first = light_fitter(observation) if light is None else light
    light, fit = _once(fitter, first, light_fitter)
    if fit.verdict != "wrong" or not light_fitter.finds_arcs:
        return light, fit
    outside = light_fitter.with_arcs(u.Quantity(_ANNULUS) * radius)
    other_light, other = _once(fitter, outside(observation), light_fitter)
    if GRADES.index(other.verdict) >= GRADES.index(fit.verdict):
        return light, fit
    return other_light, replace(other, judgement=other.judgement.joined(_two_lenses(fit, other), "search"))


def _once(fitter, light, again):
    """
    Fit the lens with a first model of the light, the light beside the arcs of this lens, the lens again.

    The first model of the light knows only which pixels may be arcs; the second has the arcs themselves. What
    either does not know of the galaxy is integrated out with the source. Where the light was subtracted as if
    it were known, a lens with too small a radius, whose source is seen once, explains what is left of it, and
    has the larger evidence.
    """
    first = fitter.roughly().beside(light)(light.unsubtracted)
    light = again(light.observation, source=first.model.data - first.foreground.data)
    following, renamed = fitter.following(first.lens)
    last = following.beside(light)(light.unsubtracted)
    change = np.zeros(len(last.names))
    for name, before in zip(first.names, first.vector, strict=True):
        k = last.names.index(renamed.get(name, name))
        change[k] = _NEXT_CHANGE * (last.vector[k] - before)
    light = light.with_galaxy(last.foreground.data)
    last = replace(last, vector_covariance=last.vector_covariance + np.outer(change, change))
    return light, _doubted_if_moved(last, first)


def _doubted_if_moved(last, first):
    """Return the last fit, with a doubt if the lens is not the same as before the light was fitted again."""
    before, after = _radii(first, last)
    moved = after / before - 1
    settled = abs(moved) <= _SETTLED
    reason = (
        f"the Einstein radius changed by {moved:+.0%}, from {before:.3f} arcsec, when the light of the "
        "galaxy was fitted again"
    )
    verdict = Verdict("trusted" if settled else "look", () if settled else (reason,), {"moved": moved})
    return replace(last, judgement=last.judgement.joined(verdict, "search"))


def _radii(*fits):
    return [fit.lens.einstein_radius().to_value(u.arcsec) for fit in fits]


def _two_lenses(one, other):
    """Return the doubt that two models of the light lead to different lenses."""
    radii = _radii(one, other)
    reason = (
        f"another model of the light of the galaxy leads to another lens, with an Einstein radius of "
        f"{radii[0]:.3f} arcsec in place of {radii[1]:.3f}"
    )
    return Verdict("look", (reason,), {"other_radius": radii[0]})
