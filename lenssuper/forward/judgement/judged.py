"""What all results have that were judged."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from types import MappingProxyType

from lenssuper.forward.judgement.verdict import Verdict

__all__ = ["Judged"]


class Judged(ABC):
    """A result with a verdict in its attribute ``judgement``, or None."""

    judgement: Verdict | None

    @property
    def verdict(self) -> str | None:
        """Whether the result is "trusted", to "look" at or "wrong"; None if it was not judged."""
        return None if self.judgement is None else self.judgement.verdict

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against the result, in sentences."""
        return () if self.judgement is None else self.judgement.reasons

    @property
    def measures(self) -> Mapping[str, float]:
        """The numbers by which the result was judged."""
        return MappingProxyType({}) if self.judgement is None else self.judgement.measures

    def verdict_rows(self) -> list[tuple[str, str]]:
        """Return the last lines of a summary: what is not known of a galaxy in front, verdict, reasons."""
        if self.judgement is None:
            return []
        share = self.measures.get("front_share", math.nan)
        text = f"what is not known of the galaxy is {share:.0%} of the light of the arcs"
        front = [] if math.isnan(share) else [("in front", text)]
        return [*front, ("verdict", self.judgement.words), *(("", reason) for reason in self.reasons)]
