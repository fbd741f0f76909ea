"""The exact overlap of lensed image pixels with source pixels."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lenssuper._utils.checks import check_count, check_kind, check_number
from lenssuper.lens import LensModel
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators.averages import SplineAverages, check_order
from lenssuper.operators.base import LensingOperator
from lenssuper.operators.overlap import assemble as _assemble
from lenssuper.operators.overlap import coverage as _coverage
from lenssuper.operators.overlap import file as _overlapfile

if TYPE_CHECKING:
    import os

__all__ = ["OverlapOperator"]

# Positions further from the source grid than this, in its pixels, are as good as infinite.
_FAR = 1e12


class OverlapOperator(LensingOperator):
    r"""Lensing by the exact area of overlap between lensed image pixels and source pixels.

    The matrix entry (p, q) is the share of the area of image pixel p, in the image plane, that the lens sends
    into source pixel q. Rows sum to one where the source grid covers all of the lensed pixel, so that surface
    brightness is conserved, critical curves and the centre of the lens included.

    Parameters
    ----------
    lens : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane and in the source plane; they may be rotated, flipped and of any scale.
    tol : float, optional
        Largest error of any entry of the matrix, between 0 and 1. Image pixels are cut as finely as that
        takes.
    subdivide : int, optional
        Cut every image pixel into ``subdivide`` x ``subdivide`` squares with straight lensed edges instead,
        whatever the error (about 0.05 / subdivide^2; more on critical curves). Pixels with the centre of the
        lens in them are still cut as finely as they need.
    order : {0, 1, 2}, optional
        What the source consists of: with 0, pixels of constant brightness; with 1, bilinear hats; with 2,
        quadratic B-splines. With 1 and 2 the values of the source are their *coefficients*, see the notes.

    Raises
    ------
    TypeError
        If an argument is of another kind.
    ValueError
        If ``tol``, ``subdivide`` or ``order`` is out of range, or the deflection is not a number somewhere in
        the image.

    Notes
    -----
    Each image pixel is cut into triangles, of which the corners and the middles of the edges are lensed. The
    straight triangle through the corners gives the area of its overlap with every source pixel, edge by edge
    and cell by cell as fonts are rasterised. The light that curved edges move over each border between source
    pixels is added to first order: the integral of the displacement along the border, divided by the
    Jacobian. Triangles are halved where the neglected terms exceed ``tol`` and a border between source pixels
    is near. Pixels that contain a centre of the lens are opened there, as the deflection has a different
    limit from every side.

    With ``order`` n = 1 or 2 the source is the sum of :math:`c_q B_n(x - x_q)\, B_n(y - y_q)` over the pixels
    q of the source grid, with centred B-splines :math:`B_n` that are n + 1 pixels wide (de Boor 1978, A
    Practical Guide to Splines, ch. X), and the entry (p, q) is the average of spline q over image pixel p. It
    is as exact: the integrals follow the edges of the triangles from knot to knot (Green's theorem), and bent
    edges count to first order.

    A coefficient is the mean brightness that its spline adds to one pixel's area, so light and surface
    brightness are conserved. For n = 1 it is also the brightness at the centre of its pixel; for n = 2 that
    is the mean of neighbouring coefficients with weights 1/8, 3/4, 1/8 along each axis. `source_averages`
    gives the averages over pixels. Rows sum to one for image pixels that are lensed to n / 2 source pixels or
    more inside the border of the grid; from there the source fades to zero, which it reaches n / 2 pixels
    outside. As such a source is continuous, the lensed image has continuous derivatives by the lens.

    Blocks of image rows are computed in as many threads as ``OMP_NUM_THREADS`` and the cores allow, but with
    ``subdivide`` 1 in one, which is faster; the result does not depend on their number.
    """

    def __init__(
        self,
        lens: LensModel,
        image_grid: PixelGrid,
        source_grid: PixelGrid,
        *,
        tol: float = 1e-3,
        subdivide: int | None = None,
        order: int = 0,
    ) -> None:
        check_lensing(lens, image_grid, source_grid)
        self._tol = check_number(tol, "tol", above=0, below=1)
        self._subdivide = None if subdivide is None else check_count(subdivide, "subdivide")
        self._order = check_order(order)
        task = _task(lens, image_grid, source_grid, self._tol, self._subdivide, self._order)
        super().__init__(lens, image_grid, source_grid, _assemble.overlap_matrix(task))

    @property
    def tol(self) -> float:
        """Largest error of an entry of the matrix that was asked for (unless `subdivide` is set)."""
        return self._tol

    @property
    def subdivide(self) -> int | None:
        """Squares along a side into which every image pixel was cut, or None where `tol` decided."""
        return self._subdivide

    @property
    def order(self) -> int:
        """Order of the B-splines that the source consists of."""
        return self._order

    def source_averages(self, source, factor: int = 1):
        """Average a source over the pixels of its grid, or over smaller ones.

        Parameters
        ----------
        source : array or tensor, shape (..., ny, nx) of the source grid
            What `lens` takes: with `order` 1 and 2, coefficients.
        factor : int, optional
            Number of pixels to average over along the side of one of the source grid.

        Returns
        -------
        array or tensor, shape (..., factor ny, factor nx)
            Surface brightness on ``source_grid.refine(factor)``.
        """
        return SplineAverages(self._in_shape, self._order, factor).forward(source)

    @property
    def coverage(self) -> np.ndarray:
        """How many times the image plane covers each source pixel, shape (ny, nx).

        The lensed area of the image pixels over each source pixel, as a multiple of its area: the number of
        images of it (2 inside the cut of an isothermal lens, 1 outside) as far as the image grid reaches.
        """
        return self._area_coverage.copy()

    @property
    def magnification(self) -> np.ndarray:
        """How much larger each source pixel appears, summed over its images, shape (ny, nx).

        The area in the image plane of all that falls in a source pixel, as a multiple of its area: the total
        magnification averaged over the pixel, as far as the image grid reaches. With `order` 1 and 2 the
        average is weighted with the spline.
        """
        return self._column_weights * (self._image_grid.area_arcsec2 / self._source_grid.area_arcsec2)

    @cached_property
    def _area_coverage(self):
        return _coverage.area_map(
            _task(self._lens_model, self._image_grid, self._source_grid, self._tol, self._subdivide)
        )

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the operator to a file, with the lens, the grids and the coverage.

        Parameters
        ----------
        path : str or path-like
            Written in one piece or not at all (numpy's npz format, no pickles).
        overwrite : bool, optional
            Whether a file that is there may be replaced.

        Raises
        ------
        FileExistsError
            If the file is there and ``overwrite`` is not set.
        """
        _overlapfile.write(
            path,
            overwrite=overwrite,
            lens=self._lens_model,
            grids=(self._image_grid, self._source_grid),
            accuracy=(self._tol, self._subdivide, self._order),
            matrix=self.matrix,
            coverage=self._area_coverage,
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> OverlapOperator:
        """Read an operator that `save` has written.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        OverlapOperator
            The same operator, without computing it again.

        Raises
        ------
        FileFormatError
            If the file is not one of these, or damaged.
        """
        lens, (image_grid, source_grid), accuracy, matrix, coverage = _overlapfile.read(path)
        operator = cls.__new__(cls)
        operator._tol, operator._subdivide, operator._order = accuracy
        operator._area_coverage = coverage
        LensingOperator.__init__(operator, lens, image_grid, source_grid, matrix)
        return operator


def _task(lens, image_grid, source_grid, tol, subdivide, order=0):
    """Return the task in pixels: the map from image to source pixels, and the two shapes."""

    (a, b), (c, d) = image_grid.matrix.tolist()
    x0, y0 = image_grid.origin.tolist()
    upright = b == c == 0.0

    def trace(column, row):
        # on upright pixels x is the same in all rows, and is left as one row
        x, y = (a * column + x0, d * row + y0) if upright else image_grid.to_offset(column, row)
        u, v = (np.asarray(w, order="C") for w in source_grid.to_pixel(*lens.rays_arcsec(x, y)))
        # cells count from the corner of the first source pixel, not from its centre; knots from the first one
        u += 0.5 * (order + 1)
        v += 0.5 * (order + 1)
        if u.size and (np.isnan(u.max()) or np.isnan(v.max())):
            _refuse_nan(np.isnan(u) | np.isnan(v), x, y)
        for w in (u, v):  # np.clip takes longer for a hundred points than all the rest
            np.maximum(np.minimum(w, _FAR, out=w), -_FAR, out=w)
        return u, v

    handedness = np.sign(np.linalg.det(image_grid.matrix) * np.linalg.det(source_grid.matrix))

    def determinant_and_trace(column, row):
        xx, yy, xy = lens.hessian(*image_grid.to_offset(column, row))
        return (1.0 - xx) * (1.0 - yy) - xy**2, 2.0 - xx - yy

    def parity(column, row):
        determinant, _ = determinant_and_trace(column, row)
        return np.where(determinant < 0.0, -handedness, handedness)

    def maximum(column, row):
        determinant, trace_of_jacobian = determinant_and_trace(column, row)
        return (determinant > 0.0) & (trace_of_jacobian < 0.0)

    centers = [tuple(map(float, image_grid.to_pixel(x, y))) for x, y in lens.centers_arcsec()]
    shapes = image_grid.shape, source_grid.shape
    return _assemble.OverlapTask(
        trace, *shapes, centers, None if subdivide else tol, subdivide, parity, order, maximum
    )


def _refuse_nan(wrong, x, y):
    first = np.unravel_index(np.argmax(wrong), wrong.shape)
    x, y = (float(np.broadcast_to(w, wrong.shape)[first]) for w in (x, y))
    raise ValueError(f"lens must have a deflection everywhere; it is NaN at ({x:.6g}, {y:.6g}) arcsec")


def check_lensing(lens, image_grid, source_grid):
    """Raise a TypeError unless these are a lens and two grids."""
    check_kind(lens, "lens", LensModel)
    check_kind(image_grid, "image_grid", PixelGrid)
    check_kind(source_grid, "source_grid", PixelGrid)
