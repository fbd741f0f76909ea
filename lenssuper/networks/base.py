"""The protocol of networks that find sources."""

from __future__ import annotations

import hashlib
import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["LogPrior", "SourceNetwork"]

ORDER = 1
"""Order of the B-splines that are a network's source, see `~lenssuper.OverlapOperator`."""

FAINTEST = math.exp(-12.0)
"""Brightness treated as zero, in units of a problem's scale."""


@dataclass(frozen=True)
class LogPrior:
    """
    A network's prior of the logarithm of each source.

    Attributes
    ----------
    mean, std : Tensor, shape (n, ny, nx)
        Mean and standard deviation of the log brightness, in units of the problem's scale.
    slope : Tensor, shape (n,)
        Slope of the power spectrum of the correlated field that ``std`` multiplies.
    length : Tensor, shape ()
        Its correlation length as a share of the longer side of the grid.
    """

    mean: Tensor
    std: Tensor
    slope: Tensor
    length: Tensor

    def of_one(self, number: int) -> LogPrior:
        """Return the prior of one of the sources."""
        one = slice(number, number + 1)
        return LogPrior(self.mean[one], self.std[one], self.slope[one], self.length)


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
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

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
