"""A preconditioner that depends on where, and at which scales, the data measure a field."""

from __future__ import annotations

import math
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
        shape = tuple(weight.shape[-2:])
        transformed = torch.fft.rfft2(weight)
        made = []
        for number, (window, wave, coarse) in enumerate(self._windows(shape, weight.device)):
            power = (window**2 * amplitude**2).sum((-2, -1), keepdim=True) / (window**2).sum()
            smooth = torch.exp(-0.5 * (wave / 2.0**number) ** 2)
            local = _to_coarse(transformed * smooth, shape, coarse).clamp(min=0)
            inverse = 1 / (1 + self.log_transmission[number].exp() * power * local)
            made.append(_Octave(window, coarse, inverse))
        return made

    def apply(self, octaves: list[_Octave], images: Tensor) -> Tensor:
        """Apply the preconditioner to images (n, ny, nx)."""
        shape = tuple(images.shape[-2:])
        transformed = torch.fft.rfft2(images)
        total = torch.zeros_like(transformed)
        for octave in octaves:
            local = octave.inverse * _to_coarse(transformed * octave.window, shape, octave.coarse)
            total = total + octave.window * _from_coarse(local, shape)
        return torch.fft.irfft2(total, s=shape)

    def _windows(self, shape, device):
        """Yield the window of each octave, the wavenumber in cycles along the longer side, and a grid."""
        ny, nx = shape
        longer = max(shape)
        ky = torch.fft.fftfreq(ny, device=device)[:, None] * longer
        kx = torch.fft.rfftfreq(nx, device=device)[None] * longer
        wave = torch.hypot(ky, kx)
        octave = torch.log2(wave.clamp(min=1e-3))
        last = len(self.log_transmission) - 1
        for number in range(last + 1):
            distance = (octave - number).abs()
            if number == 0:
                distance = torch.where(octave < 0, 0.0, distance)
            if number == last:
                distance = torch.where(octave > last, 0.0, distance)
            window = torch.cos(0.5 * math.pi * distance.clamp(max=1))
            need = 2.0 ** (number + 1) / longer if number < last else 1.0
            yield window, wave, tuple(_coarse_length(n, need) for n in shape)


class _Octave(NamedTuple):
    """The window of an octave, the shape of its grid, and the inverse on it."""

    window: Tensor
    coarse: tuple[int, int]
    inverse: Tensor


def _coarse_length(n: int, need: float) -> int:
    """Return the length of an axis that holds frequencies up to ``need`` (cycles per pixel of n)."""
    cycles = math.ceil(need * n)
    return min(n, 2 * cycles + 2)


def _to_coarse(transformed: Tensor, shape, coarse) -> Tensor:
    """Return the image, on a coarser grid, of a transform that vanishes beyond that grid's frequencies."""
    if coarse == shape:
        return torch.fft.irfft2(transformed, s=shape)
    half, width = coarse[0] // 2, coarse[1] // 2 + 1
    if coarse[0] < shape[0]:
        transformed = torch.cat([transformed[..., :half, :width], transformed[..., -half:, :width]], dim=-2)
    else:
        transformed = transformed[..., :width]
    share = coarse[0] * coarse[1] / (shape[0] * shape[1])
    return torch.fft.irfft2(transformed * share, s=coarse)


def _from_coarse(images: Tensor, shape) -> Tensor:
    """Return the transform, on the finer grid, of images on a coarser one."""
    coarse = tuple(images.shape[-2:])
    transformed = torch.fft.rfft2(images)
    if coarse == shape:
        return transformed
    transformed = transformed * (shape[0] * shape[1] / (coarse[0] * coarse[1]))
    half = coarse[0] // 2
    gap = transformed.new_zeros(*transformed.shape[:-2], shape[0] - coarse[0], transformed.shape[-1])
    if coarse[0] < shape[0]:
        transformed = torch.cat([transformed[..., :half, :], gap, transformed[..., -half:, :]], dim=-2)
    more = shape[1] // 2 + 1 - transformed.shape[-1]
    return torch.nn.functional.pad(transformed, (0, more))
