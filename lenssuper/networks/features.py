"""Maps on the source grid, of order one, that networks see of a problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lenssuper.networks.arrays import Array, namespace, no_gradients
from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["DARK", "Features"]

DARK = -5.0
"""Logarithm of the brightness of the sky between galaxies, in units of the problem's scale."""
# a source may be this much brighter than its blurred image
_BRIGHTEST = 5.0


@dataclass(frozen=True)
class Features:
    """
    Maps (n, ny, nx) of what the data imply without a prior.

    Attributes
    ----------
    back_projection : Array
        Weighted mean of the observed pixels that each source pixel reaches, A'W y / A'W A 1.
    weight : Array
        A'W A 1, the row sums of A'W A: the squared S/N of a source pixel among equally bright ones. Unlike
        the diagonal it takes only two products.
    significance : Array
        A'W y over the square root of the weight.
    coverage : Array
        Number of observed pixels that a source pixel reaches.
    """

    back_projection: Array
    weight: Array
    significance: Array
    coverage: Array

    @classmethod
    def of(cls, problem: SourceProblem) -> Features:
        """Return the features of a problem."""
        xp = namespace(problem.white)
        with no_gradients(problem.white):
            # rounding errors of the FFTs can be negative
            weight = xp.clip(problem.adjoint(problem.forward(problem.ones())), min=0)
            projected = problem.adjoint(problem.white)
            largest = xp.clip(xp.max(weight, axis=(-2, -1), keepdims=True), min=1e-12)
            return cls(
                back_projection=projected / (weight + 1e-3 * largest),
                weight=weight,
                significance=projected / (weight + 1) ** 0.5,
                coverage=xp.clip(problem.coverage(), min=0),
            )

    @property
    def log_back_projection(self) -> Array:
        """Logarithm of the back-projection, at least that of the sky."""
        xp = namespace(self.weight)
        return xp.log(xp.clip(self.back_projection, min=math.exp(DARK), max=_BRIGHTEST))

    def channels(self) -> Array:
        """Return all four as an image (n, 4, ny, nx), scaled to order one."""
        xp = namespace(self.weight)
        maps = [
            self.log_back_projection / 3 + 1,
            xp.log(self.weight + 1) / 4 - 1,
            xp.log1p(self.coverage),
            self.significance / 30,
        ]
        return xp.stack(maps, axis=1)
