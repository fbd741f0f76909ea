"""What is thought of a result: to be trusted, to be looked at, or wrong; and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = ["GRADES", "Verdict"]

# From the best to the worst.
GRADES = ("trusted", "look", "wrong")
# Meta data of an image from which the light of a galaxy was subtracted: the verdict on that, and its reasons.
_CARD, _REASONS = "FGVERDIC", "FGREASON"
_WORDS = {"trusted": "trusted", "look": "look at it", "wrong": "wrong"}


@dataclass(frozen=True)
class Verdict:
    """
    Whether a result is to be trusted, with the reasons and the numbers behind them.

    Attributes
    ----------
    verdict : str
        "trusted", "look" (a person should look at it) or "wrong".
    reasons : tuple of str
        What speaks against the result, one plain sentence each, the worst first; empty if it is trusted.
    measures : mapping of str to float
        The numbers by which it was judged, read-only; NaN for those that could not be measured.
    """

    verdict: str
    reasons: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in GRADES:
            raise ValueError(f"verdict must be one of {', '.join(GRADES)}; got {self.verdict!r}")
        object.__setattr__(self, "reasons", tuple(self.reasons))
        measures = {name: float(value) for name, value in self.measures.items()}
        object.__setattr__(self, "measures", MappingProxyType(measures))

    def __reduce__(self):
        return type(self), (self.verdict, self.reasons, dict(self.measures))

    def __str__(self) -> str:
        return " — ".join([self.words, *(["; ".join(self.reasons)] if self.reasons else [])])

    @property
    def words(self) -> str:
        """The verdict in words: trusted, look at it, or wrong."""
        return _WORDS[self.verdict]

    def joined(self, other: Verdict | None, name: str) -> Verdict:
        """
        Return the verdict on a result that depends on another one: the worse of both rules.

        Parameters
        ----------
        other : Verdict or None
            That on the other result; None if it was not judged.
        name : str
            What the other result is, which begins its reasons and the names of its measures, e.g.
            ``"lens fit"``. Reasons that both have are given once.

        Returns
        -------
        Verdict
        """
        if other is None:
            return self
        worse = max(self.verdict, other.verdict, key=GRADES.index)
        theirs = tuple(f"{name}: {reason}" for reason in other.reasons if reason not in self.reasons)
        first, last = (theirs, self.reasons) if other.verdict == worse else (self.reasons, theirs)
        measures = {f"{name.replace(' ', '_')}.{key}": value for key, value in other.measures.items()}
        return Verdict(worse, (*first, *last), {**self.measures, **measures})

    def cards(self) -> dict[str, str]:
        """Return the verdict as meta data of an image that depends on what was judged."""
        return {_CARD: self.verdict, _REASONS: "; ".join(self.reasons)}

    @classmethod
    def in_cards(cls, meta: Mapping[str, Any]) -> Verdict | None:
        """Return the verdict in the meta data of an image, or None."""
        if meta.get(_CARD) not in GRADES:
            return None
        reasons = str(meta.get(_REASONS, ""))
        return cls(meta[_CARD], tuple(reasons.split("; ")) if reasons else ())

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON holds it; None for measures that are not finite."""
        measures = {key: value if math.isfinite(value) else None for key, value in self.measures.items()}
        return {"verdict": self.verdict, "reasons": list(self.reasons), "measures": measures}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` gave; raise a ValueError if it is something else."""
        try:
            measures = {
                str(key): math.nan if value is None else float(value)
                for key, value in content["measures"].items()
            }
            return cls(content["verdict"], tuple(map(str, content["reasons"])), measures)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"this is no verdict: {error}") from error
