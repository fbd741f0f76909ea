"""A preconditioner that depends on where, and at which scales, the data measure a field."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lenssuper._utils.fft import fft_of
from lenssuper.networks.arrays import Array, like, namespace, zeros_of

__all__ = ["OCTAVES", "Octave", "precondition", "prepare_octaves"]

OCTAVES = 6
"""Number of octaves of the networks' preconditioner."""


class Octave(NamedTuple):
    """The window of an octave, the shape of its grid, and the inverse on it."""

    window: Array
    coarse: tuple[int, int]
    inverse: Array


def prepare_octaves(log_transmission: Array, weight: Array, amplitude: Array) -> list[Octave]:
    """
    Return the octaves of an approximate inverse of ``1 + G w B G``, for `precondition`.

    G is a correlated field, w a weight and B a blur. The field is split into octaves of wavenumber. In each,
    blur and field are about constant and the weight is smoothed to the scale of the octave, so that the
    inverse is a division, pixel by pixel: ``M = sum_b P_b' [1 / (1 + c_b g_b w_b)] P_b`` with the octaves'
    windows P_b, whose squares sum to one, the field's mean power g_b in the octave, and the transmission c_b
    of the blur. That is the symbol of a pseudo-differential operator, inverted (Taylor 1981,
    Pseudodifferential Operators, ch. 2), and positive definite for all values, so that conjugate gradients
    converge to the same answer. Octaves of long waves are computed on coarse grids, at little cost.

    The first octave is the mean and the longest wave; each has waves half as long as the one before, and the
    last has all that are shorter.

    Parameters
    ----------
    log_transmission : Array, shape (octaves,)
    weight : Array, shape (n, ny, nx)
        Not negative.
    amplitude : Array, shape (ny, nx // 2 + 1) or (n, ny, nx // 2 + 1)
        Of the field, see `~lenssuper.networks.field.field_amplitude`.
    """
    xp, shape = namespace(weight), (weight.shape[-2], weight.shape[-1])
    transformed = fft_of(weight).rfft2(weight)
    transmission = xp.exp(log_transmission)
    made = []
    for number, band in enumerate(_bands(shape, len(log_transmission))):
        squared, window, smooth = (like(weight, values) for values in band[:3])
        power = xp.sum(squared * amplitude**2, axis=(-2, -1), keepdims=True) / float(band.squared.sum())
        share = math.prod(band.coarse) / math.prod(shape)
        local = _to_image(_cropped(transformed, band.coarse) * (share * smooth), band.coarse)
        inverse = 1 / (1 + transmission[number] * power * xp.clip(local, min=0))
        made.append(Octave(window, band.coarse, inverse))
    return made


def precondition(octaves: list[Octave], images: Array) -> Array:
    """Apply the approximate inverse to images (n, ny, nx)."""
    fft, shape = fft_of(images), (images.shape[-2], images.shape[-1])
    transformed = fft.rfft2(images)
    total = None
    for octave in octaves:  # each adds to the one before on its own grid, which is larger
        local = _to_image(_cropped(transformed, octave.coarse) * octave.window, octave.coarse)
        own = fft.rfft2(octave.inverse * local) * octave.window
        total = own if total is None else own + _embedded(total, octave.coarse)
    return fft.irfft2(total, s=shape)


class _Band(NamedTuple):
    """An octave of wavenumbers: the square of its window, and on the modes of its own grid more."""

    squared: np.ndarray  # of all modes
    window: np.ndarray
    smooth: np.ndarray  # the transform of what smooths a weight to the scale of the octave
    coarse: tuple[int, int]


@lru_cache(maxsize=8)
def _bands(shape: tuple[int, int], octaves: int) -> list[_Band]:
    """Return the octaves of the modes of ``rfft2`` of images (ny, nx)."""
    ny, nx = shape
    longer = max(shape)
    # in cycles along the longer side
    wave = np.hypot(np.fft.fftfreq(ny)[:, None] * longer, np.fft.rfftfreq(nx) * longer)
    octave = np.log2(np.maximum(wave, 1e-3))
    last, made = octaves - 1, []
    for number in range(octaves):
        distance = np.abs(octave - number)
        if number == 0:
            distance = np.where(octave < 0, 0.0, distance)
        if number == last:
            distance = np.where(octave > last, 0.0, distance)
        window = np.cos(0.5 * math.pi * np.minimum(distance, 1))
        smooth = np.exp(-0.5 * (wave / 2.0**number) ** 2)
        need = 2.0 ** (number + 1) / longer if number < last else 1.0
        coarse = (_coarse_length(ny, need), _coarse_length(nx, need))
        made.append(_Band(window**2, _cropped(window, coarse), _cropped(smooth, coarse), coarse))
    return made


def _coarse_length(n: int, need: float) -> int:
    """Return the length of an axis that holds frequencies up to ``need`` (cycles per pixel of n)."""
    cycles = math.ceil(need * n)
    return min(n, 2 * cycles + 2)


def _cropped(transformed: Array, coarse: tuple[int, int]) -> Array:
    """Return the modes, of a transform, that images on a coarser grid have."""
    half, width = coarse[0] // 2, coarse[1] // 2 + 1
    if coarse[0] < transformed.shape[-2]:
        parts = [transformed[..., :half, :width], transformed[..., -half:, :width]]
        return namespace(transformed).concat(parts, axis=-2)
    return transformed[..., :width]


def _embedded(transformed: Array, fine: tuple[int, int]) -> Array:
    """Return the transform on a finer grid, zero in modes that the coarser one lacks."""
    *n, rows, width = transformed.shape
    half = rows // 2
    made = zeros_of(transformed, (*n, fine[0], fine[1] // 2 + 1))
    if rows == fine[0]:
        made[..., :width] = transformed
    else:
        made[..., :half, :width] = transformed[..., :half, :]
        made[..., half - rows :, :width] = transformed[..., half:, :]
    return made


def _to_image(transformed: Array, shape: tuple[int, int]) -> Array:
    return fft_of(transformed).irfft2(transformed, s=shape)
