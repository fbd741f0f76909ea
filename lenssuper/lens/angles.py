"""Directions on the sky in the two ways in which they are quoted."""

from __future__ import annotations

__all__ = ["east_of_north"]


def east_of_north(phi: float) -> float:
    """Return the position angle, from north to east, of an axis at ``phi`` from west to north, in degrees."""
    return (phi - 90.0) % 180.0
