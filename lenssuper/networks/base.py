"""The protocol of networks that find sources."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lenssuper._utils.weightfile import fingerprint
from lenssuper.networks.logprior import LogPrior
from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["SourceNetwork"]

FAINTEST = math.exp(-12.0)
"""Brightness treated as zero, in units of a problem's scale."""


class SourceNetwork(nn.Module, ABC):
    """
    A network that turns observed lenses into sources, of any size.

    It contains no lens, which is part of the `SourceProblem`. Its settings are numbers and tuples of numbers;
    `config` has all that is needed to create the same network.
    """

    architecture: ClassVar[str]
    """Name of the architecture in files of weights; it changes when old weights no longer fit."""

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that create a network of the same shape, ready for JSON: attributes of the same names."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        return fingerprint({name: value.detach().cpu().numpy() for name, value in self.state_dict().items()})

    def __repr__(self) -> str:
        weights = sum(value.numel() for value in self.parameters())
        return f"<{self.architecture}: {weights} weights, {self.fingerprint}>"

    @abstractmethod
    def stages(self, problem: SourceProblem) -> list[Tensor]:
        """
        Return the sources after each stage of the network; the last is the answer.

        Parameters
        ----------
        problem : SourceProblem
            Of n observations.

        Returns
        -------
        list of Tensor, each of shape (n, ny, nx)
            Not negative, in units of the problem's scale. Networks without stages return one.
        """

    def forward(self, problem: SourceProblem) -> Tensor:
        """Return the sources (n, ny, nx) of n observations, not negative, in units of the problem's scale."""
        return self.stages(problem)[-1]

    def answer(self, problem: SourceProblem) -> tuple[Tensor, LogPrior]:
        """
        Return the sources (n, ny, nx) of n observations as `forward` does, and the network's prior of them.

        By default it is centred on the network's answer, with a standard deviation of a factor of e.
        """
        sources = self(problem)
        mean = sources.clamp(min=FAINTEST).log()
        slope, length = mean.new_full((len(mean),), 3.0), mean.new_tensor(1 / 3)
        return sources, LogPrior(mean, torch.ones_like(mean), slope, length)
