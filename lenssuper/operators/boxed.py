"""Blur of images that are dark outside of a box: its cost follows what is lit, not the size of the field."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lenssuper.operators.arrays import is_tensor
from lenssuper.operators.base import LinearOperator, SparseOperator
from lenssuper.operators.convolution import PhaseConvolution, StridedConvolution

__all__ = ["BoxedConvolution", "product_in_box"]

# Share of the pixels to be transformed up to which a box is worth its own operators
_WORTH = 0.6


class BoxedConvolution(PhaseConvolution):
    """
    A convolution of images of which only a box is given, as all else is 0.

    Of the kernel only what connects the box with pixels of the output is used, and the FFT is no longer than
    it takes for these to be right: what wraps round falls on others.

    Parameters
    ----------
    whole : StridedConvolution
        The convolution of the images as they are.
    rows, columns : tuple of int
        First and last but one row and column of the box, in units of ``factor`` pixels. ``in_shape`` is
        theirs.
    """

    def __init__(self, whole: StridedConvolution, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        factor = whole.factor
        kernel = whole.kernel
        sides = [
            _Side.of(*span, m // factor, n)
            for span, m, n in zip((rows, columns), kernel.shape, whole.out_shape, strict=True)
        ]
        used = tuple(slice(factor * s.kernel.start, factor * s.kernel.stop) for s in sides)
        phase = [stop - start for start, stop in (rows, columns)]
        super().__init__(
            kernel[used], factor, phase, whole.out_shape, size=[s.size for s in sides], shift=(0, 0)
        )
        self._seen, self._window = (tuple(w) for w in zip(*((s.seen, s.window) for s in sides), strict=True))

    def _forward(self, x):
        return _placed(self._convolved(x, self._size)[..., *self._window], self._seen, self._out_shape)

    def _adjoint(self, y):
        return self._spread(_placed(y[..., *self._seen], self._window, self._size))


class _Side(NamedTuple):
    """Of one axis: what is used of the kernel, the outputs it reaches, their place in the FFT, its length."""

    kernel: slice
    seen: slice
    window: slice
    size: int

    @classmethod
    def of(cls, start: int, stop: int, m: int, n: int) -> _Side:
        """Return that of a box, for a kernel of m pixels and an output of n."""
        b = stop - start
        # pixel j of the box and k of the kernel make pixel j + k of all that is lit, which begins m - 1
        # pixels before the box
        low, high = max(start - m + 1, 0), min(stop, n)
        first, last = low - start + m - 1, high - start + m - 1
        k, end = max(first - b + 1, 0), min(last, m)
        first, last = first - k, last - k
        size = max(last, b + (end - k) - 1 - first, b, end - k)
        return cls(slice(k, end), slice(low, high), slice(first, last), size)


def product_in_box(blur: StridedConvolution, lensing: SparseOperator) -> LinearOperator | None:
    """
    Return ``blur @ lensing`` as a product of smaller operators, for the box that sources light up.

    None if it is not much smaller than the lensed image.
    """
    factor = blur.factor
    lit = np.diff(lensing.matrix.indptr).reshape(lensing.out_shape) > 0
    lit = lit.reshape(lit.shape[0] // factor, factor, -1, factor).any(axis=(1, 3))
    rows, columns = (np.flatnonzero(lit.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    boxed = BoxedConvolution(blur, (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1))
    if math.prod(boxed._size) > _WORTH * math.prod(blur._size):
        return None
    fine = np.arange(math.prod(lensing.out_shape)).reshape(lensing.out_shape)
    inside = fine[
        factor * rows[0] : factor * (rows[-1] + 1), factor * columns[0] : factor * (columns[-1] + 1)
    ]
    return boxed @ SparseOperator(lensing.matrix[inside.ravel()], lensing.in_shape, boxed.in_shape)


def _placed(part, where, shape):
    """Return images (..., ny, nx) of a shape that are 0 but for a part."""
    shape = (*part.shape[:-2], *shape)
    made = part.new_zeros(shape) if is_tensor(part) else np.zeros(shape, part.dtype)
    made[..., *where] = part
    return made
