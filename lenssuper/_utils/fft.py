"""Fourier transforms of numpy arrays and torch tensors, in their own precision."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import scipy.fft
from array_api_compat import is_torch_array

__all__ = ["fft_of"]


def fft_of(x: Any) -> ModuleType:
    """Return a module with ``rfft2`` and ``irfft2`` for an array or a tensor."""
    if is_torch_array(x):
        import torch

        return torch.fft
    return scipy.fft
