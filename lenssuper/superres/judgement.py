"""The verdict on a super-resolution, from its own images."""

from __future__ import annotations

from collections.abc import Mapping

from lenssuper.forward.judgement import LENS_RULES, Scene, Verdict, judge, measure_lens

__all__ = ["judge_budget", "judge_result"]

# Significance with which the data ask for another lens or PSF that is a doubt
_ASKED = 4.0


def judge_result(result, further: Mapping[str, float]) -> Verdict:
    """
    Return the verdict on a `SuperResolution`, whatever its lens came from.

    ``further`` are measures that its images do not have. If the light of the lens galaxy was subtracted and
    judged before, its verdict counts.
    """
    observation = result.observation
    scene = Scene(observation, result.lens, result.model_image, result.effective_modes)
    measures = measure_lens(scene, source=result.posterior.mean) | dict(further)
    measures["not_converged"] = float(not result.posterior.converged)
    return judge(measures, LENS_RULES).joined(Verdict.in_cards(observation.meta), "lens light")


def judge_budget(budget) -> Verdict:
    """
    Return the doubts of an `ErrorBudget`: parameters of lens and PSF that the data want otherwise.

    The score of a fitted lens is 0 by the fit. That of the sky is no test, as a positive source takes light
    from it.
    """
    scores, reasons = [0.0], []
    for each, pull in zip(budget.responses, budget.pulls.tolist(), strict=True):
        score = abs(each.significance)
        if each.change.fitted or each.change.part not in ("lens", "PSF") or not score > 0:
            continue
        scores.append(score)
        if score > _ASKED:
            reasons.append(
                f"the data ask for another {each.change.name}, by {pull:+.1f} times the error given for it "
                f"({score:.0f} sigma)"
            )
    return Verdict("look" if reasons else "trusted", tuple(reasons), {"asked_sigma": max(scores)})
