"""The sheets of the lensed image plane around a lens centre, where they may fold closer than pixels resolve.

The radial critical curve of a lens whose density rises a little less steeply than an isothermal one's, or the
tangential one of a light subhalo, may lie within a pixel of the centre, and yet its image is as large as the
Einstein ring's. So around a centre the parity is also looked at on rings, from a pixel and a half inwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenssuper.operators.overlap.assemble import OverlapTask

__all__ = ["NEAR", "Core", "distinct", "find_core", "is_hole"]

# Distance from the centre, in image pixels, at which its limits are taken, and the largest at which parity is
# looked at. The second is small enough for pixels to resolve a curve that is further out.
NEAR, _FAR = 1e-8, 1.5
# Centres closer than this, in image pixels, are one.
_SAME = 1e-6
# Directions of the first look, which has a ring per factor of two, and those of the mesh that follows the
# sheets; rings of the mesh per factor of two.
_LOOK, _COLUMNS, _PER_OCTAVE = 32, 128, 4


class Core:
    """
    The surroundings of a lens centre in which the parity changes.

    Attributes
    ----------
    center : (float, float)
        Column and row of the lens centre.
    radius : float
        In image pixels; on this ring the parity is the same in all directions.
    parity : float
        That parity.
    """

    def __init__(self, center: tuple[float, float], radius: float, parity: float) -> None:
        self.center, self.radius, self.parity = center, radius, parity

    def sheets(self, task: OverlapTask, lattice: Callable) -> tuple:
        """
        Return a mesh of rings: u and v as `border_of_sheets` takes them, and the parity that is missing.

        ``lattice`` gives the parity (column, row) that the triangles of the pixels have there. The last row
        of the mesh is what is within `NEAR` of the centre.
        """
        column, row = self.center
        rows = int(np.ceil(_PER_OCTAVE * np.log2(self.radius / NEAR)))
        radius = np.geomspace(self.radius, NEAR, 2 * rows + 1)[:, None]
        angle = np.linspace(0, 2 * np.pi, 2 * _COLUMNS + 1)
        angle[-1] = 0.0  # the last edge is the first one
        x, y = column + radius * np.cos(angle), row + radius * np.sin(angle)
        u, v = task.trace(x, y)
        middle = np.s_[1::2, 1::2]
        there = lattice(x[middle], y[middle])
        parity = cast("Callable", task.parity)(x[middle], y[middle])
        missing = np.where(there == 0, 0.0, parity - there)
        inner = -there[-1:] if is_hole(task, column, row) else missing[-1:]
        # a point, to which the innermost ring shrinks
        u, v = (np.concatenate([w, np.full((2, w.shape[1]), w[-1].mean())]) for w in (u, v))
        return u, v, np.concatenate([missing, inner])


def distinct(centers: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the centres that are not at the place of an earlier one."""
    found: list[tuple[float, float]] = []
    for column, row in centers:
        if all(max(abs(column - x), abs(row - y)) > _SAME for x, y in found):
            found.append((column, row))
    return found


def find_core(task: OverlapTask, center: tuple[float, float], others: list) -> Core | None:
    """Return what is around a lens centre; None if the parity is the same as far as pixels resolve it."""
    column, row = center
    far = min([_FAR, *(0.5 * np.hypot(column - x, row - y) for x, y in others)])
    radius = np.geomspace(far, NEAR, int(np.ceil(np.log2(far / NEAR))) + 1)
    angle = 2 * np.pi * (np.arange(_LOOK) + 0.5) / _LOOK
    x, y = column + radius[:, None] * np.cos(angle), row + radius[:, None] * np.sin(angle)
    parity = cast("Callable", task.parity)(x, y)
    same = np.flatnonzero(np.all(parity == parity[:, :1], axis=1))
    if not same.size or np.all(parity == parity[0, 0]):
        return None
    outer = same[0]
    if np.all(parity[outer:] == parity[outer, 0]):
        return None
    return Core(center, float(radius[outer]), float(parity[outer, 0]))


def is_hole(task: OverlapTask, column: float, row: float) -> bool:
    """
    Return whether the lens tears the sheet open at its centre.

    It does not where light comes from a maximum of the arrival time all around: there the sheet shrinks
    towards the centre, however slowly.
    """
    angle = 2 * np.pi * np.arange(_LOOK) / _LOOK
    around = column + NEAR * np.cos(angle), row + NEAR * np.sin(angle)
    return not np.all(cast("Callable", task.maximum)(*around))
