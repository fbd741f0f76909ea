"""A residual network that corrects the linear solution, with sub-pixel upscaling at its end."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from lenssuper._utils.checks import check_count
from lenssuper.networks.linear import CHANNELS, CorrectedNetwork
from lenssuper.networks.unet import Block, zeroed

__all__ = ["ResidualCNN"]


class ResidualCNN(CorrectedNetwork):
    """
    Residual blocks at half the resolution of the source grid, and sub-pixel convolution back to it.

    The images enter with their 2 x 2 neighbours as channels and leave the same way (Shi et al. 2016, CVPR,
    arXiv:1609.05158); blocks without normalisation as in Lim et al. (2017, CVPR workshops,
    arXiv:1707.02921).

    Parameters
    ----------
    n_blocks : int, optional
        Each enlarges the field of view of a pixel by four source pixels on every side.
    channels : int, optional
    """

    architecture = "cnn-1"

    def __init__(self, *, n_blocks: int = 8, channels: int = 48) -> None:
        super().__init__()
        self.n_blocks = check_count(n_blocks, "n_blocks")
        self.channels = check_count(channels, "channels")
        self.first = nn.Conv2d(4 * CHANNELS, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(channels, channels) for _ in range(n_blocks)))
        self.last = zeroed(nn.Conv2d(channels, 4, 3, padding=1))

    def correction(self, images: Tensor) -> Tensor:
        """Return what is added to the linear solution."""
        ny, nx = images.shape[-2:]
        padded = functional.pad(images, (0, nx % 2, 0, ny % 2), mode="replicate")
        hidden = self.first(functional.pixel_unshuffle(padded, 2))
        return functional.pixel_shuffle(self.last(hidden + self.blocks(hidden)), 2)[..., :ny, :nx]
