"""The judgement on a result: measures of how a lens and its data agree, rules, and a verdict with reasons."""

from __future__ import annotations

from lenssuper.forward.judgement.galaxy import LensGalaxy
from lenssuper.forward.judgement.judged import Judged
from lenssuper.forward.judgement.lens import measure_lens
from lenssuper.forward.judgement.mapping import neighbours, with_wings
from lenssuper.forward.judgement.rules import LENS_RULES, LIGHT_RULES, judge
from lenssuper.forward.judgement.scene import Scene
from lenssuper.forward.judgement.verdict import GRADES, Verdict

__all__ = [
    "GRADES",
    "LENS_RULES",
    "LIGHT_RULES",
    "Judged",
    "LensGalaxy",
    "Scene",
    "Verdict",
    "judge",
    "measure_lens",
    "neighbours",
    "with_wings",
]
