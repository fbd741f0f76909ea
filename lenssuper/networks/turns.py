"""Quarter turns and mirrorings of sources."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["turned", "turned_back", "ways_to_turn"]


def turned(sources: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """Turn sources (..., ny, nx) by quarter turns as `torch.rot90` does, mirrored along x before or not."""
    sources = sources.flip(-1) if mirrored else sources
    return torch.rot90(sources, quarters, (-2, -1)) if quarters else sources


def turned_back(sources: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """Undo `turned`; it is its transpose too."""
    sources = torch.rot90(sources, -quarters, (-2, -1)) if quarters else sources
    return sources.flip(-1) if mirrored else sources


def ways_to_turn(shape: tuple[int, int]) -> list[tuple[int, bool]]:
    """Return the arguments of `turned` that keep a shape (ny, nx); the first changes nothing."""
    quarters = (0, 2, 1, 3) if shape[0] == shape[1] else (0, 2)
    return [(quarter, mirrored) for mirrored in (False, True) for quarter in quarters]
