"""Gradients of linear operators in torch: the derivative is the operator, its gradient the adjoint.

Loaded only once a tensor has been handed to an operator, so that the operators themselves never import torch.
"""

from __future__ import annotations

import torch

__all__ = ["apply"]


class _Apply(torch.autograd.Function):
    """y = A x; both backward and jvp go through this function again, so that higher derivatives exist."""

    @staticmethod
    def forward(op, x):
        return op._forward(x.detach())

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.op = inputs[0]

    @staticmethod
    def backward(ctx, gradient):
        return None, _Apply.apply(ctx.op.H, gradient)

    @staticmethod
    def jvp(ctx, _, tangent):
        return _Apply.apply(ctx.op, tangent)

    @staticmethod
    def vmap(info, in_dims, op, x):
        return _Apply.apply(op, x.movedim(in_dims[1], 0)), 0


# Applies an operator to a tensor (..., ny, nx) that has been checked, and records the gradient.
apply = _Apply.apply
