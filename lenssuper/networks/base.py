"""What every network is asked for, and how it is made again from its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from lenssuper.networks.problem import Problem

__all__ = ["SourceNetwork"]


class SourceNetwork(nn.Module, ABC):
    """
    A network that turns observed lenses into sources, of any size.

    It holds no lens: where light comes from is the `Problem`'s. Its settings are numbers and tuples of
    numbers, by which `config` makes the same network again.
    """

    architecture: ClassVar[str]
    """Name of the architecture in files of weights; another one when old weights no longer fit."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments that make a network of the same shape; what JSON can hold."""

    @abstractmethod
    def stages(self, problem: Problem) -> list[Tensor]:
        """
        Give the sources after each stage of the network; the last is the answer.

        Parameters
        ----------
        problem : Problem
            Of n observations.

        Returns
        -------
        list of Tensor, each of shape (n, ny, nx)
            Not negative, in units of the problem's scale. Networks without stages give one.
        """

    def forward(self, problem: Problem) -> Tensor:
        """Give the sources (n, ny, nx) of n observations, not negative, in units of the problem's scale."""
        return self.stages(problem)[-1]
