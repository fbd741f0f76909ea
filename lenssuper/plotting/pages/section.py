"""A part of a page: a picture with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Section"]


@dataclass(frozen=True, eq=False)
class Section:
    """
    What a page shows of one result.

    Attributes
    ----------
    picture : `~matplotlib.figure.Figure`
    alt : str
        What the picture shows, for those who cannot see it.
    caption : str
        What its panels are, to stand below the picture; by default ``alt``.
    rows : sequence of (str, str)
        Name and value of each number.
    heading : str
        None for the first part of a page.
    parameters : sequence of (str, str, str or None, str)
        Name, value, error and unit of the parameters of a lens; the error is empty for one that was fixed in
        a fit, and None for all where there was no fit.
    hyperparameters : mapping of str to float
    messages : sequence of str
        Warnings.
    judgement : Verdict, optional
        What is thought of the result: anything with ``verdict``, ``words`` and ``reasons``.
    viewer : mapping
        What the interactive view needs, see ``lenssuper.superres.viewer``; None where there is none.
    """

    picture: Figure
    alt: str
    rows: Sequence[tuple[str, str]]
    caption: str = ""
    heading: str = ""
    parameters: Sequence[tuple[str, str, str | None, str]] = ()
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    messages: Sequence[str] = ()
    judgement: Any = None
    viewer: Mapping[str, Any] | None = None
