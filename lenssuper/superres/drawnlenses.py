"""The lens of each draw, of a result whose errors contain those of the lens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lenssuper.lens import LensModel

__all__ = ["DrawnLenses", "budget_message", "has_lens_errors"]

_MESSAGE = "the errors of image and source are those of "


@dataclass(frozen=True, eq=False)
class DrawnLenses:
    """
    What an `ErrorBudget` says of each draw besides its source.

    Attributes
    ----------
    pairs : tuple of (LensModel, LensModel)
        The lens with each of its errors, one standard deviation to either side.
    shares : ndarray, shape (n, number of pairs)
        By how many of these errors the lens of each draw is changed.
    images : ndarray, shape (n, ny, nx) of the fine grid
        Draws of the lensed image.
    """

    pairs: tuple[tuple[LensModel, LensModel], ...]
    shares: np.ndarray
    images: np.ndarray

    def __repr__(self) -> str:
        return f"<DrawnLenses: {len(self.images)} draws, {len(self.pairs)} errors of the lens>"

    @classmethod
    def of(cls, budget) -> DrawnLenses:
        """Return those of an `ErrorBudget`."""
        own = [k for k, each in enumerate(budget.responses) if each.change.part == "lens"]
        changes = [budget.responses[k].change for k in own]
        pairs = tuple((each.plus.lens, each.minus.lens) for each in changes)
        return cls(pairs, budget.shares[:, own], budget.image_draws)


def budget_message(parts: Iterable[str]) -> str:
    """Return the remark on a result whose errors are those of a budget, by its parts."""
    return _MESSAGE + ", ".join(parts)


def has_lens_errors(messages: Iterable[str]) -> bool:
    """Return whether one of the remarks on a result is that errors of the lens are among its errors."""
    said = (message.removeprefix(_MESSAGE) for message in messages if message.startswith(_MESSAGE))
    return any("lens" in parts.split(", ") for parts in said)
