"""Blur of images that are dark outside of a box: its cost follows what is lit, not the size of the field."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from lenssuper.operators.arrays import is_tensor
from lenssuper.operators.base import LinearOperator, SparseOperator
from lenssuper.operators.convolution import StridedConvolution

__all__ = ["BoxedConvolution", "product_in_box"]

# Share of the pixels to be transformed up to which a box is worth its own operators
_WORTH = 0.6


class BoxedConvolution(StridedConvolution):
    """
    A convolution of images of which only a box is given, as all else is 0.

    Parameters
    ----------
    whole : StridedConvolution
        The convolution of the images as they are.
    rows, columns : tuple of int
        First and last but one row and column of the box, in units of ``factor`` pixels. ``in_shape`` is
        theirs.
    """

    def __init__(self, whole: StridedConvolution, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        LinearOperator.__init__(
            self, [whole._factor * (stop - start) for start, stop in (rows, columns)], whole.out_shape
        )
        self._kernel, self._factor, self._local = whole._kernel, whole._factor, whole._local
        self._weights = {}
        self._phase_shape = rows[1] - rows[0], columns[1] - columns[0]
        reaches = [n // self._factor - 1 for n in whole._kernel.shape[-2:]]
        # the light of the box reaches so many pixels beyond each of its sides, where there are any
        self._lit_shape = tuple(n + m for n, m in zip(self._phase_shape, reaches, strict=True))
        self._size = tuple(scipy.fft.next_fast_len(n, real=True) for n in self._lit_shape)
        self._first = 0, 0
        self._seen, self._of_lit = [], []
        for (start, stop), reach, n in zip((rows, columns), reaches, whole.out_shape, strict=True):
            low, high = max(start - reach, 0), min(stop, n)
            self._seen.append(slice(low, high))
            self._of_lit.append(slice(low - start + reach, high - start + reach))

    def _forward(self, x):
        lit = self._convolved(x, self._lit_shape)
        return _placed(lit[..., *self._of_lit], self._seen, self._out_shape)

    def _adjoint(self, y):
        lit = _placed(y[..., *self._seen], self._of_lit, self._lit_shape)
        return self._spread(lit)


def product_in_box(blur: StridedConvolution, lensing: SparseOperator) -> LinearOperator | None:
    """
    Return ``blur @ lensing`` as a product of smaller operators, for the box that sources light up.

    None if it is not much smaller than the lensed image.
    """
    factor = blur._factor
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
