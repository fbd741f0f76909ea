"""Lensing of astropy's NDData: with its unit, mask, uncertainty and WCS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData, StdDevUncertainty

if TYPE_CHECKING:
    from lenssuper.observation.grid import PixelGrid

__all__ = ["delens", "lens"]


def lens(op, source: NDData) -> NDData:
    """Lens an NDData; see `LensingOperator.lens`."""
    data, mask, variance = _unpack(source, op.source_grid, "source")
    if variance is not None:
        variance = (op.matrix.power(2) @ variance.ravel()).reshape(op.out_shape)
    seen = None if mask is None else op.forward(mask) > 0
    return _pack(op.forward(data), seen, variance, source, op.image_grid)


def delens(op, image: NDData) -> NDData:
    """Take an NDData back to the source plane; see `LensingOperator.delens`."""
    data, mask, variance = _unpack(image, op.image_grid, "image")
    used = np.ones(op.out_shape) if mask is None else 1.0 - mask
    weights = op.adjoint(used)
    empty = weights <= 0
    scale = np.divide(1.0, weights, out=np.zeros_like(weights), where=~empty)
    if variance is not None:
        variance = (op.matrix.power(2).T @ variance.ravel()).reshape(op.in_shape) * scale**2
    return _pack(op.adjoint(data) * scale, empty, variance, image, op.source_grid)


def _unpack(nddata: NDData, grid: PixelGrid, name: str):
    """Return data and variance, 0 in masked pixels, and the mask; the last two None where there is none."""
    data = np.asarray(nddata.data)
    if data.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers; got dtype {data.dtype}")
    if data.shape != grid.shape:
        raise ValueError(f"{name} must have the shape of {name}_grid, {grid.shape}; got {data.shape}")
    data = data.astype(np.float64)
    mask = None if nddata.mask is None else np.broadcast_to(np.asarray(nddata.mask, dtype=bool), data.shape)
    variance = None
    if nddata.uncertainty is not None:
        variance = np.asarray(nddata.uncertainty.represent_as(StdDevUncertainty).array, np.float64) ** 2
    if mask is not None:
        data[mask] = 0.0
        if variance is not None:
            variance[mask] = 0.0
    return data, mask, variance


def _pack(data, mask, variance, original: NDData, grid: PixelGrid) -> NDData:
    uncertainty = None if variance is None else StdDevUncertainty(np.sqrt(variance))
    return NDData(
        data, uncertainty=uncertainty, mask=mask, wcs=grid.wcs, unit=original.unit, meta=original.meta
    )
