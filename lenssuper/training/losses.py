"""
Losses for networks, most of which need observed lenses only and no high-resolution image.

Each is a small object with a weight; any of them can be combined. Data are in units of their noise: the best
possible chi-square per pixel is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lenssuper._utils.checks import check_number
from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.training.data import Batch

__all__ = [
    "Answers",
    "DataFidelity",
    "Loss",
    "PixelSplitting",
    "Recorrupted",
    "Supervised",
    "TotalVariationLoss",
    "by_coverage",
    "by_magnification",
    "over_stages",
    "weighted_sum",
]

# Each stage of a network has half the weight of the next one.
_FADING = 0.5


class Answers:
    """A network that remembers its results within one step, so that losses share its passes."""

    def __init__(self, network: SourceNetwork) -> None:
        self._network = network
        self._given: list[tuple[SourceProblem, list[Tensor]]] = []

    def stages(self, problem: SourceProblem) -> list[Tensor]:
        """Return the sources after each stage, see `SourceNetwork.stages`."""
        for known, sources in self._given:
            if known is problem:
                return sources
        sources = self._network.stages(problem)
        self._given.append((problem, sources))
        return sources

    def final(self, problem: SourceProblem) -> Tensor:
        """Return the sources (n, ny, nx) of the last stage without a gradient."""
        for known, sources in self._given:
            if known is problem:
                return sources[-1].detach()
        with torch.no_grad():
            return self._network.stages(problem)[-1]

    def any(self, problem: SourceProblem) -> list[Tensor]:
        """Return the first result of this step, or else that of this problem."""
        return self._given[0][1] if self._given else self.stages(problem)


@dataclass(frozen=True)
class Loss(ABC):
    """
    A number that a network is trained to minimise.

    Parameters
    ----------
    weight : float, optional
        Its factor in a sum of losses.
    """

    weight: float = 1.0

    name: ClassVar[str]
    regularises: ClassVar[bool] = False
    """Whether it looks at the sources only; it then uses those that other losses have computed."""

    @abstractmethod
    def __call__(self, network: Answers, batch: Batch, generator: torch.Generator) -> Tensor:
        """
        Return the loss, without its weight.

        Parameters
        ----------
        network : Answers
        batch : Batch
        generator : torch.Generator
            On the CPU; the source of all random numbers.
        """

    @property
    def config(self) -> dict[str, Any]:
        """The settings, as JSON can hold them."""
        return {
            name: value.__name__ if callable(value) else value
            for name, value in asdict(self).items()
            if value is not None
        }


def weighted_sum(
    losses: Sequence[Loss], network: SourceNetwork, batch: Batch, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of losses, and the values by name without weight and gradient."""
    answers, total, values = Answers(network), torch.zeros(()), {}
    for loss in sorted(losses, key=lambda each: each.regularises):
        value = loss(answers, batch, generator)
        total = total + loss.weight * value
        values[loss.name] = value.detach()
    return total, values


def over_stages(values: Sequence[Tensor]) -> Tensor:
    """Return sum_k 2^(k + 1 - K) mean(v_k) of the errors v_k (n,) of the K stages of a network."""
    last = len(values) - 1
    weighted = [_FADING ** (last - k) * value.mean() for k, value in enumerate(values)]
    return sum(weighted[1:], weighted[0])


# --- weights over the source ------------------------------------------------------------------------------

SourceWeight = Callable[[Batch], Tensor]


def by_coverage(batch: Batch) -> Tensor:
    """Return C(beta), the number of images of each source pixel, as a weight."""
    return batch.coverage()


def by_magnification(batch: Batch) -> Tensor:
    """Return mu(beta), the total magnification of each source pixel, as a weight."""
    return batch.magnification()


def _lensed_weight(problem: SourceProblem, weight: Tensor) -> Tensor:
    """Return the mean of a weight over the source pixels that each observed pixel sees."""
    seen = problem.forward(torch.ones_like(weight))
    return torch.where(seen > 0, problem.forward(weight) / seen.clamp(min=1e-12), 0.0)


# --- losses -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataFidelity(Loss):
    """
    Chi-square of all pixels: the source, lensed, blurred and binned, against the observation.

    Alone it also fits the noise, and does not constrain what lens and PSF hide.

    Parameters
    ----------
    weight : float, optional
    by : callable, optional
        Returns weights over the source (n, ny, nx) of a batch, which are averaged over the source pixels that
        each observed pixel sees: `by_coverage`, `by_magnification`.

    Notes
    -----
    mean over lenses of log(1 + chi2 / N), chi2 = sum_i m_i w_i (y_i - (A s)_i)^2 with w = 1 / variance, m = 1
    or the weights. The logarithm keeps a few bad fits, early on, from dominating.
    """

    by: SourceWeight | None = None
    name: ClassVar[str] = "chi2"

    def __call__(self, network, batch, generator):
        problem, share = batch.problem, batch.problem.used.float()
        if self.by is not None:
            share = share * _lensed_weight(problem, self.by(batch))
        total = share.sum((-2, -1)).clamp(min=1e-12)
        return over_stages(
            [
                torch.log1p((share * (problem.forward(s) - problem.white) ** 2).sum((-2, -1)) / total)
                for s in network.stages(problem)
            ]
        )


@dataclass(frozen=True)
class TotalVariationLoss(Loss):
    """
    Total variation of the source, in units of the brightest observed pixel, per source pixel.

    Parameters
    ----------
    weight : float, optional
    by : callable, optional
        Returns weights over the source (n, ny, nx) of a batch: `by_coverage`, `by_magnification`.

    Notes
    -----
    mean of w sqrt(g^2 + e^2) - e, g the length of the gradient by differences to the next pixel, e = 1e-3,
    w of mean 1 (Rudin, Osher & Fatemi 1992, Physica D 60, 259).
    """

    by: SourceWeight | None = None
    name: ClassVar[str] = "tv"
    regularises: ClassVar[bool] = True

    def __call__(self, network, batch, generator):
        weight = None
        if self.by is not None:
            weight = self.by(batch)
            weight = weight / weight.mean((-2, -1), keepdim=True).clamp(min=1e-12)
        return over_stages([_variation(s, weight) for s in network.any(batch.problem)])


def _variation(sources, weight, edge=1e-3):
    down = torch.nn.functional.pad(sources.diff(dim=-2), (0, 0, 0, 1))
    right = torch.nn.functional.pad(sources.diff(dim=-1), (0, 1))
    slopes = (down**2 + right**2 + edge**2).sqrt() - edge
    return (slopes if weight is None else weight * slopes).mean((-2, -1))


@dataclass(frozen=True)
class PixelSplitting(Loss):
    """
    Predict held-out pixels from the others.

    The held-out noise is independent, so only the true signal predicts it.

    Parameters
    ----------
    weight : float, optional
    share : float, optional
        Share of the pixels that are held out, different ones in each step.

    Notes
    -----
    mean over lenses of log(1 + chi2 / N) over the held-out pixels. For independent noise the expectation of
    chi2 / N is the squared error of the prediction in units of the noise plus one (Batson & Royer 2019, ICML,
    prop. 1).
    """

    share: float = 0.15
    name: ClassVar[str] = "split"

    def __post_init__(self) -> None:
        check_number(self.share, "share", above=0, below=1)

    def __call__(self, network, batch, generator):
        problem = batch.problem
        held_out = hold_out(problem, self.share, generator)
        stages = network.stages(problem.without(held_out))
        return over_stages([torch.log1p(problem.chi2(s, held_out)) for s in stages])


def hold_out(problem: SourceProblem, share: float, generator: torch.Generator) -> Tensor:
    """Draw pixels to hold out (n, ny, nx), bool."""
    drawn = torch.rand(problem.white.shape, generator=generator)
    return (drawn < share).to(problem.white.device)


@dataclass(frozen=True)
class Recorrupted(Loss):
    """
    Add noise to the input of the network, and subtract it, scaled, from the data it is compared with.

    The noise of the two is independent, so that fitting it does not lower the loss.

    Parameters
    ----------
    weight : float, optional
    alpha : float, optional
        The added noise in units of that of the data.

    Notes
    -----
    y1 = y + alpha n, y2 = y - n / alpha with n of the statistics of the noise (Pang et al. 2021, CVPR, 2043).
    For Gaussian noise the expectation of c, the mean of (A f(y1) - y2)^2 less 1 / alpha^2, is that of the
    squared error, the mean of (A f(y1) - A s)^2, plus one. The loss is log(1 + c).
    """

    alpha: float = 0.5
    name: ClassVar[str] = "r2r"

    def __post_init__(self) -> None:
        check_number(self.alpha, "alpha", above=0)

    def __call__(self, network, batch, generator):
        stages, target = self.recorrupted(network, batch.problem, generator)
        return over_stages([torch.log1p(self.error(target, s).clamp(min=-0.5)) for s in stages])

    def recorrupted(self, network, problem, generator):
        """Return the sources from the data with more noise, and the problem with the independent data."""
        noise = torch.randn(problem.white.shape, generator=generator).to(problem.white.device)
        stages = network.stages(problem.with_white(problem.white + self.alpha * noise))
        return stages, problem.with_white(problem.white - noise / self.alpha)

    def error(self, target, source):
        """Return an estimate of one plus the squared error per pixel (n,) in units of the noise variance."""
        return target.chi2(source) - self.alpha**-2


@dataclass(frozen=True)
class Supervised(Loss):
    """
    Compare with the truth: an upper limit for what can be learned without it.

    Notes
    -----
    mean over lenses of log(e + 1e-6), e the mean squared error of the lensed image on the finer grid, without
    PSF, over the square of the truth's peak.
    """

    name: ClassVar[str] = "sup"

    def __call__(self, network, batch, generator):
        if batch.truth is None:
            raise ValueError("the loss Supervised needs true images, which the data do not have")
        truth = batch.truth
        peak = truth.amax((-2, -1)) ** 2
        errors = [
            ((batch.problem.lensed_image(s) - truth) ** 2).mean((-2, -1)) / peak
            for s in network.stages(batch.problem)
        ]
        return over_stages([torch.log(error + 1e-6) for error in errors])
