"""The input of a network: observed images in units of their noise, and the map to them from the sources."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np

from lenssuper.networks.arrays import Array, namespace, total, zeros_of
from lenssuper.networks.turns import turned, turned_back

__all__ = ["Projection", "SourceProblem"]


class Projection(Protocol):
    """
    The linear map from a stack of sources to as many observed images, e.g. a `~lenssuper.ForwardModelBatch`.

    It maps arrays and tensors in float32, these on any device and with gradients.
    """

    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]

    def forward(self, sources: Array) -> Array:
        """Return the images of the sources as they would be observed."""

    def adjoint(self, images: Array) -> Array:
        """Apply the transpose of `forward`."""

    def lensed_image(self, sources: Array) -> Array:
        """Return the lensed images on the finer grid, without PSF."""


class SourceProblem:
    """
    Observed images in units of their noise, and the map from their sources to them.

    Sources are arrays (n, ny, nx), each in units of ``scale``: about the brightness of the brightest
    observed pixel, so that networks see numbers of order one whatever the unit of the data. All of
    a problem are numpy arrays, or all are torch tensors.

    Parameters
    ----------
    projection : Projection
        From n sources to n images, in the unit of the data.
    data : Array, shape (n, ny, nx) of the observations
        0 where a pixel is not used.
    weights : Array, shape (n, ny, nx)
        One over the variance; 0 where a pixel is not used.
    scale : Array, shape (n,), optional
        By default the brightest pixel of each image, or the median noise if that is more.

    Notes
    -----
    Objects never change; the ``with_`` methods return others that share the operator.
    """

    def __init__(
        self, projection: Projection, data: Array, weights: Array, scale: Array | None = None
    ) -> None:
        scale = _peak(data, weights) if scale is None else scale
        self._projection = projection
        self._scale = scale.reshape(-1, 1, 1)
        self._gain = weights**0.5 * self._scale
        self._white = weights**0.5 * data
        self._turn = (0, False)

    @classmethod
    def of(cls, batch, *, device: Any = "cpu", scale: float | None = None) -> SourceProblem:
        """
        Return the problem of a `~lenssuper.ForwardModelBatch`, in float32.

        It is of tensors on a device, or of numpy arrays if that is None. The unit of brightness is ``scale``,
        or for each image its brightest pixel.
        """
        # first in double precision, because in a faint unit the weights exceed the range of float32
        data, weights = (np.asarray(images, dtype=np.float64) for images in (batch.data, batch.weights))
        problem = cls(batch, data, weights, None if scale is None else np.full(len(data), scale))
        for name in ("_scale", "_gain", "_white"):
            values = getattr(problem, name).astype(np.float32)
            setattr(problem, name, values if device is None else _as_tensor(values, device))
        return problem

    @property
    def white(self) -> Array:
        """The data in units of the noise (n, ny, nx); 0 where a pixel is not used."""
        return self._white

    @property
    def used(self) -> Array:
        """Which pixels are used (n, ny, nx), bool."""
        return self._gain > 0

    @property
    def scale(self) -> Array:
        """Unit of brightness of each source (n, 1, 1), in the unit of the data."""
        return self._scale

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """Shape (n, ny, nx) of the sources."""
        n, ny, nx = self._projection.in_shape
        return (n, nx, ny) if self._turn[0] % 2 else (n, ny, nx)

    def forward(self, sources: Array) -> Array:
        """Return the images (n, ny, nx) of sources, in units of the noise; 0 where a pixel is not used."""
        return self._gain * self._projection.forward(self._to_grid(sources))

    def adjoint(self, images: Array) -> Array:
        """Apply the transpose of `forward`."""
        return self._from_grid(self._projection.adjoint(self._gain * images))

    def lensed_image(self, sources: Array) -> Array:
        """Return the finer images (n, factor ny, factor nx) of sources without PSF, in units of ``scale``."""
        return self._projection.lensed_image(self._to_grid(sources))

    def ones(self) -> Array:
        """Return sources (n, ny, nx) of the brightness 1."""
        return zeros_of(self._white, self.source_shape) + 1

    def coverage(self) -> Array:
        """Return how many observed pixels each source pixel reaches (n, ny, nx)."""
        return self._from_grid(self._projection.adjoint(namespace(self._gain).ones_like(self._gain)))

    def chi2(self, sources: Array, where: Array | None = None) -> Array:
        """
        Return chi-square per pixel of each source (n,), over the pixels used or those of a mask (n, ny, nx).

        Notes
        -----
        Warren & Dye (2003), ApJ 590, 673, eq. 3, divided by the number of pixels.
        """
        where = self.used if where is None else where & self.used
        squares = (self.forward(sources) - self._white) ** 2
        xp = namespace(squares)
        counted = xp.astype(where, squares.dtype)
        return (total(squares * counted) / xp.clip(total(counted), min=1))[..., 0, 0]

    def with_white(self, white: Array) -> SourceProblem:
        """Return the same problem for other data (n, ny, nx) in units of the noise."""
        other = copy.copy(self)
        other._white = namespace(white).where(self.used, white, 0 * self._white)
        return other

    def without(self, held_out: Array) -> SourceProblem:
        """Return the same problem with the pixels of a mask (n, ny, nx) not used."""
        other = copy.copy(self)
        xp = namespace(self._white)
        other._gain = xp.where(held_out, 0 * self._gain, self._gain)
        other._white = xp.where(held_out, 0 * self._white, self._white)
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


def _as_tensor(values, device):
    import torch

    return torch.as_tensor(values, device=device)


def _peak(data: Array, weights: Array) -> Array:
    """Return the brightest used pixel of each image, or its noise if that is more."""
    xp, found = namespace(data), []
    for image, weight in zip(data, weights, strict=True):
        used = weight > 0
        middle = xp.sort(weight[used])[(xp.sum(used) - 1) // 2]
        found.append(xp.maximum(xp.max(image[used]), middle**-0.5))
    return xp.stack(found)
