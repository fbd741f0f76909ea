"""Quarter turns and mirrorings of sources."""

from __future__ import annotations

from lenssuper.networks.arrays import Array, namespace

__all__ = ["turned", "turned_back"]


def turned(sources: Array, quarters: int, mirrored: bool) -> Array:
    """Turn sources (..., ny, nx) by quarter turns as `numpy.rot90` does, mirrored along x before or not."""
    return _turned(_mirrored(sources) if mirrored else sources, quarters)


def turned_back(sources: Array, quarters: int, mirrored: bool) -> Array:
    """Undo `turned`; it is its transpose too."""
    sources = _turned(sources, -quarters)
    return _mirrored(sources) if mirrored else sources


def _mirrored(sources):
    return namespace(sources).flip(sources, axis=-1)


def _turned(sources, quarters):
    xp = namespace(sources)
    if quarters % 2:
        sources = xp.flip(xp.matrix_transpose(sources), axis=-2)
    return xp.flip(sources, axis=(-2, -1)) if quarters % 4 > 1 else sources
