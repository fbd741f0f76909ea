"""
Training of the network that adds Sersics: on images of galaxies alone, without labels.

The network adds Sersics to each image one after another. What it learns from is what is left of the image
after each of them, through the renderer's gradient.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lenssuper._utils.weightfile import write_weights
from lenssuper.exceptions import LensSuperError
from lenssuper.light.learned.actions import SIZE
from lenssuper.light.learned.frame import Frame
from lenssuper.light.learned.network import SersicNetwork, roll_out
from lenssuper.training.light.checkpoint import read_checkpoint, write_checkpoint

__all__ = ["error_of", "prepare_images", "train_network"]

_HELD_OUT = 16  # one in so many images is for the score


def prepare_images(images: Sequence) -> torch.Tensor:
    """
    Bring images of galaxies into the form that networks see.

    Parameters
    ----------
    images : sequence of array_like (ny, nx) or `~astropy.nddata.NDData`
        Of any sizes. Masks of NDData are honoured, and pixels that are not finite are masked.

    Returns
    -------
    Tensor, shape (n, 64, 64), float32
        Without sky, their brightest parts at 1.

    Raises
    ------
    ValueError
        If there is no image, or one has no light above its sky.
    """
    frames = []
    for number, image in enumerate(images):
        mask = getattr(image, "mask", None)
        data = image if isinstance(image, np.ndarray) else getattr(image, "data", image)
        try:
            frames.append(Frame.of(np.ma.getdata(data), mask).image)
        except ValueError as error:
            raise ValueError(f"images[{number}] cannot be trained on: {error}") from error
    if not frames:
        raise ValueError("images must hold at least one image of a galaxy; got none")
    return torch.from_numpy(np.stack(frames))


def held_out(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images to train on, and those kept for the score; all for both if there are too few."""
    if len(images) < _HELD_OUT:
        return images, images
    kept = torch.arange(len(images)) % _HELD_OUT == 0
    return images[~kept], images[kept]


def error_of(residuals: torch.Tensor) -> list[float]:
    """Mean of the absolute residual in percent, after each component of (n, components, 64, 64)."""
    return [round(float(e), 4) for e in 100 * residuals.abs().mean(dim=(0, 2, 3))]


def train_network(
    images: Sequence,
    output: str | os.PathLike,
    *,
    steps: int = 5000,
    components: int = 6,
    batch: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    checkpoint_every: int = 500,
    resume: bool = False,
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """
    Train the network and write its weights.

    Parameters
    ----------
    images : sequence of array_like or `~astropy.nddata.NDData`
        Galaxies; one in sixteen is kept for the score if there are sixteen.
    output : str or path-like
        File of weights to write. ``OUTPUT.checkpoint`` beside it is there while the training runs.
    steps, components, batch : int, optional
        Steps of Adam, Sersics added to each image, and images a step.
    learning_rate : float, optional
        The largest one, after a start from zero and before the descent along a cosine.
    seed : int, optional
        The same images and seed give the same weights.
    checkpoint_every : int, optional
        Steps between two checkpoints.
    resume : bool, optional
        Whether to go on from the checkpoint of a training that was interrupted.
    overwrite : bool, optional
        Whether ``output`` may be replaced.
    metadata : mapping, optional
        What else to write down in the file, e.g. where the images came from.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.

    Returns
    -------
    dict
        The metadata of the file, with the scores.

    Raises
    ------
    LensSuperError
        If the loss is not finite. Nothing is overwritten.
    """
    output = Path(output)
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; pass overwrite=True to replace it")
    data = prepare_images(images)
    shown, kept = held_out(data)
    settings = {
        "architecture": SersicNetwork.architecture,
        "steps": steps,
        "components": components,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
        "image_size": SIZE,
        "images": len(data),
        "images_sha256": hashlib.sha256(data.numpy().tobytes()).hexdigest()[:16],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SersicNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    beside = output.with_name(output.name + ".checkpoint")
    start = read_checkpoint(beside, network, optimizer, settings) if resume and beside.exists() else 0
    bar = tqdm(range(start, steps), initial=start, total=steps, disable=_hidden(progress), unit="step")
    for step in bar:
        rng = np.random.default_rng([seed, step])
        chosen = augment(shown[rng.integers(len(shown), size=batch)], rng)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule(step, steps)
        loss = _loss(roll_out(network, chosen, components)[1])
        if not torch.isfinite(loss):
            raise LensSuperError(f"the loss is {loss.item()} at step {step}; lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
        if (step + 1) % checkpoint_every == 0 and step + 1 < steps:
            write_checkpoint(beside, network, optimizer, settings, step + 1)
    if not all(torch.isfinite(p).all() for p in network.parameters()):
        raise LensSuperError("the training ended with weights that are not finite; nothing is written")
    scores = {"held_out_error_percent": evaluate(network, kept, components), "held_out_images": len(kept)}
    known = {**settings, **scores, **(metadata or {})}
    write_weights(output, network.state_dict(), known, overwrite=overwrite)
    beside.unlink(missing_ok=True)
    return known


def evaluate(network: torch.nn.Module, images: torch.Tensor, components: int) -> list[float]:
    """Error in percent after each component, averaged over images (n, 64, 64)."""
    with torch.no_grad():
        parts = [roll_out(network, part, components, oversampling=2)[1] for part in images.split(64)]
    return error_of(torch.cat(parts))


def augment(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Turn, mirror and shift images (n, 64, 64), each its own way; what comes in from outside is dark."""
    result = []
    for image in images:
        image = torch.rot90(image, int(rng.integers(4)))
        if rng.uniform() < 0.5:
            image = image.flip(0)
        row, column = (int(k) for k in rng.integers(-6, 7, size=2))
        moved = torch.zeros_like(image)
        into, out_of = zip(_shifted(row), _shifted(column), strict=True)
        moved[into] = image[out_of]
        result.append(moved)
    return torch.stack(result)


def _shifted(k):
    """Slices of the pixels that a shift by k fills, and of those it fills them with."""
    return slice(max(k, 0), SIZE + min(k, 0)), slice(max(-k, 0), SIZE + min(-k, 0))


def _loss(residuals):
    """Mean absolute error, which is the score, and mean squared error, which sees the core of the galaxy."""
    return residuals.abs().mean() + 2 * residuals.square().mean()


def _schedule(step, steps):
    """From 0 to 1 within a thirtieth of the steps, and along a cosine to a hundredth."""
    warm = max(1, steps // 30)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _hidden(progress):
    return None if progress is None else not progress
