"""
Conjugate gradients on a batch of images: a fixed number of steps, through which gradients flow.

`lenssuper.solvers.numerics` has one that stops at a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable

from lenssuper.networks.arrays import Array, total

__all__ = ["conjugate_gradients"]

_TINY = 1e-12


def conjugate_gradients(
    matrix: Callable[[Array], Array],
    right: Array,
    steps: int,
    *,
    start: Array | None = None,
    preconditioner: Callable[[Array], Array] = lambda x: x,
) -> Array:
    """
    Take some steps towards the solution of ``matrix(x) = right``, for every image of a batch.

    Hestenes & Stiefel (1952); preconditioned as in Golub & Van Loan (2013), algorithm 11.5.1.

    ``matrix`` and ``preconditioner``, an approximate inverse of it, apply symmetric positive definite
    matrices to images (n, ny, nx). The iteration starts from ``start``, by default 0.
    """
    # in units of its norm, as squares of large numbers would overflow float32
    unit = (total(right * right) + _TINY) ** 0.5
    right = right / unit
    x = right * 0.0 if start is None else start / unit
    residual = right if start is None else right - matrix(x)
    better = preconditioner(residual)
    direction, norm = better, total(residual * better)
    for _ in range(steps):
        image = matrix(direction)
        step = norm / (total(direction * image) + _TINY)
        x = x + step * direction
        residual = residual - step * image
        better = preconditioner(residual)
        previous, norm = norm, total(residual * better)
        direction = better + norm / (previous + _TINY) * direction
    return x * unit
