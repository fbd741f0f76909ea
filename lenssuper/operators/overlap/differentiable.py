"""Lensing by area overlap that can be differentiated with respect to the lens (needs torch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

import lenssuper.operators.overlap.bsplines as _bsplines
import lenssuper.operators.overlap.gradient as _gradient
from lenssuper._utils.checks import check_count
from lenssuper.operators.averages import check_order
from lenssuper.operators.matrix import StoredMatrix
from lenssuper.operators.overlap import assemble as _assemble
from lenssuper.operators.overlap.operator import check_lensing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenssuper.lens import LensModel
    from lenssuper.observation.grid import PixelGrid

__all__ = ["lens_differentiable"]


def lens_differentiable(
    source: torch.Tensor,
    lens: LensModel,
    image_grid: PixelGrid,
    source_grid: PixelGrid,
    values: Mapping[str, torch.Tensor | float] | None = None,
    *,
    subdivide: int = 1,
    order: int = 0,
) -> torch.Tensor:
    """Lens a source with gradients with respect to both the source and the parameters of the lens.

    Parameters
    ----------
    source : torch.Tensor, shape (..., ny, nx) of the source grid
        Surface brightness; dark outside its grid.
    lens : LensModel
        The deflector.
    image_grid, source_grid : PixelGrid
        Pixels in the image plane and in the source plane.
    values : mapping of str to torch.Tensor or float, optional
        Parameters to use instead of those of ``lens``, by the names of ``lens.parameters``, as plain numbers:
        arcsec, radian or 1. Tensors may require a gradient.
    subdivide : int, optional
        Cut every image pixel into ``subdivide`` x ``subdivide`` squares with straight lensed edges.
    order : {0, 1, 2}, optional
        As of `OverlapOperator`: 1 and 2 for a ``source`` of coefficients of B-splines.

    Returns
    -------
    torch.Tensor, shape (..., ny, nx) of the image grid
        Surface brightness, of the dtype and on the device of ``source``.

    Notes
    -----
    Nothing in this package uses it: it is for fits of a lens by gradients and for the response of an image to
    small changes of the lens (the columns of a substructure map).

    The fractions of area are those of `OverlapOperator` with a fixed ``subdivide``, except that pixels with
    the centre of the lens in them are not opened there: leave them out of a fit, or choose a larger
    ``subdivide``.
    The gradient is exact (not a finite difference): an integral of the source along the lensed edges. It can
    be taken once, not differentiated again; forward (`torch.autograd.forward_ad`) as well, which gives the
    change of all of the image with one parameter at once.

    With ``order`` 0 it is that of pixels of constant brightness, which is not the slope of the source that
    they stand for: as a lensed edge moves over a border between cells, it jumps. With 1 and 2 it is
    continuous.
    """
    check_lensing(lens, image_grid, source_grid)
    subdivide = check_count(subdivide, "subdivide")
    order = check_order(order)
    if not isinstance(source, torch.Tensor) or not source.dtype.is_floating_point:
        raise TypeError(f"source must be a tensor of real numbers; got {source!r}")
    if tuple(source.shape[-2:]) != source_grid.shape:
        expected = ", ".join(map(str, source_grid.shape))
        raise ValueError(
            f"source must have shape (..., {expected}), that of source_grid; got {tuple(source.shape)}"
        )
    ny, nx = image_grid.shape
    column, row = (torch.arange(subdivide * n + 1, dtype=torch.float64) / subdivide - 0.5 for n in (nx, ny))
    x, y = image_grid.to_offset(column[None, :], row[:, None])
    u, v = source_grid.to_pixel(*lens.rays_arcsec(x, y, values))
    # cells count from the corner of the first source pixel, knots from the first one
    first = 0.5 * (order + 1)
    image = _Overlap.apply(u + first, v + first, source.cpu().double(), subdivide, image_grid.shape, order)
    return image.to(source)


class _Overlap(torch.autograd.Function):
    """Apply the overlap of a lattice of lensed corners to a source, on the CPU in float64."""

    @staticmethod
    def forward(ctx, u, v, source, subdivide, shape, order=0):
        if not (torch.isfinite(u).all() and torch.isfinite(v).all()):
            raise ValueError("lens must have a finite deflection at the corners of all pixels; it has not")
        corners = [w.detach().numpy() for w in (u, v)]
        matrix = _assemble.straight_matrix(*corners, subdivide, tuple(source.shape[-2:]), order)
        ctx.save_for_backward(u, v, source)
        ctx.save_for_forward(u, v, source)
        ctx.matrix, ctx.subdivide, ctx.order, ctx.n_columns = StoredMatrix(matrix), subdivide, order, shape[1]
        return ctx.matrix.multiply(source.detach(), shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        u, v, source = ctx.saved_tensors
        shape = tuple(source.shape[-2:])
        of_source = of_u = of_v = None
        if ctx.needs_input_grad[2]:
            of_source = ctx.matrix.transpose().multiply(gradient.contiguous(), shape)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            lattice = tuple(np.ascontiguousarray(w.numpy()) for w in (u, v))
            of_u, of_v = _of_corners(lattice, ctx.subdivide, ctx.order, source.numpy(), gradient.numpy())
        return of_u, of_v, of_source, None, None, None

    @staticmethod
    def jvp(ctx, along_u, along_v, along_source, *_):
        u, v, source = ctx.saved_tensors
        shape = ctx.matrix.csr.shape[0] // ctx.n_columns, ctx.n_columns
        image = source.new_zeros(*source.shape[:-2], *shape)
        if along_source is not None:
            image += ctx.matrix.multiply(along_source.contiguous(), shape)
        if along_u is not None or along_v is not None:
            moves = [torch.zeros_like(u) if w is None else w for w in (along_u, along_v)]
            moves = [w.contiguous().numpy() for w in moves]
            lattice = tuple(np.ascontiguousarray(w.detach().numpy()) for w in (u, v))
            flat = image.reshape(-1, *shape).numpy()
            sources = source.detach().numpy()
            for out, edges in zip(flat, _edge_integrals(lattice, ctx.order, sources), strict=True):
                _gradient.image_change(*lattice, ctx.subdivide, *edges, *moves, out)
        return image


def _edge_integrals(lattice, order, sources):
    """Yield the integrals of each source of a batch along the edges of the lattice."""
    u, v = lattice
    m, n = u.shape[0] - 1, u.shape[1] - 1
    edges = np.empty((m + 1, n, 3)), np.empty((m, n + 1, 3)), np.empty((m, n, 3))
    for source in sources.reshape(-1, *sources.shape[-2:]):
        source = np.ascontiguousarray(source)
        before = np.pad(np.cumsum(source, axis=1), ((0, 0), (1, 0)))
        if order == 0:
            _gradient.edge_integrals(source, before, u, v, *edges)
        else:
            _bsplines.edge_integrals(source, before, order, u, v, *edges)
        yield edges


def _of_corners(lattice, subdivide, order, sources, gradients):
    """Return the gradient with respect to the lensed corners, summed over a batch."""
    out = np.zeros((2, *lattice[0].shape))
    gradients = gradients.reshape(-1, *gradients.shape[-2:])
    for gradient, edges in zip(gradients, _edge_integrals(lattice, order, sources), strict=True):
        _gradient.corner_gradient(*lattice, subdivide, *edges, np.ascontiguousarray(gradient), *out)
    return torch.from_numpy(out[0]), torch.from_numpy(out[1])
