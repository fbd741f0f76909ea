"""The input of a network: observed images in units of their noise, and the map to them from the sources."""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lenssuper.networks.turns import turned, turned_back

__all__ = ["Projection", "SourceProblem"]


class Projection(Protocol):
    """
    The linear map from a stack of sources to as many observed images, e.g. a `~lenssuper.ForwardModelBatch`.

    It maps float32 tensors on any device, and gradients flow through it.
    """

    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]

    def forward(self, sources: Tensor) -> Tensor:
        """Return the images of the sources as they would be observed."""

    def adjoint(self, images: Tensor) -> Tensor:
        """Apply the transpose of `forward`."""

    def lensed_image(self, sources: Tensor) -> Tensor:
        """Return the lensed images on the finer grid, without PSF."""


class SourceProblem:
    """
    Observed images in units of their noise, and the map from their sources to them.

    Sources are tensors (n, ny, nx), each in units of ``scale``: about the brightness of the brightest
    observed pixel, so that networks see numbers of order one whatever the unit of the data.

    Parameters
    ----------
    projection : Projection
        From n sources to n images, in the unit of the data.
    data : Tensor, shape (n, ny, nx) of the observations
        0 where a pixel is not used.
    weights : Tensor, shape (n, ny, nx)
        One over the variance; 0 where a pixel is not used.
    scale : Tensor, shape (n,), optional
        By default the brightest pixel of each image, or the median noise if that is more.

    Notes
    -----
    Objects never change; the ``with_`` methods return others that share the operator.
    """

    def __init__(
        self, projection: Projection, data: Tensor, weights: Tensor, scale: Tensor | None = None
    ) -> None:
        scale = _peak(data, weights) if scale is None else scale
        self._projection = projection
        self._scale = scale.reshape(-1, 1, 1)
        self._gain = weights.sqrt() * self._scale
        self._white = weights.sqrt() * data
        self._turn = (0, False)

    @classmethod
    def of(cls, batch, *, device: torch.device | str = "cpu", scale: float | None = None) -> SourceProblem:
        """
        Return the problem of a `~lenssuper.ForwardModelBatch`, in float32 on a device.

        The unit of brightness is ``scale``, or for each image its brightest pixel.
        """
        # first in double precision, because in a faint unit the weights exceed the range of float32
        data, weights = (torch.tensor(np.asarray(images)) for images in (batch.data, batch.weights))
        unit = None if scale is None else torch.full((len(data),), scale, dtype=data.dtype)
        problem = cls(batch, data, weights, unit)
        for name in ("_scale", "_gain", "_white"):
            setattr(problem, name, getattr(problem, name).to(device, torch.float32))
        return problem

    @property
    def white(self) -> Tensor:
        """The data in units of the noise (n, ny, nx); 0 where a pixel is not used."""
        return self._white

    @property
    def used(self) -> Tensor:
        """Which pixels are used (n, ny, nx), bool."""
        return self._gain > 0

    @property
    def scale(self) -> Tensor:
        """Unit of brightness of each source (n, 1, 1), in the unit of the data."""
        return self._scale

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """Shape (n, ny, nx) of the sources."""
        n, ny, nx = self._projection.in_shape
        return (n, nx, ny) if self._turn[0] % 2 else (n, ny, nx)

    def forward(self, sources: Tensor) -> Tensor:
        """Return the images (n, ny, nx) of sources, in units of the noise; 0 where a pixel is not used."""
        return self._gain * self._projection.forward(self._to_grid(sources))

    def adjoint(self, images: Tensor) -> Tensor:
        """Apply the transpose of `forward`."""
        return self._from_grid(self._projection.adjoint(self._gain * images))

    def lensed_image(self, sources: Tensor) -> Tensor:
        """Return the finer images (n, factor ny, factor nx) of sources without PSF, in units of ``scale``."""
        return self._projection.lensed_image(self._to_grid(sources))

    def coverage(self) -> Tensor:
        """Return how many observed pixels each source pixel reaches (n, ny, nx)."""
        return self._from_grid(self._projection.adjoint(torch.ones_like(self._gain)))

    def chi2(self, sources: Tensor, where: Tensor | None = None) -> Tensor:
        """
        Return chi-square per pixel of each source (n,), over the pixels used or those of a mask (n, ny, nx).

        Notes
        -----
        Warren & Dye (2003), ApJ 590, 673, eq. 3, divided by the number of pixels.
        """
        where = self.used if where is None else where & self.used
        squares = (self.forward(sources) - self._white) ** 2
        return (squares * where).sum((-2, -1)) / where.sum((-2, -1)).clamp(min=1)

    def with_white(self, white: Tensor) -> SourceProblem:
        """Return the same problem for other data (n, ny, nx) in units of the noise."""
        other = copy.copy(self)
        other._white = torch.where(self.used, white, 0.0)
        return other

    def without(self, held_out: Tensor) -> SourceProblem:
        """Return the same problem with the pixels of a mask (n, ny, nx) not used."""
        other = copy.copy(self)
        other._gain = torch.where(held_out, 0.0, self._gain)
        other._white = torch.where(held_out, 0.0, self._white)
        return other

    def turned(self, quarters: int, mirrored: bool = False) -> SourceProblem:
        """
        Return the same problem with its source plane turned by quarter turns, and mirrored before.

        The observations are the same.
        """
        if self._turn != (0, False):
            raise ValueError("turned is for a problem that has not been turned yet")
        other = copy.copy(self)
        other._turn = (quarters % 4, bool(mirrored))
        return other

    def _to_grid(self, sources):
        return turned_back(sources, *self._turn)

    def _from_grid(self, sources):
        return turned(sources, *self._turn)

    def __len__(self) -> int:
        return len(self._white)


def _peak(data: Tensor, weights: Tensor) -> Tensor:
    """Return the brightest used pixel of each image, or its noise if that is more."""
    found = []
    for image, weight in zip(data, weights, strict=True):
        used = weight > 0
        found.append(torch.maximum(image[used].max(), weight[used].median() ** -0.5))
    return torch.stack(found)
