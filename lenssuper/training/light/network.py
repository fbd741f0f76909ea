"""
Training of the network that adds Sersics: on images of galaxies alone, without labels.

The network adds Sersics to each image one after another. What remains of the image after each of them is the
loss, through the renderer's gradient.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lenssuper.light.learned.network import SersicNetwork, roll_out
from lenssuper.training.light.images import TrainingImages, augment
from lenssuper.training.loop import SteppedModule, run

__all__ = ["train_network"]


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
        Whether to continue from the checkpoint of an interrupted training. The weights are the same as
        without the interruption.
    overwrite : bool, optional
        Whether ``output`` may be replaced.
    metadata : mapping, optional
        Further metadata of the file, e.g. the origin of the images.
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
    given = TrainingImages(
        images,
        output,
        components,
        overwrite,
        architecture=SersicNetwork.architecture,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
    )
    module = _SersicTraining(given, checkpoint_every)
    resumed = resume and given.checkpoint.exists()
    run(module, given.checkpoint, resume=resumed, progress=progress, accelerator="cpu", devices=1)
    return given.write(module.network, metadata)


class _SersicTraining(SteppedModule):
    """The network in training."""

    def __init__(self, images: TrainingImages, round_length: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(images.settings["seed"])
            network = SersicNetwork()
        super().__init__(network, images.settings["steps"], round_length, dict(images.settings))
        self._shown = images.shown

    def batches(self) -> Dataset:
        """Return the images of each step."""
        return _ImagesOfStep(self._shown, self.settings["batch"], self.settings["seed"])

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        loss = _loss(roll_out(self.network, batch, self.settings["components"])[1])
        return self.noted(loss, {"loss": loss.detach()})

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.settings["learning_rate"])

    def rate(self, step: int) -> float:
        """Rise from 0 to 1 within a thirtieth of the steps, and fall along a cosine to a hundredth."""
        warm = max(1, self.steps // 30)
        if step < warm:
            return (step + 1) / warm
        return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))) / 2


class _ImagesOfStep(Dataset):
    def __init__(self, images, size, seed):
        self._images, self._size, self._seed = images, size, seed

    def __getitem__(self, step: int) -> torch.Tensor:
        rng = np.random.default_rng([self._seed, step])
        return augment(self._images[rng.integers(len(self._images), size=self._size)], rng)


def _loss(residuals):
    """Mean absolute error, which is the score, and mean squared error, which weights the galaxy's core."""
    return residuals.abs().mean() + 2 * residuals.square().mean()
