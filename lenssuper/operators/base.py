"""What linear operators have in common: checks, batches, torch, composition and adjoints.

A subclass sets its two shapes and implements ``_forward`` and ``_adjoint``, which receive arrays or
tensors that have been checked already. Everything else is here, once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lenssuper._utils.checks import check_shape
from lenssuper.operators.arrays import float_images, is_nddata, is_tensor
from lenssuper.operators.matrix import StoredMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse.linalg

    from lenssuper.lens import LensModel
    from lenssuper.observation.grid import PixelGrid

__all__ = ["LensingOperator", "LinearOperator", "SparseOperator"]


class LinearOperator(ABC):
    """A linear map from images of one shape to images of another.

    Operators act on the last two axes, (ny, nx); any axes before them are a batch. numpy arrays give numpy
    arrays and torch tensors give tensors on the same device, through which gradients flow. float32 stays
    float32, integers become float64.

    ``op @ x`` is ``op.forward(x)`` for an array, and the composed operator for another operator; ``op.H`` is
    the adjoint operator.

    Parameters
    ----------
    in_shape, out_shape : tuple of int
        Shape (ny, nx) of the images that go in and come out.

    Notes
    -----
    Subclasses implement ``_forward`` and ``_adjoint``; they are handed float32 or float64 arrays or tensors
    of the right trailing shape with any number of leading axes, and return the same kind and precision.
    Tensors come without gradient history: torch learns from here that the derivative of a linear operator
    is the operator, and its gradient the adjoint.
    """

    # numpy must leave ``array @ op`` alone instead of looping over the elements
    __array_ufunc__ = None

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int]) -> None:
        self._in_shape = check_shape(in_shape, "in_shape")
        self._out_shape = check_shape(out_shape, "out_shape")

    @property
    def in_shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the images the operator takes."""
        return self._in_shape

    @property
    def out_shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of the images the operator gives."""
        return self._out_shape

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the equivalent matrix: (output pixels, input pixels)."""
        return math.prod(self._out_shape), math.prod(self._in_shape)

    @abstractmethod
    def _forward(self, x): ...

    @abstractmethod
    def _adjoint(self, y): ...

    def forward(self, x):
        """Apply the operator.

        Parameters
        ----------
        x : array or tensor, shape (..., ny, nx) of ``in_shape``

        Returns
        -------
        array or tensor, shape (..., ny, nx) of ``out_shape``

        Raises
        ------
        TypeError
            If ``x`` is complex, not numeric, or carries a unit or a mask.
        ValueError
            If the trailing shape of ``x`` is not ``in_shape``.
        """
        x = float_images(x, self._in_shape, "x", "operator's in_shape")
        if is_tensor(x):
            from lenssuper.operators.autograd import apply

            return apply(self, x)
        return self._forward(x)

    def adjoint(self, y):
        """Apply the adjoint (the transpose, as everything here is real): sum(y * (A x)) = sum((A' y) * x).

        Parameters
        ----------
        y : array or tensor, shape (..., ny, nx) of ``out_shape``

        Returns
        -------
        array or tensor, shape (..., ny, nx) of ``in_shape``

        Raises
        ------
        TypeError, ValueError
            As of `forward`.
        """
        y = float_images(y, self._out_shape, "y", "operator's out_shape")
        if is_tensor(y):
            from lenssuper.operators.autograd import apply

            return apply(self.H, y)
        return self._adjoint(y)

    @property
    def H(self) -> LinearOperator:
        """The adjoint operator; its own adjoint is this operator again."""
        return _AdjointOperator(self)

    def __matmul__(self, other):
        if isinstance(other, LinearOperator):
            return _ComposedOperator(self, other)
        return self.forward(other)

    def aslinearoperator(self) -> scipy.sparse.linalg.LinearOperator:
        """Return the same operator for scipy's solvers, acting on flattened images.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of shape ``op.shape`` and float64.
        """
        from scipy.sparse.linalg import LinearOperator as ScipyLinearOperator

        def flat(apply, shape):
            def matmat(x):
                images = np.asarray(x).T.reshape(-1, *shape)
                return apply(images).reshape(len(images), -1).T

            return lambda x: matmat(x)[:, 0], matmat

        matvec, matmat = flat(self.forward, self._in_shape)
        rmatvec, rmatmat = flat(self.adjoint, self._out_shape)
        return ScipyLinearOperator(
            self.shape, matvec=matvec, rmatvec=rmatvec, matmat=matmat, rmatmat=rmatmat, dtype=np.float64
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._in_shape} -> {self._out_shape}>"


class _AdjointOperator(LinearOperator):
    """The adjoint of another operator."""

    def __init__(self, op: LinearOperator) -> None:
        super().__init__(op.out_shape, op.in_shape)
        self._op = op

    def _forward(self, x):
        return self._op._adjoint(x)

    def _adjoint(self, y):
        return self._op._forward(y)

    @property
    def H(self) -> LinearOperator:
        return self._op

    def __repr__(self) -> str:
        return f"{self._op!r}.H"


class _ComposedOperator(LinearOperator):
    """``first @ second``: the second is applied first, as with matrices."""

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        if first.in_shape != second.out_shape:
            raise ValueError(
                f"operators can be composed if their shapes agree: {first!r} takes {first.in_shape}, "
                f"{second!r} gives {second.out_shape}"
            )
        super().__init__(second.in_shape, first.out_shape)
        self._first = first
        self._second = second

    def _forward(self, x):
        return self._first._forward(self._second._forward(x))

    def _adjoint(self, y):
        return self._second._adjoint(self._first._adjoint(y))

    def __repr__(self) -> str:
        return f"{self._first!r} @ {self._second!r}"


class SparseOperator(LinearOperator):
    """A linear operator that holds its matrix.

    Parameters
    ----------
    matrix : scipy sparse array or matrix, shape (output pixels, input pixels)
        Converted to CSR, float64, with int32 indices where they suffice. Not copied if it is that already.
    in_shape, out_shape : tuple of int
        Shape (ny, nx) of the images that go in and come out.

    Raises
    ------
    TypeError
        If ``matrix`` is not sparse.
    ValueError
        If the shape of ``matrix`` is not that of the images.
    """

    def __init__(self, matrix, in_shape: Sequence[int], out_shape: Sequence[int]) -> None:
        super().__init__(in_shape, out_shape)
        if not sparse.issparse(matrix):
            raise TypeError(f"matrix must be a scipy sparse array; got {type(matrix).__name__}")
        if matrix.shape != self.shape:
            raise ValueError(
                f"matrix must have shape {self.shape}, output x input pixels; got {matrix.shape}"
            )
        self._stored = StoredMatrix(matrix)

    @property
    def matrix(self) -> sparse.csr_array:
        """The matrix, (output pixels x input pixels), both flattened in C order."""
        return self._stored.csr

    @cached_property
    def _transpose(self) -> StoredMatrix:
        return self._stored.transpose()

    def _forward(self, x):
        return self._stored.multiply(x, self._out_shape)

    def _adjoint(self, y):
        return self._transpose.multiply(y, self._in_shape)


class LensingOperator(SparseOperator):
    """Lensing of a source plane to an image plane, as a sparse matrix.

    The matrix entry (p, q) is the weight of source pixel q in the surface brightness of image pixel p.
    Lensing conserves surface brightness, so a row sums to one where its image pixel sees the source grid, to
    less at the grid's border, and to zero outside.

    Parameters
    ----------
    lens_model : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane and in the source plane.
    matrix : scipy sparse array, shape (image pixels, source pixels)
        The weights.
    """

    def __init__(self, lens_model: LensModel, image_grid: PixelGrid, source_grid: PixelGrid, matrix) -> None:
        super().__init__(matrix, in_shape=source_grid.shape, out_shape=image_grid.shape)
        self._lens_model = lens_model
        self._image_grid = image_grid
        self._source_grid = source_grid

    @property
    def lens_model(self) -> LensModel:
        """The lens model that bends the light."""
        return self._lens_model

    @property
    def image_grid(self) -> PixelGrid:
        """Pixels in the image plane."""
        return self._image_grid

    @property
    def source_grid(self) -> PixelGrid:
        """Pixels in the source plane."""
        return self._source_grid

    @property
    def coverage(self) -> np.ndarray:
        """Sum of the weights with which the image pixels fall in each source pixel, shape (ny, nx)."""
        return self._column_weights.copy()

    @cached_property
    def _column_weights(self) -> np.ndarray:
        return np.asarray(self.matrix.sum(axis=0)).reshape(self._in_shape)

    def lens(self, source):
        """Lens a source to the image plane.

        Parameters
        ----------
        source : array, tensor or NDData, shape (..., ny, nx) of the source grid
            Surface brightness; an NDData holds one image. Outside its grid the source is dark.

        Returns
        -------
        array, tensor or NDData, shape (..., ny, nx) of the image grid
            Surface brightness in the same unit. An NDData has the WCS of the image grid and the propagated
            standard deviation, if there was an uncertainty; image pixels that see a masked source pixel are
            masked.
        """
        if is_nddata(source):
            from lenssuper.operators.nddata import lens

            return lens(self, source)
        source = float_images(source, self._in_shape, "source", "shape of source_grid")
        return self.forward(source)

    def delens(self, image):
        """Map an image to the source plane: the mean of all that falls in each source pixel.

        Parameters
        ----------
        image : array, tensor or NDData, shape (..., ny, nx) of the image grid
            Surface brightness; an NDData holds one image.

        Returns
        -------
        array, tensor or NDData, shape (..., ny, nx) of the source grid
            Surface brightness in the same unit, 0 where nothing falls. From an NDData, masked pixels are left
            out of the mean, source pixels where nothing falls are masked, the WCS is that of the source grid,
            and the uncertainty, if there was one, is the propagated standard deviation (neighbouring source
            pixels are correlated).

        Notes
        -----
        ``lens`` followed by ``delens`` does not give the source back, nor the other way round: the two are
        averages over each other's pixels. The mean is not the adjoint, which is a sum.
        """
        if is_nddata(image):
            from lenssuper.operators.nddata import delens

            return delens(self, image)
        image = float_images(image, self._out_shape, "image", "shape of image_grid")
        weights = self._column_weights
        scale = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
        if is_tensor(image):
            return self.adjoint(image) * image.new_tensor(scale)
        return self.adjoint(image) * scale.astype(image.dtype, copy=False)
