"""Pixels held out of a fit, to measure how well it predicts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lenssuper._utils.checks import check_number, check_rng

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["held_out_chi2", "predicted_chi2", "split_pixels"]


def split_pixels(
    model: ForwardModel, fraction: float = 0.1, rng: np.random.Generator | int | None = None
) -> tuple[ForwardModel, np.ndarray]:
    """
    Return a model without some of its used pixels, chosen at random.

    The training model has weight zero in the pixels held out, a ``fraction`` of the used pixels rounded down,
    and shares the operators of ``model``. The second value is True (ny, nx) for these pixels, for
    `held_out_chi2`.
    """
    check_number(fraction, "fraction", above=0, below=1)
    rng = check_rng(rng)
    used = np.flatnonzero(model.weights)
    held_out: np.ndarray = np.zeros(model.weights.size, dtype=bool)
    held_out[rng.choice(used, size=int(fraction * len(used)), replace=False)] = True
    held_out = held_out.reshape(model.weights.shape)
    return model.with_weights(np.where(held_out, 0.0, model.weights)), held_out


def held_out_chi2(model: ForwardModel, held_out: np.ndarray, source: np.ndarray) -> float:
    """
    Return chi-square per pixel of the pixels held out of ``model``, the one that was split; NaN if there are
    none.

    The source (ny, nx) is from a fit of the training model of `split_pixels`.
    """
    if not held_out.any():
        return np.nan
    return float(np.mean(model.residuals(source)[held_out] ** 2))


def predicted_chi2(model: ForwardModel, fit: Callable[[ForwardModel], np.ndarray], rng) -> float:
    """Return chi-square per pixel of a tenth of the pixels, with a source fitted to the others."""
    training, held_out = split_pixels(model, 0.1, rng)
    return held_out_chi2(model, held_out, fit(training))
