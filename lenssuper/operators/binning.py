"""From fine pixels to coarse ones: averaging blocks, or picking single pixels."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np

from lenssuper._utils.checks import check_count, check_shape
from lenssuper.operators.arrays import is_tensor
from lenssuper.operators.base import LinearOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Binning", "Sampling"]


class Binning(LinearOperator):
    """Average blocks of factor x factor pixels.

    Pixel values are surface brightness, so that a constant image stays constant. The adjoint spreads a
    pixel over its block, with weight 1 / factor^2.

    Parameters
    ----------
    in_shape : tuple of int
        Shape (ny, nx) of the fine image, multiples of ``factor``.
    factor : int
        Number of fine pixels along the side of a coarse one.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.operators import Binning
    >>> Binning((2, 4), 2) @ np.array([[1, 1, 2, 0], [1, 1, 4, 2]])
    array([[1., 2.]])
    """

    def __init__(self, in_shape: Sequence[int], factor: int) -> None:
        ny, nx = check_shape(in_shape, "in_shape")
        self._factor = factor = check_count(factor, "factor")
        if ny % factor or nx % factor:
            raise ValueError(f"in_shape must be a multiple of factor, {factor}; got {(ny, nx)}")
        super().__init__((ny, nx), (ny // factor, nx // factor))

    @property
    def factor(self) -> int:
        """Number of fine pixels along the side of a coarse one."""
        return self._factor

    def _forward(self, x):
        ny, nx = self._out_shape
        k = self._factor
        return x.reshape(*x.shape[:-2], ny, k, nx, k).mean((-3, -1))

    def _adjoint(self, y):
        k = self._factor
        share = y / k**2
        if is_tensor(y):
            return share.repeat_interleave(k, -2).repeat_interleave(k, -1)
        return share.repeat(k, -2).repeat(k, -1)


class Sampling(LinearOperator):
    """Pick every factor-th pixel along each axis.

    The adjoint puts the pixels back where they came from, and zeros between them.

    Parameters
    ----------
    in_shape : tuple of int
        Shape (ny, nx) of the fine image.
    factor : int
        Distance between the pixels picked.
    offset : int, optional
        Row and column of the first pixel picked.
    """

    def __init__(self, in_shape: Sequence[int], factor: int, offset: int = 0) -> None:
        shape = check_shape(in_shape, "in_shape")
        self._factor = check_count(factor, "factor")
        self._offset = operator.index(offset)
        if not 0 <= self._offset < min(shape):
            raise ValueError(f"offset must be a row and a column of the image {shape}; got {offset}")
        picked = slice(self._offset, None, self._factor)
        self._picked = (..., picked, picked)
        super().__init__(shape, [len(range(*picked.indices(n))) for n in shape])

    def _forward(self, x):
        x = x[self._picked]
        return x.clone() if is_tensor(x) else x.copy()

    def _adjoint(self, y):
        shape = (*y.shape[:-2], *self._in_shape)
        x = y.new_zeros(shape) if is_tensor(y) else np.zeros(shape, dtype=y.dtype)
        x[self._picked] = y
        return x
