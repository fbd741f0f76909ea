"""A U-Net that corrects the linear solution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lenssuper.networks.linear import CHANNELS, CorrectedNetwork
from lenssuper.networks.unet import UNet

__all__ = ["PlainUNet"]


class PlainUNet(CorrectedNetwork):
    """
    One pass of a U-Net over the linear solution and the features of the data.

    Ronneberger, Fischer & Brox (2015, MICCAI, arXiv:1505.04597); behind a linear solution as in Jin et al.
    (2017, IEEE Trans. Image Process. 26, 4509).

    Parameters
    ----------
    widths : sequence of int, optional
        Channels at 1/2, 1/4, 1/8, ... of the resolution.
    """

    architecture = "unet-1"

    def __init__(self, *, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.unet = UNet(CHANNELS, 1, self.widths)

    def correction(self, images: Tensor) -> Tensor:
        """Return what is added to the linear solution."""
        return self.unet(images)
