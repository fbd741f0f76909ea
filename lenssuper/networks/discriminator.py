"""A network that distinguishes observed images from imitations, patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["PatchDiscriminator"]

# Brightness, in units of the noise, above which pixels enter by their logarithm
_KNEE = 2.0


class PatchDiscriminator(nn.Module):
    """
    A classifier of small patches of images: each output sees a few tens of pixels.

    Isola et al. (2017, CVPR, arXiv:1611.07004, section 3.2.2), with layers of spectral norm one in place of
    normalised activations (Miyato et al. 2018, ICLR, arXiv:1802.05957), so that an image is judged whatever
    those beside it.

    Parameters
    ----------
    widths : sequence of int, optional
        Channels at 1/2, 1/4, 1/8, ... of the resolution.
    """

    def __init__(self, widths: Sequence[int] = (24, 48, 96)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((1, *widths)):
            layers += [
                spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def forward(self, white: Tensor) -> Tensor:
        """
        Return the log odds (n, rows, columns) that patches of images (n, ny, nx) were observed.

        The images are in units of their noise, with at least two to the power of the number of widths pixels
        on each side.
        """
        return self.layers(torch.asinh(white[:, None] / _KNEE))[:, 0]
