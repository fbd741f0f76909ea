"""Networks that predict the next Sersic from a residual image, and the sum of their predictions."""

from __future__ import annotations

import torch
from torch import nn

from lenssuper.light.learned.actions import N_ACTIONS, SIZE, shapes_of
from lenssuper.light.learned.torchsersic import render_shapes

__all__ = ["PolicyNetwork", "ResidualFeatures", "SersicNetwork", "roll_out"]

_BLOCK = 4  # pixels on a side whose values become channels
_STRETCH = 0.1  # of the brightest part of the image: where the stretch turns from linear to logarithmic


class ResidualFeatures(nn.Module):
    """
    Convolutions from images (batch, images, 64, 64) to vectors of features (batch, hidden).

    ``widths`` are the channels of the convolutions: the first on 16 x 16 blocks of pixels, each further one
    on a quarter of the pixels of the one before.
    """

    def __init__(self, images: int, widths: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(_BLOCK)
        channels = (images * _BLOCK**2 + 2, *widths)
        strides = (1,) + (2,) * (len(widths) - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=stride, padding=1)
            for a, b, stride in zip(channels[:-1], channels[1:], strides, strict=True)
        )
        side = SIZE // (_BLOCK * 2 ** (len(widths) - 1))
        self.between = nn.Linear(widths[-1] * side**2, hidden)
        blocks = SIZE // _BLOCK
        ramp = torch.linspace(-1, 1, blocks)
        positions = torch.stack([ramp.expand(blocks, blocks), ramp[:, None].expand(blocks, blocks)])
        self.register_buffer("positions", positions, persistent=False)
        self.to(memory_format=torch.channels_last)  # fastest for convolutions on a CPU

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images."""
        features = self.unshuffle(torch.asinh(images / _STRETCH))
        features = torch.cat([features, self.positions.expand(len(images), -1, -1, -1)], dim=1)
        features = features.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            features = nn.functional.leaky_relu(convolution(features), 0.1)
        return nn.functional.leaky_relu(self.between(features.flatten(1)), 0.1)


class SersicNetwork(ResidualFeatures):
    """A small convolutional network: residual and model images in, the next Sersic as seven actions out."""

    architecture = "cnn-1"

    def __init__(self, widths: tuple[int, ...] = (64, 96, 128), hidden: int = 128) -> None:
        super().__init__(2, widths, hidden)
        self.last = nn.Linear(hidden, N_ACTIONS)
        nn.init.zeros_(self.last.bias)
        nn.init.normal_(self.last.weight, std=0.01)

    def forward(self, residual: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
        """Return the actions (batch, 7) for the next Sersic, from residuals and models (batch, 64, 64)."""
        return torch.tanh(self.last(self.features(torch.stack([residual, model], dim=1))))


class PolicyNetwork(ResidualFeatures):
    """
    The most probable choice of an agent: the residual image in, the next Sersic as seven actions out.

    Parameters
    ----------
    bins : int, optional
        Number of values an action can have; by default it is continuous, with a beta distribution.
    widths, hidden
        As in `ResidualFeatures`.
    """

    def __init__(
        self, bins: int | None = None, widths: tuple[int, ...] = (48, 64, 64), hidden: int = 128
    ) -> None:
        super().__init__(1, widths, hidden)
        self.bins = bins
        self.last = nn.Linear(hidden, N_ACTIONS * (bins or 2))

    @property
    def architecture(self) -> str:
        """Name of the architecture in files of weights."""
        return policy_architecture(self.bins)

    def forward(self, residual: torch.Tensor, model: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the actions (batch, 7) for the next Sersic, from residuals (batch, 64, 64).

        They are the mean of a continuous action, the most probable discrete one. ``model`` is not used.
        """
        answer = self.last(self.features(residual[:, None]))
        if self.bins is None:
            alpha, beta = beta_of(answer)
            return 2 * alpha / (alpha + beta) - 1
        best = answer.unflatten(-1, (N_ACTIONS, self.bins)).argmax(-1)
        return action_of_bin(best, self.bins)


def policy_architecture(bins: int | None) -> str:
    """Return the name of the architecture of a `PolicyNetwork`."""
    return "ppo-beta-1" if bins is None else f"ppo-discrete-{bins}-1"


def beta_of(answer: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the parameters of the beta distributions, both above 1 so that each has one peak inside."""
    return (1 + nn.functional.softplus(answer)).chunk(2, dim=-1)


def action_of_bin(number: torch.Tensor, bins: int) -> torch.Tensor:
    """Return the centre of one of ``bins`` equal parts of the range from -1 to 1."""
    return (2 * number + 1) / bins - 1


def roll_out(
    network: nn.Module, images: torch.Tensor, components: int, *, oversampling: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Add Sersics to images (batch, 64, 64) one after another, each predicted from the residual of those before.

    Returns the actions (batch, components, 7) and the residuals (batch, components, 64, 64) after each.
    Gradients flow to all components before, but not through the input of the network.
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
