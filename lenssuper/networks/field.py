"""A correlated random field on images of any size."""

from __future__ import annotations

import math

import numpy as np

from lenssuper._utils.fft import fft_of
from lenssuper.networks.arrays import Array, like, total

__all__ = ["correlated", "field_amplitude"]


def field_amplitude(shape: tuple[int, int], slope: Array, length: Array) -> Array:
    """
    Return the factor on each mode of ``rfft2`` that makes a correlated field of white noise.

    The field is periodic, Gaussian and of unit variance. Its power is proportional to (1 + (k l)^2)^(-p / 2)
    with the angular wavenumber k (a Matern field: Rasmussen & Williams 2006, eq. 4.15).

    Parameters
    ----------
    shape : tuple of int
        (ny, nx) of the images.
    slope : Array, shape () or (n, 1, 1)
        The slope p, above 2; one for each of n images gives factors (n, ny, nx // 2 + 1).
    length : Array, shape ()
        The correlation length l, as a share of the image's longer side.
    """
    ny, nx = shape
    ky, kx = np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)
    squared = (2 * math.pi * max(shape)) ** 2 * (ky**2 + kx**2)
    power = (1 + like(length, squared) * length**2) ** (-slope / 2)
    return ((power / (total(power) / (ny * nx))) ** 0.5)[..., : nx // 2 + 1]


def correlated(white: Array, amplitude: Array) -> Array:
    """Return the fields of white noise (..., ny, nx): the symmetric square root of their covariance."""
    fft = fft_of(white)
    return fft.irfft2(fft.rfft2(white) * amplitude, s=(white.shape[-2], white.shape[-1]))
