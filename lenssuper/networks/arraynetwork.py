"""A trained network as numpy arrays, which answers without torch: its import takes longer than an answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lenssuper._utils.checks import check_count
from lenssuper._utils.weightfile import check_finite_weights, fingerprint
from lenssuper.exceptions import FileFormatError
from lenssuper.networks.arraylayers import ArrayUNet
from lenssuper.networks.bands import OCTAVES
from lenssuper.networks.logprior import LogPrior
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.networks.stages import CONDITIONS, IN_CHANNELS, OUT_CHANNELS, Learned, stages

if TYPE_CHECKING:
    from lenssuper.networks.base import SourceNetwork

__all__ = ["ArrayNetwork"]


class ArrayNetwork:
    """
    A trained `~lenssuper.networks.Unrolled` network that answers in numpy, on the CPU.

    Its answers are those of the network in torch but for the rounding of single precision.

    Parameters
    ----------
    config : dict
        The settings of the network, as a file has them.
    weights : mapping of str to ndarray
        Its weights.
    path : str or path-like, optional
        Where they come from, for messages.

    Raises
    ------
    FileFormatError
        If the weights are not those of a network of these settings, or not finite.
    """

    architecture = "unrolled-1"

    def __init__(
        self, config: Any, weights: Mapping[str, np.ndarray], path: str | os.PathLike = "the network"
    ) -> None:
        self.config, self.weights, self._path = config, dict(weights), os.fspath(path)
        n_stages, self._cg_steps, widths = self._settings()
        check_finite_weights(self.weights, self._path)
        left = dict(self.weights)

        def take(name, *shape):
            value = left.pop(name, None)
            if value is None or value.shape != shape:
                raise self._misfit(name, shape)
            return value

        self._learned = Learned(
            unet=ArrayUNet(take, "unet", IN_CHANNELS, OUT_CHANNELS, widths, CONDITIONS),
            stage=take("stage", n_stages, CONDITIONS),
            keep=take("keep", n_stages),
            log_std=take("log_std"),
            log_slope=take("field.log_slope"),
            log_length=take("field.log_length"),
            log_transmission=take("preconditioner.log_transmission", OCTAVES),
        )
        if left:
            raise self._misfit(min(left), None)

    def _settings(self):
        """Return the numbers of stages and of steps of conjugate gradients, and the widths of the U-Net."""
        try:
            n_stages = check_count(self.config["n_stages"], "n_stages")
            widths = [check_count(width, "widths") for width in self.config["widths"]]
            return n_stages, check_count(self.config["cg_steps_used"], "cg_steps_used"), widths
        except (TypeError, ValueError, KeyError) as error:
            raise FileFormatError(f"{self._path} has settings that make no Unrolled: {error}") from error

    def _misfit(self, name, shape):
        return FileFormatError(
            f"{self._path} does not fit the network of its settings: {name} has the shape "
            f"{getattr(self.weights.get(name), 'shape', None)}, not {shape}"
        )

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        return fingerprint(self.weights)

    def __repr__(self) -> str:
        size = sum(value.size for value in self.weights.values())
        return f"<{self.architecture}: {size} weights, {self.fingerprint}>"

    def in_torch(self) -> SourceNetwork:
        """Return the network in torch, which can be trained."""
        import torch

        from lenssuper.networks.weights import network_of

        tensors = {name: torch.from_numpy(value) for name, value in self.weights.items()}
        known = {"architecture": self.architecture, "config": self.config}
        return network_of(tensors, known, self._path)

    def answer(self, problem: SourceProblem) -> tuple[np.ndarray, LogPrior]:
        """Return the sources (n, ny, nx) of n observations, and the network's prior of them."""
        *_, last = stages(self._learned, problem, self._cg_steps)
        return last
