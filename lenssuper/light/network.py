"""The network that answers a residual image with the next Sersic, and the sum of its answers."""

from __future__ import annotations

import torch
from torch import nn

from lenssuper.light.actions import N_ACTIONS, SIZE, shapes_of
from lenssuper.light.torchsersic import render_shapes

__all__ = ["SersicNetwork", "roll_out"]

_BLOCK = 4  # pixels on a side whose values become channels
_STRETCH = 0.1  # of the brightest part of the image: where the stretch turns from linear to logarithmic


class SersicNetwork(nn.Module):
    """
    A small convolutional network: residual and model images in, the next Sersic as seven actions out.

    Parameters
    ----------
    widths : sequence of int, optional
        Channels of the convolutions: the first on 16 x 16 blocks of pixels, each further one on a quarter of
        the pixels of the one before.
    hidden : int, optional
        Width of the layer before the last.
    """

    architecture = "cnn-1"

    def __init__(self, widths: tuple[int, ...] = (64, 96, 128), hidden: int = 128) -> None:
        super().__init__()
        self.widths, self.hidden = tuple(widths), hidden
        self.unshuffle = nn.PixelUnshuffle(_BLOCK)
        channels = (2 * _BLOCK**2 + 2, *self.widths)
        strides = (1,) + (2,) * (len(self.widths) - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=stride, padding=1)
            for a, b, stride in zip(channels[:-1], channels[1:], strides, strict=True)
        )
        side = SIZE // (_BLOCK * 2 ** (len(self.widths) - 1))
        self.between = nn.Linear(self.widths[-1] * side**2, hidden)
        self.last = nn.Linear(hidden, N_ACTIONS)
        blocks = SIZE // _BLOCK
        ramp = torch.linspace(-1, 1, blocks)
        places = torch.stack([ramp.expand(blocks, blocks), ramp[:, None].expand(blocks, blocks)])
        self.register_buffer("places", places, persistent=False)
        self.to(memory_format=torch.channels_last)  # what convolutions on a CPU are fastest with
        nn.init.zeros_(self.last.bias)
        nn.init.normal_(self.last.weight, std=0.01)

    def forward(self, residual: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
        """
        Answer with the next Sersic.

        Parameters
        ----------
        residual, model : Tensor, shape (batch, 64, 64)
            What is left of the image, and what was taken away.

        Returns
        -------
        Tensor, shape (batch, 7)
            Actions, between -1 and 1.
        """
        images = torch.stack([residual, model], dim=1)
        features = self.unshuffle(torch.asinh(images / _STRETCH))
        features = torch.cat([features, self.places.expand(len(images), -1, -1, -1)], dim=1)
        features = features.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            features = nn.functional.leaky_relu(convolution(features), 0.1)
        features = nn.functional.leaky_relu(self.between(features.flatten(1)), 0.1)
        return torch.tanh(self.last(features))


def roll_out(
    network: nn.Module, images: torch.Tensor, components: int, *, oversampling: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Add Sersics one after another, each in answer to what those before have left.

    Parameters
    ----------
    network : SersicNetwork
    images : Tensor, shape (batch, 64, 64)
        Without sky, their brightest part about 1.
    components : int
        How many to add.
    oversampling : int, optional
        Of the rendering.

    Returns
    -------
    actions : Tensor, shape (batch, components, 7)
    residuals : Tensor, shape (batch, components, 64, 64)
        What is left after each. Gradients flow to all components before, not through what the network saw.
    """
    model = torch.zeros_like(images)
    actions, residuals = [], []
    for _ in range(components):
        seen = model.detach()
        action = network(images - seen, seen)
        model = model + render_shapes(shapes_of(action), (SIZE, SIZE), oversampling=oversampling)
        actions.append(action)
        residuals.append(images - model)
    return torch.stack(actions, 1), torch.stack(residuals, 1)
