"""Convolution evaluated at every factor-th pixel: what PSFs and binning have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from scipy import sparse

from lenssuper._utils.checks import check_shape
from lenssuper._utils.fft import fft_of
from lenssuper.operators.arrays import is_tensor
from lenssuper.operators.base import LinearOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PhaseConvolution", "StridedConvolution", "interleaved"]


class PhaseConvolution(LinearOperator):
    """
    A convolution evaluated at every factor-th pixel, by FFT.

    Images are split into factor x factor interleaved images ("phases"), which are convolved with the
    interleaved kernels and summed. Only the sum is transformed back, and it is as small as the output.

    Parameters
    ----------
    kernel : array, shape (..., factor my, factor mx)
    factor : int
    phase_shape : tuple of int
        Shape of a phase of the images that go in.
    out_shape : tuple of int
    size : tuple of int
        Least shape of the FFT. What wraps round has to fall on pixels that are not needed.
    shift : tuple of int
        Rows and columns by which the phases of the kernel are rolled.
    """

    def __init__(self, kernel, factor, phase_shape, out_shape, *, size, shift) -> None:
        super().__init__([factor * n for n in phase_shape], out_shape)
        self._kernel, self._factor = kernel, factor
        self._phase_shape, self._shift = tuple(phase_shape), tuple(shift)
        # every output depends on its own block alone: no FFT needed
        self._local = kernel.shape[-2:] == (factor, factor)
        self._size = tuple(n if self._local else scipy.fft.next_fast_len(n, real=True) for n in size)
        self._weights: dict = {}

    @property
    def factor(self) -> int:
        """Number of fine pixels along the side of an observed one."""
        return self._factor

    def _convolved(self, x, shape):
        """Return the first pixels, of a shape, of the sum of the convolved phases."""
        weighted = self._weights_for(x) * self._transform(interleaved(x, self._factor))
        return self._back(weighted.sum((-4, -3)), shape)

    def _spread(self, y):
        """Apply the transpose of `_convolved`."""
        weighted = self._weights_for(y).conj() * self._transform(y)[..., None, None, :, :]
        return _joined(self._back(weighted, self._phase_shape))

    def _transform(self, images):
        return images if self._local else fft_of(images).rfft2(images, s=self._size)

    def _back(self, transformed, shape: tuple[int, int]):
        if self._local:
            return transformed
        ny, nx = shape
        return fft_of(transformed).irfft2(transformed, s=self._size)[..., :ny, :nx]

    def _weights_for(self, x):
        """Return the phases of the kernel, transformed like the images: (..., factor, factor, ky, kx)."""
        key = (x.dtype, x.device) if is_tensor(x) else x.dtype
        if key not in self._weights:
            # the kernel's last pixel meets the image's first
            phases = interleaved(self._kernel, self._factor)[..., ::-1, ::-1, :, :]
            my, mx = phases.shape[-2:]
            padded = np.zeros((*phases.shape[:-2], *((my, mx) if self._local else self._size)))
            padded[..., :my, :mx] = phases
            weights = self._transform(np.roll(padded, self._shift, axis=(-2, -1)))
            if is_tensor(x):
                weights = x.new_tensor(weights, dtype=x.dtype if self._local else x.dtype.to_complex())
            elif x.dtype == np.float32:
                weights = weights.astype(np.float32 if self._local else np.complex64)
            self._weights[key] = weights
        return self._weights[key]

    def __getstate__(self) -> dict:
        # the weights can be computed again, and their device may not exist where this is read
        return self.__dict__ | {"_weights": {}}


class StridedConvolution(PhaseConvolution):
    """Convolution evaluated where the kernel lies inside the image, at every factor-th pixel.

    With M = factor m the side of the kernel, an axis of factor (n + m - 1) pixels becomes one of n, and y[p]
    = sum_j kernel[M - 1 - (j - factor p)] x[j]. A kernel (..., factor my, factor mx) with leading axes has
    one for every image of a batch with the same last axes.

    The FFT is as long as a phase: what wraps round falls on pixels that are not evaluated.
    """

    def __init__(self, kernel: np.ndarray, factor: int, out_shape: Sequence[int]) -> None:
        ny, nx = check_shape(out_shape, "out_shape")
        my, mx = (n // factor for n in kernel.shape[-2:])
        phase = ny + my - 1, nx + mx - 1
        # rolled so that the first output is the first pixel evaluated
        super().__init__(kernel, factor, phase, (ny, nx), size=phase, shift=(1 - my, 1 - mx))

    @property
    def kernel(self) -> np.ndarray:
        """The kernel (a copy)."""
        return self._kernel.copy()

    def as_sparse(self) -> sparse.csr_array:
        """Return the operator as a matrix (output x input pixels, flattened in C order) in float64.

        A row holds as many weights as the kernel, so that this is large where the kernel is: 4096 x 52^2 x 12
        bytes = 130 MB for a 25 x 25 PSF on 64 x 64 pixels at factor 2.
        """
        (ky, kx), (ny, nx) = self._kernel.shape, self._out_shape
        width = self._in_shape[1]
        within = (np.arange(ky)[:, None] * width + np.arange(kx)).ravel()
        first = ((np.arange(ny) * width)[:, None] + np.arange(nx)).ravel() * self._factor
        index = np.int32 if ny * nx * ky * kx <= np.iinfo(np.int32).max else np.int64
        columns = first.astype(index)[:, None] + within.astype(index)
        rows = np.arange(ny * nx + 1, dtype=index) * (ky * kx)
        weights = np.broadcast_to(self._kernel[::-1, ::-1].ravel(), columns.shape)
        matrix = sparse.csr_array((weights.ravel(), columns.ravel(), rows), shape=self.shape)
        matrix.eliminate_zeros()
        return matrix

    def _forward(self, x):
        return self._convolved(x, self._out_shape)

    def _adjoint(self, y):
        return self._spread(y)


def interleaved(x, factor: int):
    """Split images (..., factor ny, factor nx) into (..., factor, factor, ny, nx), a phase an image."""
    ny, nx = (n // factor for n in x.shape[-2:])
    blocks = x.reshape(*x.shape[:-2], ny, factor, nx, factor)
    return blocks.swapaxes(-3, -2).swapaxes(-4, -2).swapaxes(-3, -1)


def _joined(phases):
    """Join phases (..., factor, factor, ny, nx) to (..., factor ny, factor nx)."""
    *batch, factor, _, ny, nx = phases.shape
    blocks = phases.swapaxes(-3, -1).swapaxes(-4, -2).swapaxes(-3, -2)
    return blocks.reshape(*batch, factor * ny, factor * nx)
