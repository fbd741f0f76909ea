"""Pixels held out of a fit: how well does it foretell what it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["held_out_chi2", "split_pixels"]


def split_pixels(
    model: ForwardModel, fraction: float = 0.1, rng: np.random.Generator | int | None = None
) -> tuple[ForwardModel, np.ndarray]:
    """
    Hold some of the pixels that are used out of a model, chosen at random.

    Parameters
    ----------
    model : ForwardModel
    fraction : float, optional
        Share of the used pixels to hold out, rounded down to whole pixels.
    rng : `~numpy.random.Generator` or int, optional

    Returns
    -------
    training_model : ForwardModel
        With weight zero in the pixels held out; it shares the operators of ``model``.
    held_out : ndarray of bool, shape (ny, nx) of the observation
        True for the pixels held out, for `held_out_chi2`.

    Raises
    ------
    ValueError
        If ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1; got {fraction}")
    rng = np.random.default_rng(rng)
    used = np.flatnonzero(model.weights)
    held_out = np.zeros(model.weights.size, dtype=bool)
    held_out[rng.choice(used, size=int(fraction * len(used)), replace=False)] = True
    held_out = held_out.reshape(model.weights.shape)
    return model.with_weights(np.where(held_out, 0.0, model.weights)), held_out


def held_out_chi2(model: ForwardModel, held_out: np.ndarray, source: np.ndarray) -> float:
    """
    Give chi-square per pixel of the pixels held out; NaN if there are none.

    Parameters
    ----------
    model : ForwardModel
        The one that was split, with all its weights.
    held_out : ndarray of bool, shape (ny, nx) of the observation
        From `split_pixels`.
    source : ndarray, shape (ny, nx) of the source grid
        From a fit of the training model.
    """
    if not held_out.any():
        return np.nan
    return float(np.mean(model.residuals(source)[held_out] ** 2))
