"""The light of a lens galaxy and its mass, fitted in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy import units as u

from lenssuper.exceptions import ObservationError
from lenssuper.forward.judgement import GRADES, Verdict, neighbours, with_wings
from lenssuper.lensfit.credibility import between_rivals, differ, of_rivals, radii
from lenssuper.lensfit.disagreement import with_disagreement
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.judgement import scene_of
from lenssuper.lensfit.unlensed import MASKED, without_companions
from lenssuper.light import ForegroundFit, ForegroundFitter
from lenssuper.observation import Observation

__all__ = ["fit_in_turn"]

# Share of the last change of the lens, when the light is fitted again, that is added to its errors: the next
# change would be about so large (J0330, J1420 and J1443 of SLACS: 0.1 to 0.8 of the last)
_NEXT_CHANGE = 0.5
# Einstein radii between which all is left out of another fit of the light
_ANNULUS = 0.6, 1.5
# Factor between its radius and that of the guess from which another lens is not believed
_UNLIKE = 1.25


def fit_in_turn(
    fitter, observation: Observation, light: ForegroundFit | None, light_fitter: ForegroundFitter | None
) -> tuple[ForegroundFit, LensFit]:
    """
    Fit the light of the galaxy and the lens in turn, see `LensFitter.with_light`; ``fitter`` is such a one.

    If the verdict on the lens is wrong, its radius is unlike that of the guess, or no arcs are left, both are
    fitted again from other models of the light, see `_other_ways`. The first lens that is better is returned.
    """
    if light_fitter is None:
        radius = fitter.guess.einstein_radius()
        light_fitter = ForegroundFitter(einstein_radius=radius, progress=fitter.progress)
    first = light_fitter(observation) if light is None else light
    try:
        best = _once(fitter, first, light_fitter)
    except ObservationError:
        better = _again(fitter, observation, None, light_fitter)
        if better is None:
            raise
        return better
    if best[1].verdict != "wrong" and _is_like(best[1].lens, fitter.guess):
        return best
    return _again(fitter, observation, best[1], light_fitter) or best


def _again(fitter, observation, fit, light_fitter):
    """
    Return light and lens from another model of the light, if that is better; ``fit`` may be None.

    A verdict can be better only because fewer arcs are left. So the radius must be about that of the guess.
    """
    if not light_fitter.finds_arcs:
        return None
    for other_light_fitter, image, reason in _other_ways(fitter, observation, fit, light_fitter):
        try:
            light, found = _once(fitter, other_light_fitter(image), light_fitter)
        except ObservationError:
            continue
        if _is_like(found.lens, fitter.guess) and _is_better(found, fit, fitter.guess):
            return light, _other_lens(found, reason, fit)
    return None


def _is_like(lens, guess):
    """Return whether the Einstein radius of a lens is about that of the guess."""
    radius, given = radii(lens, guess)
    return 1 / _UNLIKE < radius / given < _UNLIKE


def _is_better(found, fit, guess):
    """Return whether a lens of about the radius of the guess is better than ``fit``, if there is one."""
    if fit is None:
        return True
    found_grade, grade = GRADES.index(found.verdict), GRADES.index(fit.verdict)
    as_good = found_grade == grade and found.verdict != "wrong"
    return found_grade < grade or (as_good and not _is_like(fit.lens, guess))


def _other_ways(fitter, observation, fit, light_fitter):
    """
    Yield what may lead to a lens where a first fit did not: a fitter of the light, an image, and the reason.

    Objects of which no counter-image is seen may be neighbours, which are masked. The arcs that were found
    may have been part of the galaxy, or the galaxy may have taken some: all of an annulus is left out.
    """
    if fit is not None:
        scene = scene_of(fit, fit.lens)
        objects = neighbours(scene) & ~scene.core
        if objects.any():
            yield light_fitter, observation.masked(with_wings(objects, observation)), MASKED
    outside = light_fitter.with_arcs(u.Quantity(_ANNULUS) * fitter.guess.einstein_radius())
    yield outside, observation, "the light of the galaxy was fitted outside of an annulus"


def _once(fitter, light, again):
    """
    Fit the lens with a first model of the light, the light beside the arcs of this lens, the lens again.

    The first model of the light knows only which pixels may be arcs; the second has the arcs themselves. What
    either does not know of the galaxy is integrated out with the source. Where the light was subtracted as if
    it were known, a lens with too small a radius, whose source is seen once, explains what is left of it, and
    has the larger evidence. A share of the difference between the first model and the light of the last fit
    is added to the errors of the latter, see `with_disagreement`. Where another lens is almost as credible,
    the errors reach to it. Companions are masked as soon as there is a lens.
    """
    beside = light.light + light.sky
    first = fitter.roughly().beside(light)(light.unsubtracted)
    source = first.model.data - first.foreground.data
    observation, masked = without_companions(light.observation, first, fitter.guess)
    light = again(observation, source=source, model_error=light.model_error)
    following, renamed = fitter.following(first.lens)
    last = following.beside(light)(light.unsubtracted)
    change = np.zeros(len(last.names))
    for name, before in zip(first.names, first.vector, strict=True):
        k = last.names.index(renamed.get(name, name))
        change[k] = _NEXT_CHANGE * (last.vector[k] - before)
    more = np.outer(change, change) + between_rivals(last, fitter.guess, following.parameters)
    messages = (*last.messages, *masked)
    last = replace(last, vector_covariance=last.vector_covariance + more, messages=messages)
    last = with_disagreement(last, beside)
    light = light.with_galaxy(last.foreground.data, last.light_errors)
    return light, _doubted(last, first, fitter.guess)


def _doubted(last, first, given):
    """
    Return the last fit, with a doubt if the lens is not the same as before the light was fitted again.

    Likewise if another lens is, or was before, almost as credible, for the lens that was ``given``.
    """
    before, after = radii(first.lens, last.lens)
    change, reasons = after / before - 1, []
    if differ(after, before):
        reasons.append(
            f"the Einstein radius changed by {change:+.0%}, from {before:.3f} arcsec, when the light of the "
            "galaxy was fitted again"
        )
    moved = Verdict("look" if reasons else "trusted", tuple(reasons), {"moved": change})
    rivals = of_rivals(last, given)
    if rivals.verdict == "trusted":
        rivals = of_rivals(first, given, " before the light of the galaxy was fitted again")
    return replace(last, judgement=last.judgement.joined(moved, "search").joined(rivals, "search"))


def _other_lens(found, reason, before):
    """Return a lens with the doubt that another model of the light led ``before`` to another, or to none."""
    measures = {}
    if before is None:
        reason = f"a first model of the light of the galaxy left no arcs: {reason}"
    else:
        new, old = radii(found.lens, before.lens)
        reason = f"{reason}: the Einstein radius is {new:.3f} arcsec in place of {old:.3f}"
        measures = {"other_radius": new}
    return replace(found, judgement=found.judgement.joined(Verdict("look", (reason,), measures), "search"))
