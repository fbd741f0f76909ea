"""The layers of a trained U-Net as numpy arrays: they answer as those of torch do, and learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lenssuper.networks.arrays import pixel_unshuffle
from lenssuper.networks.unetpass import block_pass, unet_pass

__all__ = ["ArrayUNet", "Take"]

Take = Callable[..., np.ndarray]
"""Function that returns the weight of a name, which must have the shape that follows."""


class ArrayUNet:
    """
    A trained `~lenssuper.networks.unet.UNet`.

    ``take`` gives the weights; the other parameters are those of the U-Net.
    """

    def __init__(
        self, take: Take, name: str, in_channels: int, out_channels: int, widths: Sequence[int], k: int
    ) -> None:
        def blocks(part, sizes):
            return [ArrayBlock(take, f"{name}.{part}.{i}", *size, k) for i, size in enumerate(sizes)]

        def layers(part, sizes, side):
            return [Convolution(take, f"{name}.{part}.{i}", *size, side) for i, size in enumerate(sizes)]

        fine, last = widths[:-1], widths[-1]
        self.first = Convolution(take, f"{name}.first", 4 * in_channels, widths[0], 3)
        self.encoder = blocks("encoder", [(w, w) for w in fine])
        self.shrink = layers("shrink", list(pairwise(widths)), 2)
        self.middle = blocks("middle", [(last, last)] * 2)
        self.grow = layers("grow", [(coarse, 4 * w) for w, coarse in pairwise(widths)], 1)
        self.decoder = blocks("decoder", [(2 * w, w) for w in fine])
        self.last = Convolution(take, f"{name}.last", widths[0], 4 * out_channels, 3)

    def __call__(self, images: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx)."""
        return unet_pass(self, images, condition)


class ArrayBlock:
    """A trained `~lenssuper.networks.unet.Block`."""

    def __init__(self, take: Take, name: str, in_channels: int, out_channels: int, k: int) -> None:
        self.before = Convolution(take, f"{name}.before", in_channels, out_channels, 3)
        self.after = Convolution(take, f"{name}.after", out_channels, out_channels, 3)
        self._told = take(f"{name}.told.weight", out_channels, k), take(f"{name}.told.bias", out_channels)
        alike = in_channels == out_channels
        self.shortcut = (
            _identity if alike else Convolution(take, f"{name}.shortcut", in_channels, out_channels, 1)
        )

    def told(self, condition: np.ndarray) -> np.ndarray:
        """Return what a condition, a vector (k,), adds to each channel: (out_channels,)."""
        weight, bias = self._told
        return weight @ condition + bias

    def __call__(self, images: np.ndarray, condition: np.ndarray) -> np.ndarray:
        """Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx)."""
        return block_pass(self, images, condition)


class Convolution:
    """
    A trained convolution over squares of ``side`` pixels, as a product of matrices.

    Of side 1 and 3 the images keep their size, with zeros beyond their borders; of side 2 each square of 2 x
    2 pixels becomes one.
    """

    def __init__(self, take: Take, name: str, in_channels: int, out_channels: int, side: int) -> None:
        weight = take(f"{name}.weight", out_channels, in_channels, side, side)
        self._matrix = np.ascontiguousarray(weight.reshape(out_channels, -1))
        self._bias = take(f"{name}.bias", out_channels)[:, None]
        self._side = side

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx)."""
        if self._side == 2:
            images = pixel_unshuffle(images)
        n, _, ny, nx = images.shape
        seen = _neighbours(images) if self._side == 3 else images
        made = self._matrix @ seen.reshape(n, -1, ny * nx) + self._bias
        return made.reshape(n, -1, ny, nx)


def _neighbours(images):
    """Return the 3 x 3 pixels around each as channels: (n, c, 3, 3, ny, nx)."""
    n, c, ny, nx = images.shape
    wider = np.zeros((n, c, ny + 2, nx + 2), images.dtype)
    wider[..., 1:-1, 1:-1] = images
    return sliding_window_view(wider, (ny, nx), axis=(-2, -1))


def _identity(images):
    return images
