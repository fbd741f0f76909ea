"""A correlated random field on images of any size, its spectrum learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["CorrelatedField"]


class CorrelatedField(nn.Module):
    """
    The map from white noise to a periodic Gaussian field of unit variance with a power-law spectrum.

    The power is proportional to (1 + (k l)^2)^(-p / 2) with the angular wavenumber k (a Matern field:
    Rasmussen & Williams 2006, eq. 4.15). The slope p and the correlation length l, a share of the image's
    longer side, are learned, from the initial values given. `forward` applies the square root of the
    covariance; it is symmetric.
    """

    def __init__(self, slope: float = 3.0, length: float = 1 / 3) -> None:
        super().__init__()
        # a finite variance needs a slope above 2
        self.log_slope = nn.Parameter(torch.tensor(math.log(slope - 2.0)))
        self.log_length = nn.Parameter(torch.tensor(math.log(length)))

    def amplitude(self, shape: tuple[int, int], slope: Tensor | None = None) -> Tensor:
        """
        Return the factor on each mode of `torch.fft.rfft2` of an image (ny, nx).

        ``slope`` (n, 1, 1) replaces the learned one for each of n images; the factors are then (n, ny, nx //
        2 + 1), else (ny, nx // 2 + 1).
        """
        slope = 2 + self.log_slope.exp() if slope is None else slope
        ny, nx = shape
        device, dtype = self.log_slope.device, self.log_slope.dtype
        ky = 2 * math.pi * torch.fft.fftfreq(ny, device=device, dtype=dtype)[:, None]
        kx = 2 * math.pi * torch.fft.fftfreq(nx, device=device, dtype=dtype)
        length = self.log_length.exp() * max(shape)
        power = (1 + (ky**2 + kx**2) * length**2) ** (-slope / 2)
        return (power / power.mean((-2, -1), keepdim=True)).sqrt()[..., : nx // 2 + 1]

    def forward(self, white: Tensor, amplitude: Tensor | None = None) -> Tensor:
        """Return the field of white noise (..., ny, nx); ``amplitude`` saves computing it again."""
        shape = (white.shape[-2], white.shape[-1])
        amplitude = self.amplitude(shape) if amplitude is None else amplitude
        return torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=shape)
