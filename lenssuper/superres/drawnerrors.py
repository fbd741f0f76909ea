"""What an error budget says of each draw: its lens, its image, and by how much its source is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lenssuper.lens import LensModel

__all__ = ["DrawnErrors", "budget_message", "has_lens_errors"]

_MESSAGE = "the errors of image and source are those of "


@dataclass(frozen=True, eq=False, repr=False)
class DrawnErrors:
    """
    Errors of a budget, and what they are in each draw.

    Attributes
    ----------
    pairs : tuple of (LensModel, LensModel) or None
        For each error of the lens, the lens one standard deviation to either side; None for other errors.
    sources : ndarray, shape (number of errors, ny, nx) of the source grid
        By how much an error of one standard deviation changes the source.
    shares : ndarray, shape (n, number of errors)
        By how many of each error a draw is changed.
    images : ndarray, shape (n, ny, nx) of the fine grid
        Draws of the lensed image.
    source_std : ndarray, shape (ny, nx) of the source grid
        Standard deviation of the source by noise and prior alone.
    """

    pairs: tuple[tuple[LensModel, LensModel] | None, ...]
    sources: np.ndarray
    shares: np.ndarray
    images: np.ndarray
    source_std: np.ndarray

    def __repr__(self) -> str:
        return f"<DrawnErrors: {len(self.images)} draws, {len(self.pairs)} errors>"

    @classmethod
    def of(cls, budget) -> DrawnErrors:
        """Return those of an `ErrorBudget`."""
        changes = [each.change for each in budget.responses]
        pairs = tuple((c.plus.lens, c.minus.lens) if c.part == "lens" else None for c in changes)
        source_std = np.hypot(*(budget.std(part, "source") for part in ("noise", "prior of the source")))
        sources = np.reshape([each.source for each in budget.responses], (-1, *source_std.shape))
        return cls(pairs, sources, budget.shares, budget.image_draws, source_std)

    def mean_changes(self, pixels: np.ndarray) -> np.ndarray:
        """Return by how much the mean brightness of pixels is changed in each draw, shape (n,)."""
        return self.shares @ self.sources[:, pixels].mean(axis=1)


def budget_message(parts: Iterable[str]) -> str:
    """Return the remark on a result whose errors are those of a budget, by its parts."""
    return _MESSAGE + ", ".join(parts)


def has_lens_errors(messages: Iterable[str]) -> bool:
    """Return whether one of the remarks on a result is that errors of the lens are among its errors."""
    said = (message.removeprefix(_MESSAGE) for message in messages if message.startswith(_MESSAGE))
    return any("lens" in parts.split(", ") for parts in said)
