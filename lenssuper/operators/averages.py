"""From the coefficients of B-splines to the pixels of an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lenssuper._utils.checks import check_count, check_shape
from lenssuper.operators.arrays import is_tensor
from lenssuper.operators.base import LinearOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SplineAverages", "check_order"]


class SplineAverages(LinearOperator):
    r"""Average a sum of B-splines over the pixels of its grid, or over smaller ones.

    Parameters
    ----------
    in_shape : tuple of int
        Shape (ny, nx) of the coefficients. The middles of the splines are the centres of as many pixels.
    order : {0, 1, 2}
        Degree of the splines along each axis.
    factor : int, optional
        Number of pixels to average over along the side of one of these.

    Notes
    -----
    With coefficients :math:`c` it is the mean of :math:`\sum_{ij} c_{ij} B_n(x - j)\, B_n(y - i)` over each
    pixel, :math:`B_n` being the B-spline of order n around zero (de Boor 1978, A Practical Guide to Splines,
    ch. X). It is exact. With ``factor`` 1, order 1 gives weights of 1/8, 3/4, 1/8 along each axis, order 2
    weights of 1/6, 2/3, 1/6.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.operators import SplineAverages
    >>> one = np.zeros((1, 5))
    >>> one[0, 2] = 8
    >>> (SplineAverages((1, 5), order=1) @ one).sum(axis=0) / 0.75
    array([0., 1., 6., 1., 0.])
    """

    def __init__(self, in_shape: Sequence[int], order: int, factor: int = 1) -> None:
        shape = check_shape(in_shape, "in_shape")
        self._order, self._factor = check_order(order), check_count(factor, "factor")
        super().__init__(shape, [n * self._factor for n in shape])
        self._rows, self._columns = (_averages(n, self._order, self._factor) for n in shape)

    @property
    def order(self) -> int:
        """Degree of the splines along each axis."""
        return self._order

    @property
    def factor(self) -> int:
        """Number of pixels along the side of one of the grid of the splines."""
        return self._factor

    def _forward(self, x):
        return _like(self._rows, x) @ x @ _like(self._columns.T, x)

    def _adjoint(self, y):
        return _like(self._rows.T, y) @ y @ _like(self._columns, y)


def check_order(order) -> int:
    """Return the order of B-splines, or raise an error unless it is 0, 1 or 2."""
    order = check_count(order, "order", 0)
    if order > 2:
        raise ValueError(f"order must be 0, 1 or 2; got {order}")
    return order


def _averages(n, order, factor):
    """Return the matrix (factor n, n) of the averages of n splines over pixels along one axis."""
    ends = np.arange(factor * n + 1)[:, None] / factor + 0.5 * order - np.arange(n)
    # the integral of a spline from 0 up to each end, by truncated powers (de Boor 1978, ch. IX)
    powers = [np.maximum(np.clip(ends, 0, order + 1) - k, 0) ** (order + 1) for k in range(order + 2)]
    signed = [(-1) ** k * math.comb(order + 1, k) * power for k, power in enumerate(powers)]
    return factor * np.diff(sum(signed) / math.factorial(order + 1), axis=0)


def _like(matrix, x):
    """Return a matrix as an array or tensor of the precision of x."""
    return x.new_tensor(matrix) if is_tensor(x) else matrix.astype(x.dtype, copy=False)
