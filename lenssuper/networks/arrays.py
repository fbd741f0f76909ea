"""Functions of images that networks share: one code for numpy, which answers, and for torch, which learns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_torch_array
from scipy.special import expit

__all__ = [
    "Array",
    "as_numpy",
    "like",
    "limited",
    "namespace",
    "no_gradients",
    "padded",
    "pixel_shuffle",
    "pixel_unshuffle",
    "silu",
    "total",
    "zeros_of",
]

# A numpy array or a torch tensor
Array = Any


def namespace(x: Array) -> ModuleType:
    """Return the functions of the array API standard for an array or a tensor."""
    return array_namespace(x)


def no_gradients(x: Array) -> AbstractContextManager:
    """Return a context in which torch records no gradients, if ``x`` is a tensor."""
    if is_torch_array(x):
        import torch

        return torch.no_grad()
    return nullcontext()


def as_numpy(x: Array) -> np.ndarray:
    """Return an array, or a tensor on any device, as an array."""
    return x.detach().cpu().numpy() if is_torch_array(x) else x


def like(x: Array, values: np.ndarray) -> Array:
    """Return values in the precision of ``x``, and as a tensor on its device if it is one."""
    return x.new_tensor(values) if is_torch_array(x) else values.astype(x.dtype)


def zeros_of(x: Array, shape: tuple[int, ...]) -> Array:
    """Return zeros in a shape, of the kind, precision and device of ``x``."""
    return x.new_zeros(shape) if is_torch_array(x) else np.zeros(shape, x.dtype)


def total(x: Array) -> Array:
    """Return the sums of images (..., ny, nx) over their pixels, of the shape (..., 1, 1)."""
    return namespace(x).sum(x, axis=(-2, -1), keepdims=True)


def limited(values: Array, low: float, high: float) -> Array:
    """
    Return values limited to a range, with a gradient beyond a limit where descent leads back.

    The gradient of `torch.clamp` is zero beyond the limits: a network whose outputs are all beyond them,
    after a few bad steps, never learns again. Here the gradient is zero only where it would lead further
    away, as in ``lower_bound(..., gradient="identity_if_towards")`` of TensorFlow Compression.
    """
    if is_torch_array(values):
        from lenssuper.networks.limits import Limited

        return Limited.apply(values, low, high)
    return np.clip(values, low, high)


def silu(x: Array) -> Array:
    """Return x / (1 + exp(-x)) (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    if is_torch_array(x):
        import torch

        return torch.nn.functional.silu(x)
    return x * expit(x)


def padded(images: Array, below: int, right: int) -> Array:
    """Repeat the last row and the last column of images (..., ny, nx)."""
    for axis, n in ((-2, below), (-1, right)):
        if n:
            last = images[..., -1:, :] if axis == -2 else images[..., -1:]
            images = namespace(images).concat([images, *([last] * n)], axis=axis)
    return images


def pixel_shuffle(images: Array) -> Array:
    """Turn four channels each of images (n, 4 c, ny, nx) into 2 x 2 pixels: (n, c, 2 ny, 2 nx)."""
    n, channels, ny, nx = images.shape
    blocks = images.reshape(n, channels // 4, 2, 2, ny, nx)
    return _permuted(blocks, (0, 1, 4, 2, 5, 3)).reshape(n, channels // 4, 2 * ny, 2 * nx)


def pixel_unshuffle(images: Array) -> Array:
    """Turn the 2 x 2 pixels of images (n, c, 2 ny, 2 nx) into channels: (n, 4 c, ny, nx)."""
    n, channels, ny, nx = images.shape
    blocks = images.reshape(n, channels, ny // 2, 2, nx // 2, 2)
    return _permuted(blocks, (0, 1, 3, 5, 2, 4)).reshape(n, 4 * channels, ny // 2, nx // 2)


def _permuted(x, axes):
    return namespace(x).permute_dims(x, axes)
