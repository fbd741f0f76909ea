"""A small U-Net for images of any size, whose finest layers see the image at half its resolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lenssuper.networks.unetpass import block_pass, unet_pass

__all__ = ["UNet"]


class UNet(nn.Module):
    """
    Convolutions at ever coarser resolution and back, with shortcuts between equal resolutions.

    Ronneberger, Fischer & Brox (2015, MICCAI, arXiv:1505.04597), with residual blocks. The image enters with
    its 2 x 2 neighbours as channels (Shi et al. 2016, CVPR, arXiv:1609.05158), which saves the most expensive
    layers. A new network returns zero.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8, ... of the resolution.
    conditions : int, optional
        Length of a vector that selects the task of the network; every block sees it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, widths: Sequence[int], *, conditions: int = 0
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(4 * in_channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(Block(w, w, conditions) for w in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1], conditions) for _ in range(2))
        self.grow = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(Block(2 * w, w, conditions) for w in widths[:-1])
        self.last = zeroed(nn.Conv2d(widths[0], 4 * out_channels, 3, padding=1))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """
        Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx).

        ``condition`` is a vector, the same for all.
        """
        return unet_pass(self, images, condition)


class Block(nn.Module):
    """Two convolutions and a shortcut; a new block is the shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, conditions: int = 0) -> None:
        super().__init__()
        self.before = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.after = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.told = nn.Linear(conditions, out_channels) if conditions else None
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return images (n, out_channels, ny, nx) of images (n, in_channels, ny, nx)."""
        return block_pass(self, images, condition)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Return a layer with zero weights, which returns zero until it is trained."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
