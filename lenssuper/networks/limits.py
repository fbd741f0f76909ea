"""The gradient of `lenssuper.networks.arrays.limited`, by which a network can learn its way back."""

from __future__ import annotations

import torch

__all__ = ["Limited"]


class Limited(torch.autograd.Function):
    """Values limited to a range; the gradient is zero only where descent would lead further away."""

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
