"""The verdict on a search for substructure: whether what it says of clumps is to be believed."""

from __future__ import annotations

import math

import numpy as np

from lenssuper.forward.judgement import Verdict, judge
from lenssuper.forward.judgement.rules import Rule
from lenssuper.lensfit.search import POOR, SCATTERED
from lenssuper.substructure.search import FAR, SAME, Found

__all__ = ["judged", "remarks"]

_RULES = (
    # the limits of a fit of a lens
    Rule(
        "prior_pull",
        FAR,
        6.0,
        "with the detected clumps a parameter of the smooth lens is {prior_pull:.1f} sigma from the mean of "
        "its prior: the smooth lens does what something else does, and clumps may be an artefact of it",
    ),
    Rule("reduced_chi2", 1.5, 4.0, "reduced chi-square is {reduced_chi2:.3g} with the detected clumps"),
    Rule(
        "gathering",
        SCATTERED,
        np.inf,
        "the images of the arcs do not meet in one source: their light is {gathering:.0%} as wide in the "
        "source plane as in the image",
    ),
    Rule("not_converged", 0.5, np.inf, "the fit of the lens stopped before it converged"),
    Rule(
        "rival_distance",
        SAME,
        np.inf,
        "the evidence has another maximum that is nearly as high, with a clump {rival_distance:.2f} arcsec "
        "from a detected one",
    ),
    Rule("outside", 0.5, np.inf, "{outside:.0f} of the detected clumps are outside of the field of the maps"),
    # no subhalo has a negative mass
    Rule(
        "negative_excess",
        1.0,
        2.0,
        "after the detected clumps negative masses reach {negative_excess:.1f} times the level of noise: "
        "noise is not what limits the map",
    ),
)


def judged(found: Found) -> Verdict:
    """Return the verdict on what was found, by the lens with the detected clumps and the last scan."""
    lens, last = found.lens, found.last
    detected = [each for each in found.candidates if each.detected]
    ny, nx = last.grid.shape
    pixels = [last.grid.to_pixel(each.x, each.y) for each in detected]
    outside = [not (-0.5 <= i < nx - 0.5 and -0.5 <= j < ny - 0.5) for i, j in pixels]
    measures = {
        "prior_pull": lens.largest_pull,
        "smooth_prior_pull": found.smooth.largest_pull,
        "reduced_chi2": lens.refined.reduced_chi2,
        "gathering": lens.refined.gathering,
        "not_converged": float(not lens.refined.converged),
        "rival_distance": max(_rival_distances(detected), default=0.0),
        "outside": float(sum(outside)),
        "negative_excess": last.levels.negative / last.levels.noise,
    }
    return judge(measures, _RULES)


def remarks(found: Found) -> tuple[str, ...]:
    """Return messages on the fit of the lens with the detected clumps."""
    messages = []
    chi2 = found.lens.refined.reduced_chi2
    if chi2 > POOR:
        messages.append(
            f"the residuals of the lens are larger than the noise, reduced chi-square {chi2:.2f}: a wrong "
            "PSF or noise map, or light of the lens galaxy, makes false peaks as well as a perturber does"
        )
    if not found.lens.refined.converged:
        messages.append("the fit of the lens stopped before it converged")
    # of the lens without the detected clumps they are far from their priors only to do what the clumps do
    far = {name: pull for name, pull in found.lens.pulls.items() if abs(pull) > FAR}
    if far:
        each = ", ".join(f"{name} ({pull:+.1f} sigma)" for name, pull in far.items())
        messages.append(
            f"parameters of the smooth lens are far from the means of their priors: {each}; they may do what "
            "a clump does, or make up for light of another object or a wrong PSF"
        )
    return tuple(messages)


def _rival_distances(detected):
    return [math.hypot(rival.x - each.x, rival.y - each.y) for each in detected for rival in each.rivals]
