"""A preconditioner that depends on where, and at which scales, the data measure a field."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["BandPreconditioner"]


class BandPreconditioner(nn.Module):
    """
    An approximate inverse of ``1 + G w B G``, for a correlated field G, a weight w and a blur B.

    The field is split into octaves of wavenumber. In each, blur and field are about constant and the weight
    is smoothed to the scale of the octave, so that the inverse is a division, pixel by pixel: ``M = sum_b
    P_b' [1 / (1 + c_b g_b w_b)] P_b`` with the octaves' windows P_b, whose squares sum to one, the field's
    mean power g_b in the octave, and a learned transmission c_b of the blur. That is the symbol of a
    pseudo-differential operator, inverted (Taylor 1981, Pseudodifferential Operators, ch. 2), and positive
    definite for all values, so that conjugate gradients converge to the same answer. Octaves of long waves
    are computed on coarse grids, at little cost.

    The first of the ``octaves`` is the mean and the longest wave; each has waves half as long as the one
    before, and the last has all that are shorter.
    """

    def __init__(self, octaves: int = 6) -> None:
        super().__init__()
        # about the transmission of a PSF as wide as eight source pixels at 128 x 128
        start = [max(-0.6 * 0.1 * 4.0 ** (b - 2), -6.0) for b in range(octaves)]
        self.log_transmission = nn.Parameter(torch.tensor(start))

    def prepare(self, weight: Tensor, amplitude: Tensor) -> list[_Octave]:
        """
        Return the octaves for a weight (n, ny, nx), not negative, and the field's amplitude(s), for `apply`.
        """
        shape = (weight.shape[-2], weight.shape[-1])
        transformed = torch.fft.rfft2(weight)
        made = []
        for number, band in enumerate(_bands(shape, len(self.log_transmission), weight.device)):
            power = (band.squared * amplitude**2).sum((-2, -1), keepdim=True) / band.squared.sum()
            share = math.prod(band.coarse) / math.prod(shape)
            local = _to_image(_cropped(transformed, band.coarse) * (share * band.smooth), band.coarse)
            inverse = 1 / (1 + self.log_transmission[number].exp() * power * local.clamp(min=0))
            made.append(_Octave(band.window, band.coarse, inverse))
        return made

    def apply(self, octaves: list[_Octave], images: Tensor) -> Tensor:
        """Apply the preconditioner to images (n, ny, nx)."""
        shape = (images.shape[-2], images.shape[-1])
        transformed = torch.fft.rfft2(images)
        total = None
        for octave in octaves:  # each adds to the one before on its own grid, which is larger
            local = _to_image(_cropped(transformed, octave.coarse) * octave.window, octave.coarse)
            own = torch.fft.rfft2(octave.inverse * local) * octave.window
            total = own if total is None else own + _embedded(total, octave.coarse)
        return torch.fft.irfft2(total, s=shape)


class _Octave(NamedTuple):
    """The window of an octave, the shape of its grid, and the inverse on it."""

    window: Tensor
    coarse: tuple[int, int]
    inverse: Tensor


class _Band(NamedTuple):
    """An octave of wavenumbers: the square of its window, and on the modes of its own grid more."""

    squared: Tensor  # of all modes
    window: Tensor
    smooth: Tensor  # the transform of what smooths a weight to the scale of the octave
    coarse: tuple[int, int]


@lru_cache(maxsize=8)
def _bands(shape: tuple[int, int], octaves: int, device: torch.device) -> list[_Band]:
    """Return the octaves of the modes of `torch.fft.rfft2` of images (ny, nx)."""
    ny, nx = shape
    longer = max(shape)
    ky = torch.fft.fftfreq(ny, device=device)[:, None] * longer
    kx = torch.fft.rfftfreq(nx, device=device)[None] * longer
    wave = torch.hypot(ky, kx)  # in cycles along the longer side
    octave = torch.log2(wave.clamp(min=1e-3))
    last, made = octaves - 1, []
    for number in range(octaves):
        distance = (octave - number).abs()
        if number == 0:
            distance = torch.where(octave < 0, 0.0, distance)
        if number == last:
            distance = torch.where(octave > last, 0.0, distance)
        window = torch.cos(0.5 * math.pi * distance.clamp(max=1))
        smooth = torch.exp(-0.5 * (wave / 2.0**number) ** 2)
        need = 2.0 ** (number + 1) / longer if number < last else 1.0
        coarse = (_coarse_length(ny, need), _coarse_length(nx, need))
        made.append(_Band(window**2, _cropped(window, coarse), _cropped(smooth, coarse), coarse))
    return made


def _coarse_length(n: int, need: float) -> int:
    """Return the length of an axis that holds frequencies up to ``need`` (cycles per pixel of n)."""
    cycles = math.ceil(need * n)
    return min(n, 2 * cycles + 2)


def _cropped(transformed: Tensor, coarse: tuple[int, int]) -> Tensor:
    """Return the modes, of a transform, that images on a coarser grid have."""
    half, width = coarse[0] // 2, coarse[1] // 2 + 1
    if coarse[0] < transformed.shape[-2]:
        return torch.cat([transformed[..., :half, :width], transformed[..., -half:, :width]], dim=-2)
    return transformed[..., :width]


def _embedded(transformed: Tensor, fine: tuple[int, int]) -> Tensor:
    """Return the transform on a finer grid, zero in modes that the coarser one lacks."""
    rows, width = fine[0] - transformed.shape[-2], fine[1] // 2 + 1 - transformed.shape[-1]
    if not rows:
        return torch.nn.functional.pad(transformed, (0, width))
    half = transformed.shape[-2] // 2
    above, below = transformed[..., :half, :], transformed[..., half:, :]
    gap = transformed.new_zeros(*transformed.shape[:-2], rows, transformed.shape[-1])
    return torch.nn.functional.pad(torch.cat([above, gap, below], dim=-2), (0, width))


def _to_image(transformed: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.fft.irfft2(transformed, s=shape)
