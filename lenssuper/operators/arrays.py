"""Checks of images: real numbers in float32 or float64, numpy or torch, of the right trailing shape."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = ["float_images", "is_nddata", "is_tensor", "real_array"]


def is_tensor(x: Any) -> bool:
    """Return whether ``x`` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_nddata(x: Any) -> bool:
    """Return whether ``x`` is an astropy NDData, without importing astropy.nddata."""
    nddata = sys.modules.get("astropy.nddata")
    return nddata is not None and isinstance(x, nddata.NDData)


def _float_tensor(x, name: str):
    import torch

    if x.dtype.is_complex:
        raise TypeError(f"{name} must be real; got a tensor of {x.dtype}")
    if x.dtype in (torch.float32, torch.float64):
        return x
    return x.to(torch.float32 if x.dtype.is_floating_point else torch.float64)


def real_array(x, name: str) -> np.ndarray:
    """Return an array of real numbers in float32, if it came in single or half precision, or float64."""
    if hasattr(x, "unit") or isinstance(x, np.ma.MaskedArray):
        # numpy would silently drop the unit or the mask
        raise TypeError(f"{name} must be an array without a unit or a mask; got {type(x).__name__}")
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers; got dtype {x.dtype}")
    single = x.dtype.kind == "f" and x.dtype.itemsize <= 4
    return x.astype(np.float32 if single else np.float64, copy=False)


def float_images(x, shape: tuple[int, ...], name: str, what: str = "shape"):
    """
    Check that ``x`` is real and its last axes are ``shape``; integers become float64, half precision float32.

    ``what`` is what the shape is called in the error message.
    """
    x = _float_tensor(x, name) if is_tensor(x) else real_array(x, name)
    if tuple(x.shape[-len(shape) :]) != shape:
        expected = ", ".join(str(n) for n in shape)
        raise ValueError(f"{name} must have shape (..., {expected}), the {what}; got {tuple(x.shape)}")
    return x
