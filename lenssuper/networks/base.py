"""What every network is asked for, and how it is made again from its settings."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["LogPrior", "SourceNetwork"]

FAINTEST = math.exp(-12.0)
"""Brightness that is as good as none, in units of a problem's scale."""


@dataclass(frozen=True)
class LogPrior:
    """
    What a network expects of the logarithm of each source, before the data are looked at in full.

    Attributes
    ----------
    mean, std : Tensor, shape (n, ny, nx)
        Of the logarithm of the brightness, in units of the problem's scale.
    slope : Tensor, shape (n,)
        Of the power spectrum of the correlated field that ``std`` multiplies.
    length : Tensor, shape ()
        Its correlation length as a share of the longer side of the grid.
    """

    mean: Tensor
    std: Tensor
    slope: Tensor
    length: Tensor


class SourceNetwork(nn.Module, ABC):
    """
    A network that turns observed lenses into sources, of any size.

    It holds no lens: where light comes from is the `SourceProblem`'s. Its settings are numbers and tuples of
    numbers, by which `config` makes the same network again.
    """

    architecture: ClassVar[str]
    """Name of the architecture in files of weights; another one when old weights no longer fit."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments that make a network of the same shape; what JSON can hold."""

    @property
    def fingerprint(self) -> str:
        """Digits that are others for other weights."""
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
        Give the sources after each stage of the network; the last is the answer.

        Parameters
        ----------
        problem : SourceProblem
            Of n observations.

        Returns
        -------
        list of Tensor, each of shape (n, ny, nx)
            Not negative, in units of the problem's scale. Networks without stages give one.
        """

    def forward(self, problem: SourceProblem) -> Tensor:
        """Give the sources (n, ny, nx) of n observations, not negative, in units of the problem's scale."""
        return self.stages(problem)[-1]

    def prior(self, problem: SourceProblem) -> LogPrior:
        """
        Give what the network expects of the sources of n observations, for a solver to go on from.

        Networks that draw up no prior of their own expect what they answer, to within a factor of e.
        """
        sources = self(problem)
        mean = sources.clamp(min=FAINTEST).log()
        return LogPrior(mean, torch.ones_like(mean), mean.new_full((len(mean),), 3.0), mean.new_tensor(1 / 3))
