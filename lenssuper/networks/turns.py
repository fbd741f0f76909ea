"""Quarter turns and mirrorings of sources."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["turned", "turned_back"]


def turned(sources: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """Turn sources (..., ny, nx) by quarter turns as `torch.rot90` does, mirrored along x before or not."""
    sources = sources.flip(-1) if mirrored else sources
    return torch.rot90(sources, quarters, (-2, -1)) if quarters else sources


def turned_back(sources: Tensor, quarters: int, mirrored: bool) -> Tensor:
    """Undo `turned`; it is its transpose too."""
    sources = torch.rot90(sources, -quarters, (-2, -1)) if quarters else sources
    return sources.flip(-1) if mirrored else sources
