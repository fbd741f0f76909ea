"""Scores of a network: on held-out pixels, and against the truth if that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from lenssuper.networks.base import SourceNetwork
from lenssuper.training.data import Batch, LensProblems, seeded
from lenssuper.training.losses import hold_out

__all__ = ["evaluate", "held_out_chi2"]

# Share of the pixels that are held out, and a number that separates their random draws from the training's.
_SHARE, _APART = 0.15, 2**40


def held_out_chi2(network: SourceNetwork, batch: Batch, *, seed: int, number: int) -> torch.Tensor:
    """Return chi-square per pixel (n,) of held-out pixels, drawn by the seed and the number of the batch."""
    held_out = hold_out(batch.problem, _SHARE, seeded(seed, number, _APART))
    with torch.no_grad():
        sources = network(batch.problem.without(held_out))
        return batch.problem.chi2(sources.float(), held_out) * batch.correlation


def evaluate(
    network: SourceNetwork,
    problems: LensProblems,
    indices: Sequence[int] | None = None,
    *,
    batch_size: int = 4,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """
    Score a network.

    Parameters
    ----------
    network : SourceNetwork
        Used in the mode it is in, training or evaluation.
    problems : LensProblems
    indices : sequence of int, optional
        The lenses to use; by default all.
    batch_size : int, optional
        Lenses at a time.
    seed : int, optional
        Decides which pixels are held out.
    device : optional
        Where the network is.

    Returns
    -------
    dict
        Means over the lenses: ``held_out_chi2`` of held-out pixels, ``chi2`` of all; and, if the truth is
        known, ``psnr`` of the super-resolved image and ``psnr_cubic`` of cubic spline interpolation, in dB
        relative to the peak of the truth.
    """
    indices = range(len(problems)) if indices is None else indices
    found: dict[str, list[float]] = {}
    truth = problems.has_truth
    for number, start in enumerate(range(0, len(indices), batch_size)):
        batch = problems.batch(list(indices[start : start + batch_size]), truth=truth, device=device)
        scores = {"held_out_chi2": held_out_chi2(network, batch, seed=seed, number=number)}
        with torch.no_grad():
            sources = network(batch.problem).float()
            scores["chi2"] = batch.problem.chi2(sources) * batch.correlation
            if batch.truth is not None:
                scores["psnr"] = _psnr(batch.problem.lensed_image(sources), batch.truth)
                scores["psnr_cubic"] = _psnr(_cubic(batch, problems.factor), batch.truth)
        for name, values in scores.items():
            found.setdefault(name, []).extend(values.tolist())
    return {name: float(np.mean(values)) for name, values in found.items()}


def _psnr(images, truth):
    peak = truth.amax((-2, -1)) ** 2
    return 10 * torch.log10(peak / ((images - truth) ** 2).mean((-2, -1)))


def _cubic(batch, factor):
    """Interpolate the data, 0 where not used, at the centres of the fine pixels, in units of scale."""
    images = batch.data.cpu().numpy()
    ny, nx = images.shape[-2:]
    rows, columns = ((np.arange(factor * n) + 0.5) / factor - 0.5 for n in (ny, nx))
    where = np.meshgrid(rows, columns, indexing="ij")
    fine = [map_coordinates(image, where, order=3, mode="nearest") for image in images]
    return torch.as_tensor(np.stack(fine), device=batch.data.device)
