"""Which of several lenses that explain the data is the most credible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from astropy import units as u

from lenssuper.forward.judgement import GRADES, Verdict
from lenssuper.lens import LensModel
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.parameters import FreeParameters

__all__ = ["between_rivals", "differ", "most_credible", "of_rivals", "radii"]

# Difference of ln Z that counts as much as one of 1 in the logarithm of the prior, where one lens is chosen
# of several: light that no model describes, and sources that the prior does not expect, decide by as much.
# Tuned on `simulate.hard_lenses`, seed 5, and odd lines of SLACS lenses; one even line (J0728) was in view
_COUNTS_ONE = 100.0
# Standard deviation of the logarithm of the radius that was given
_KNOWN = 0.2
# Odds, the most credible lens against another one, up to which the other is said to be almost as credible
_ALMOST = 2.0
# Relative change of the Einstein radius, when the light is fitted again, up to which both are one lens.
# Tuned on `simulate.hard_lenses`, seed 5, and odd lines of SLACS: 4% at most for right lenses, 7% for a wrong
_SETTLED = 0.05


def differ(one: float, two: float) -> bool:
    """Return whether two Einstein radii are those of different lenses."""
    return abs(one / two - 1) > _SETTLED


def radii(*lenses: LensModel) -> list[float]:
    """Return Einstein radii in arcsec."""
    return [lens.einstein_radius().to_value(u.arcsec) for lens in lenses]


def most_credible(fits: Sequence[LensFit], given: LensModel) -> LensFit:
    """
    Return the most credible of several fits; its ``optima`` are those with a verdict that is no worse.

    Those whose verdict is "wrong" are left out if there are others. ``given`` is the guess: a lens of another
    radius needs a larger evidence. At a radius that is too small every part of the source is seen once only,
    is free to take any form, and explains what is left of the galaxy too.
    """
    known = [fit for fit in fits if fit.verdict != "wrong"] or list(fits)
    known.sort(key=lambda fit: -_log_credibility(fit.lens, fit.log_evidence, given))
    grade = GRADES.index(known[0].verdict)
    optima = tuple((fit.lens, fit.log_evidence) for fit in known if GRADES.index(fit.verdict) <= grade)
    return replace(known[0], optima=optima)


def of_rivals(fit: LensFit, given: LensModel, before: str = "") -> Verdict:
    """
    Return the doubt that another one of the ``optima`` of a fit is almost as credible.

    ``before`` says before what this was so, if it is no longer known to be.
    """
    rival = _rival(fit, given)
    if rival is None:
        return Verdict("trusted", (), {})
    lens, lower, behind = rival
    (radius,) = radii(lens)
    measures = {"runner_up": lower, "runner_up_radius": radius, "runner_up_log_odds": behind}
    if behind > np.log(_ALMOST):
        return Verdict("trusted", (), measures)
    verb = "was" if before else "is"
    reason = (
        f"a lens with an Einstein radius of {radius:.3f} arcsec {verb} almost as credible{before}: its ln Z "
        f"{verb} {abs(lower):.0f} {'lower' if lower >= 0 else 'higher'}"
    )
    return Verdict("look", (reason,), measures)


def between_rivals(fit: LensFit, given: LensModel, parameters: FreeParameters) -> np.ndarray:
    """
    Return the covariance of the vector of a fit that comes from not knowing which lens is right.

    It is that of two lenses, the fitted one and the most credible other one, about the fitted one. A matrix
    of shape (n, n) for n ``parameters``; zero without another.
    """
    rival = _rival(fit, given)
    if rival is None:
        return np.zeros_like(fit.vector_covariance)
    lens, _, behind = rival
    move = parameters.pack(lens) - fit.vector
    return np.outer(move, move) / (1 + np.exp(behind))


def _rival(fit, given):
    """
    Return the most credible of the other lenses of another radius; None if there is none.

    With it, by how much its ln Z is lower, and the logarithm of the odds against it.
    """
    (own,) = radii(fit.lens)
    others = [each for each in fit.optima if differ(radii(each[0])[0], own)]
    if not others:
        return None
    lens, evidence = max(others, key=lambda each: _log_credibility(*each, given))
    best = _log_credibility(fit.lens, fit.log_evidence, given)
    return lens, fit.log_evidence - evidence, best - _log_credibility(lens, evidence, given)


def _log_credibility(lens, log_evidence, given):
    """Return what the evidence and the prior on the radius say of a lens, up to a constant."""
    evidence = log_evidence / _COUNTS_ONE
    try:
        one, other = radii(lens, given)
    except ValueError:  # without an Einstein radius
        return evidence
    return evidence - 0.5 * (np.log(one / other) / _KNOWN) ** 2
