"""The verdict on a super-resolution, from its own images."""

from __future__ import annotations

from collections.abc import Mapping

from lenssuper.forward.judgement import LENS_RULES, Scene, Verdict, judge, measure_lens

__all__ = ["judge_result"]


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
