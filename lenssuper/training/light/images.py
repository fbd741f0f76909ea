"""Images of galaxies to train on: prepared, turned and shifted at random, and kept for the score."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lenssuper._utils.weightfile import write_weights
from lenssuper.exceptions import LensSuperError
from lenssuper.light.learned.actions import SIZE
from lenssuper.light.learned.frame import Frame
from lenssuper.light.learned.network import roll_out

__all__ = ["TrainingImages", "augment", "error_of", "held_out", "prepare_images"]

_HELD_OUT = 16  # one in so many images is for the score


def prepare_images(images: Sequence) -> torch.Tensor:
    """
    Convert images of galaxies, of any sizes, into the form (n, 64, 64) that networks take.

    They are arrays or NDData with a mask; pixels that are not finite are masked. Without an image, or if one
    has no light above its sky, it is a ValueError.
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
    """Divide images into those to train on and one in sixteen for the score; fewer than 16 serve for both."""
    if len(images) < _HELD_OUT:
        return images, images
    kept = torch.arange(len(images)) % _HELD_OUT == 0
    return images[~kept], images[kept]


def error_of(residuals: torch.Tensor) -> list[float]:
    """Return the mean absolute residual in percent after each component of (n, components, 64, 64)."""
    return [round(float(e), 4) for e in 100 * residuals.abs().mean(dim=(0, 2, 3))]


class TrainingImages:
    """
    The images of one training, and the file that it writes.

    ``shown`` and ``kept``, tensors (n, 64, 64), are to train on and for the score; ``settings`` must be the
    same when the training is resumed; ``checkpoint`` stands beside the file of weights while the training
    runs.
    """

    def __init__(
        self, images: Sequence, output: str | os.PathLike, components: int, overwrite: bool, **settings
    ) -> None:
        self._output, self._overwrite = Path(output), overwrite
        if self._output.exists() and not overwrite:
            raise FileExistsError(f"{output} exists; pass overwrite=True to replace it")
        data = prepare_images(images)
        self.shown, self.kept = held_out(data)
        self.checkpoint = self._output.with_name(self._output.name + ".checkpoint")
        digest = hashlib.sha256(data.numpy().tobytes()).hexdigest()[:16]
        about = {"image_size": SIZE, "images": len(data), "images_sha256": digest}
        self.settings = {"components": components, **settings, **about}

    def scores(self, network: nn.Module) -> dict[str, Any]:
        """Return the error on the images that were kept, after each component."""
        components = self.settings["components"]
        with torch.no_grad():
            parts = [roll_out(network, part, components, oversampling=2)[1] for part in self.kept.split(64)]
        return {"held_out_error_percent": error_of(torch.cat(parts)), "held_out_images": len(self.kept)}

    def write(self, network: nn.Module, more: Mapping[str, Any] | None) -> dict[str, Any]:
        """Write the trained network with settings, scores and ``more``, which are returned."""
        if not all(torch.isfinite(p).all() for p in network.parameters()):
            raise LensSuperError("the training ended with weights that are not finite; nothing is written")
        known = {**self.settings, **self.scores(network), **(more or {})}
        write_weights(self._output, network.state_dict(), known, overwrite=self._overwrite)
        self.checkpoint.unlink(missing_ok=True)
        return known


def augment(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Turn, mirror and shift images (n, 64, 64) independently; pixels from outside are dark."""
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
    """Return the slices of the pixels that a shift by k fills, and of those it takes them from."""
    return slice(max(k, 0), SIZE + min(k, 0)), slice(max(-k, 0), SIZE + min(-k, 0))
