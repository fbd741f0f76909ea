"""
From measures to a verdict: one table of what is doubtful and what is wrong.

The limits with "tuned" beside them are set on mocks with right and wrong lenses, see
``benchmarks/verdicts.py``; the others follow from what they measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lenssuper.forward.judgement.verdict import GRADES, Verdict

__all__ = ["LENS_RULES", "LIGHT_RULES", "Rule", "judge"]

_NEVER = math.inf


@dataclass(frozen=True)
class Rule:
    """
    Limits of a measure: beyond the first a person should look, beyond the second the result is wrong.

    A measure that is NaN or missing is beyond no limit.
    """

    measure: str
    look: float
    wrong: float
    reason: str  # with the measures by name, as of str.format
    below: bool = False  # whether the measure must not be below its limits, rather than above
    only_if: tuple[str, float] | None = None  # another measure, and what it must be above

    def grade(self, measures: Mapping[str, float]) -> str:
        """Return "trusted", "look" or "wrong"."""
        if self.only_if is not None:
            name, limit = self.only_if
            if not measures.get(name, math.nan) > limit:
                return GRADES[0]
        value, sign = measures.get(self.measure, math.nan), -1 if self.below else 1
        for grade, limit in (("wrong", self.wrong), ("look", self.look)):
            if sign * value > sign * limit:
                return grade
        return GRADES[0]


def judge(measures: Mapping[str, float], rules: Iterable[Rule]) -> Verdict:
    """Return the verdict of rules on measures: the worst of all, with the reasons for it first."""
    reasons: dict[str, list[str]] = {grade: [] for grade in GRADES}
    for rule in rules:
        grade = rule.grade(measures)
        if grade != GRADES[0]:
            reasons[grade].append(rule.reason.format_map(measures))
    verdict = max((grade for grade in GRADES if reasons[grade]), key=GRADES.index, default=GRADES[0])
    return Verdict(verdict, (*reasons["wrong"], *reasons["look"]), measures)


# The lens and the super-resolution with it
LENS_RULES = (
    # Without an image of the source beside another one, every lens fits, and none at all does.
    Rule(
        "multiple_share",
        0.3,  # tuned
        0.05,  # of the images of a lens, a twentieth may be chance
        "only {multiple_share:.0%} of the light is in parts of the source that are seen more than once, so "
        "that the data hardly constrain the lens",
        below=True,
    ),
    Rule("bright_pixels", 20, 0.5, "only {bright_pixels:.0f} pixels show light of the source", below=True),
    # Half of the size without a lens: see `~lenssuper.forward.judgement.mapping.gathering`.
    Rule(
        "gathering",
        0.66,  # tuned: J1443 of SLACS has 0.63
        0.8,  # tuned
        "the images of the arcs do not meet in one source: their light is {gathering:.0%} as wide in the "
        "source plane as in the image",
    ),
    Rule(
        "positive_chi2",
        1.35,  # tuned: right lenses of mocks have 0.7 to 1.1
        2.5,  # tuned
        "no source without negative light fits: chi-square {positive_chi2:.2f} per pixel with light",
    ),
    Rule(
        "positive_ratio",
        1.25,  # tuned: right lenses have 0.7 to 1.0
        1.6,  # tuned
        "the lens needs negative light in its source: without any, chi-square in the arcs is "
        "{positive_ratio:.2f} times as large",
    ),
    Rule(
        "negative_flux",
        0.15,  # tuned
        _NEVER,
        "{negative_flux:.0%} of the light of the fitted source is negative",
        only_if=("positive_chi2", 1.2),
    ),
    Rule("chi2_arcs", 1.35, 3.0, "chi-square in the arcs is {chi2_arcs:.2f} per pixel"),  # tuned
    # In small fields the faint outskirts of the source, beyond its grid, reach 2.
    Rule("chi2_rest", 2.5, 6.0, "chi-square outside of core and arcs is {chi2_rest:.2f} per pixel"),
    Rule(
        "chi2_core",
        2.0,
        _NEVER,  # the light of the lens galaxy is never known to the noise there
        "chi-square in the core is {chi2_core:.2f} per pixel: look at the light of the lens galaxy",
    ),
    Rule(
        "structure",
        0.2,  # tuned
        0.5,
        "the residuals in the arcs are not noise: those of neighbours correlate by {structure:.2f} "
        "({structure_sigma:.0f} sigma)",
        only_if=("structure_sigma", 4.0),
    ),
    Rule(
        "unexplained_sigma",
        10.0,  # tuned
        30.0,
        "there is light that the model does not have, by up to {unexplained_sigma:.0f} sigma",
    ),
    Rule(
        "missing_sigma",
        10.0,  # tuned
        30.0,
        "the model has light where the data show none, by up to {missing_sigma:.0f} sigma",
    ),
    Rule(
        "lone_share",
        0.15,  # tuned
        0.6,
        "{lone_share:.0%} of the light has no counter-image where the lens puts one: mask what is no arc, or "
        "the lens is not right",
    ),
    Rule(
        "detached_share",
        0.05,  # tuned
        _NEVER,
        "{detached_share:.0%} of the light is in objects of which no counter-image is seen: mask neighbours",
    ),
    # A choice. Of the source, which is where objects that are hardly magnified count
    Rule(
        "detached_flux",
        0.1,
        _NEVER,
        "{detached_flux:.0%} of the flux of the source is in objects of which no other image is seen: mask "
        "neighbours, or do not rely on flux and size",
    ),
    # A choice: fluxes that may be a third larger are hardly measured.
    Rule(
        "front_share",
        0.3,
        _NEVER,
        "what is not known of the galaxy in front is {front_share:.0%} of the light of the arcs: do not rely "
        "on fluxes",
    ),
    # A choice: mass and light of most galaxies have one centre to within 0.05 arcsec.
    Rule(
        "center_offset",
        0.08,
        0.25,
        'the centre of the lens is {center_offset:.2f}" from its galaxy ({center_sigma:.0f} sigma)',
        only_if=("center_sigma", 3.0),
    ),
    # Where the galaxy is not known, cutouts are centred on it to some pixels.
    Rule(
        "field_offset",
        0.4,
        0.8,
        'the centre of the lens is {field_offset:.2f}" from the middle of the field',
    ),
    # Koopmans et al. 2006, ApJ 649, 599, table 1: lenses have axis ratios of 0.5 to 1, which scatter by 0.1
    # about those of the light: 0.4 is one scatter below the flattest.
    Rule("axis_ratio", 0.4, 0.25, "the lens is very flat, q = {axis_ratio:.2f}", below=True),
    Rule(
        "flatter_than_light",
        0.3,
        0.5,
        "the lens is flatter than its galaxy: q = {axis_ratio:.2f}, {flatter_than_light:.2f} less than its "
        "light",
    ),
    # A choice: shears of galaxies in the field and in groups are mostly below 0.1.
    Rule("shear", 0.2, 0.4, "the shear is very strong, {shear:.2f}"),
    Rule("at_bounds", 0.5, _NEVER, "{at_bounds:.0f} parameters of the lens are at a bound"),
    Rule("prior_pull", 3.0, 6.0, "a parameter is {prior_pull:.1f} sigma from the mean of its prior"),
    # The guess is good to 20%.
    Rule("radius_above", 1.25, 1.6, "the Einstein radius is {radius_above:.2f} times the one given"),
    Rule(
        "radius_below",
        1 / 1.25,
        1 / 1.6,
        "the Einstein radius is {radius_below:.2f} of the one given",
        below=True,
    ),
    # Odds of 20 to 1
    Rule(
        "runner_up",
        3.0,
        -_NEVER,
        "another lens, with theta_E = {runner_up_radius:.3f} arcsec, is almost as likely: its ln Z is "
        "{runner_up:.1f} lower",
        below=True,
    ),
    Rule("sky_noise", 1.2, 1.8, "the sky scatters {sky_noise:.2f} times as much as the noise map says"),
    Rule(
        "sky_noise",
        0.85,
        0.5,
        "the sky scatters only {sky_noise:.2f} times as much as the noise map says",
        below=True,
    ),
    Rule(
        "largest_residual",
        100.0,  # neither noise nor an imperfect model
        1000.0,
        "a pixel is off by {largest_residual:.3g} sigma: mask hot and saturated pixels",
    ),
    Rule("reduced_chi2", 1.5, 4.0, "reduced chi-square is {reduced_chi2:.3g}"),
    Rule(
        "degrees_of_freedom",
        0.0,
        0.0,
        "there are {degrees_of_freedom:.0f} more pixels than modes of the source, so that reduced chi-square "
        "is not defined: too few pixels, or pixels with far too small a noise, can cause this",
        below=True,
    ),
    Rule(
        "negative_share",
        0.02,  # tuned
        0.2,
        "{negative_share:.0%} of the pixels near the lens are significantly negative: too much light was "
        "subtracted",
    ),
    Rule(
        "psf_sigma",
        # tuned: with the right PSF the score, which is skewed where the source is dark, reached 5.3 and, for
        # a fitted lens beneath its galaxy, 6.3; with one 10% too wide or narrow it was 6.2 to 12.6
        8.0,
        _NEVER,
        "the arcs ask for another PSF, {psf_change:+.0%} in width ({psf_sigma:.0f} sigma): try another star",
    ),
    Rule("no_psf", 0.5, _NEVER, "the observation has no PSF"),
    Rule(
        "psf_width",
        1.0,
        _NEVER,
        "the PSF is {psf_width:.1f} times as wide as the Einstein radius",
    ),
    Rule("not_converged", 0.5, _NEVER, "the fit stopped before it converged"),
)

# The light of a lens galaxy
LIGHT_RULES = (
    Rule("light_chi2", 1.5, 5.0, "chi-square outside of the arcs is {light_chi2:.2f} per pixel"),
    Rule(
        "light_model_error",
        0.0,
        _NEVER,
        "the light of the galaxy could only be fitted with {light_model_error:.0%} of it added to the noise",
    ),
    # The light of many galaxies is well described by profiles of which some ended at a bound
    Rule(
        "at_bounds",
        0.5,
        _NEVER,
        "{at_bounds:.0f} parameters of the galaxy are at a bound",
        only_if=("light_chi2", 1.25),  # tuned on SLACS, odd lines
    ),
    Rule(
        "largest_index",
        7.0,
        _NEVER,
        "a Sersic index is {largest_index:.1f}, steeper than galaxies are",
        only_if=("light_chi2", 1.25),
    ),
    # Arcs cover less than half of a field whose side is four Einstein radii or more.
    Rule("arc_share", 0.5, 0.8, "{arc_share:.0%} of the pixels were taken for arcs"),
    Rule(
        "lobes",
        0.02,  # tuned
        0.15,
        "{lobes:.0%} of the pixels on the galaxy are darker than the model by 4 sigma or more, which arcs "
        "cannot be",
    ),
)
