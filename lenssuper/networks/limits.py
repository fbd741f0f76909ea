"""Limits of a value that a network can learn its way back from."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["limited"]


def limited(values: Tensor, low: float, high: float) -> Tensor:
    """
    Return values limited as by `torch.clamp`, with a gradient beyond a limit where descent leads back.

    The gradient of `torch.clamp` is zero beyond the limits: a network whose outputs are all beyond them,
    after a few bad steps, never learns again. Here the gradient is zero only where it would lead further
    away, as in ``lower_bound(..., gradient="identity_if_towards")`` of TensorFlow Compression.
    """
    return _Limited.apply(values, low, high)


class _Limited(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, low, high):
        ctx.save_for_backward(values)
        ctx.limits = low, high
        return values.clamp(low, high)

    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        low, high = ctx.limits
        # descent lowers a value whose gradient is positive
        outward = ((values < low) & (gradient > 0)) | ((values > high) & (gradient < 0))
        return torch.where(outward, 0.0, gradient), None, None
