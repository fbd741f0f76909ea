"""Maps on the source grid, of order one, that networks see of a problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

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
    back_projection : Tensor
        Weighted mean of the observed pixels that each source pixel reaches, A'W y / A'W A 1.
    weight : Tensor
        A'W A 1, the row sums of A'W A: the squared S/N of a source pixel among equally bright ones. Unlike
        the diagonal it takes only two products.
    significance : Tensor
        A'W y over the square root of the weight.
    coverage : Tensor
        Number of observed pixels that a source pixel reaches.
    """

    back_projection: Tensor
    weight: Tensor
    significance: Tensor
    coverage: Tensor

    @classmethod
    def of(cls, problem: SourceProblem) -> Features:
        """Return the features of a problem."""
        with torch.no_grad():
            ones = torch.ones(problem.source_shape, device=problem.white.device)
            # rounding errors of the FFTs can be negative
            weight = problem.adjoint(problem.forward(ones)).clamp(min=0)
            projected = problem.adjoint(problem.white)
            return cls(
                back_projection=projected
                / (weight + 1e-3 * weight.amax((-2, -1), keepdim=True).clamp(min=1e-12)),
                weight=weight,
                significance=projected / (weight + 1).sqrt(),
                coverage=problem.coverage().clamp(min=0),
            )

    @property
    def log_back_projection(self) -> Tensor:
        """Logarithm of the back-projection, at least that of the sky."""
        return self.back_projection.clamp(min=math.exp(DARK), max=_BRIGHTEST).log()

    def channels(self) -> Tensor:
        """Return all four as an image (n, 4, ny, nx), scaled to order one."""
        maps = [
            self.log_back_projection / 3 + 1,
            (self.weight + 1).log() / 4 - 1,
            self.coverage.log1p(),
            self.significance / 30,
        ]
        return torch.stack(maps, dim=1)
