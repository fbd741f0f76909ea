"""Parts of networks that are learned, as torch modules: the correlated field, and the preconditioner."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lenssuper.networks.bands import OCTAVES, Octave, precondition, prepare_octaves
from lenssuper.networks.field import correlated, field_amplitude

__all__ = ["BandPreconditioner", "CorrelatedField"]


class CorrelatedField(nn.Module):
    """
    The map from white noise to a correlated field, see `~lenssuper.networks.field.field_amplitude`.

    The slope p and the correlation length l, a share of the image's longer side, are learned, from the
    initial values given.
    """

    def __init__(self, slope: float = 3.0, length: float = 1 / 3) -> None:
        super().__init__()
        # a finite variance needs a slope above 2
        self.log_slope = nn.Parameter(torch.tensor(math.log(slope - 2.0)))
        self.log_length = nn.Parameter(torch.tensor(math.log(length)))

    def amplitude(self, shape: tuple[int, int]) -> Tensor:
        """Return the factor on each mode of `torch.fft.rfft2` of an image (ny, nx)."""
        return field_amplitude(shape, 2 + self.log_slope.exp(), self.log_length.exp())

    def forward(self, white: Tensor, amplitude: Tensor | None = None) -> Tensor:
        """Return the field of white noise (..., ny, nx); ``amplitude`` saves computing it again."""
        shape = (white.shape[-2], white.shape[-1])
        return correlated(white, self.amplitude(shape) if amplitude is None else amplitude)


class BandPreconditioner(nn.Module):
    """The approximate inverse of `~lenssuper.networks.bands.prepare_octaves`, its transmissions learned."""

    def __init__(self, octaves: int = OCTAVES) -> None:
        super().__init__()
        # about the transmission of a PSF as wide as eight source pixels at 128 x 128
        start = [max(-0.6 * 0.1 * 4.0 ** (b - 2), -6.0) for b in range(octaves)]
        self.log_transmission = nn.Parameter(torch.tensor(start))

    def prepare(self, weight: Tensor, amplitude: Tensor) -> list[Octave]:
        """Return the octaves for a weight (n, ny, nx), not negative, and the field's amplitude(s)."""
        return prepare_octaves(self.log_transmission, weight, amplitude)

    def precondition(self, octaves: list[Octave], images: Tensor) -> Tensor:
        """Apply the preconditioner to images (n, ny, nx)."""
        return precondition(octaves, images)
