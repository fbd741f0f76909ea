"""The way of images through the layers of a U-Net, whether these are torch modules or arrays."""

from __future__ import annotations

from typing import Any

from lenssuper.networks.arrays import Array, namespace, padded, pixel_shuffle, pixel_unshuffle, silu

__all__ = ["block_pass", "unet_pass"]


def unet_pass(layers: Any, images: Array, condition: Array | None) -> Array:
    """
    Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx).

    ``layers`` has the attributes of a `~lenssuper.networks.unet.UNet`. ``condition`` is a vector, the same
    for all.
    """
    ny, nx = images.shape[-2:]
    multiple = 2 ** (len(layers.shrink) + 1)
    hidden = layers.first(pixel_unshuffle(padded(images, -ny % multiple, -nx % multiple)))
    shortcuts = []
    for block, shrink in zip(layers.encoder, layers.shrink, strict=True):
        hidden = block(hidden, condition)
        shortcuts.append(hidden)
        hidden = shrink(hidden)
    for block in layers.middle:
        hidden = block(hidden, condition)
    for block, grow, shortcut in zip(
        reversed(layers.decoder), reversed(layers.grow), reversed(shortcuts), strict=True
    ):
        hidden = pixel_shuffle(grow(hidden))
        hidden = block(namespace(hidden).concat([hidden, shortcut], axis=1), condition)
    return pixel_shuffle(layers.last(hidden))[..., :ny, :nx]


def block_pass(layers: Any, images: Array, condition: Array | None) -> Array:
    """
    Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx).

    ``layers`` has the attributes of a `~lenssuper.networks.unet.Block`.
    """
    hidden = layers.before(images)
    if layers.told is not None:  # the condition adds a number to each channel
        hidden = hidden + layers.told(condition)[:, None, None]
    return layers.shortcut(images) + layers.after(silu(hidden))
