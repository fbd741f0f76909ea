"""Equivariance: a source that is turned, moved or behind another lens is as probable as before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lenssuper.networks.turns import turned
from lenssuper.training.losses import Loss, over_stages

__all__ = ["Equivariance", "moved"]


@dataclass(frozen=True)
class Equivariance(Loss):
    """
    Observe the network's own source again, moved and through another lens, and require the same source.

    What a lens hides of one source it shows of the next, which constrains what is not measured.

    Parameters
    ----------
    weight : float, optional
    turns : bool, optional
        Whether sources are turned by quarters and mirrored.
    shift : float, optional
        Largest shift along each axis, in source pixels.
    other_lens : bool, optional
        Whether each is observed with the lens, the PSF and the noise of another one of the batch.
    noise : float, optional
        Noise of the new observation, in units of that of the old one.

    Notes
    -----
    s = f(y), without a gradient; y' = A' T s + n; the loss is log(1 + c), c the mean of (L' f(y') - L' T s)^2
    over the fine pixels, in units of the variance of an observed one (Chen, Tachella & Davies 2021, ICCV,
    4379; with noise: 2022, CVPR, 5647; with other operators: Tachella et al. 2023, JMLR 24, 39).
    """

    turns: bool = True
    shift: float = 4.0
    other_lens: bool = True
    noise: float = 1.0
    name: ClassVar[str] = "equivariance"

    def __post_init__(self) -> None:
        if self.shift < 0 or self.noise < 0:
            raise ValueError(f"shift and noise must not be negative; got {self.shift} and {self.noise}")

    def __call__(self, network, batch, generator):
        problem = batch.problem
        sources = self.transformed(network.final(problem), generator)
        white = torch.randn(problem.white.shape, generator=generator).to(sources)
        with torch.no_grad():
            again = problem.with_white(problem.forward(sources) + self.noise * white)
            expected = problem.lensed_image(sources)
        variance = batch.noise.square().flatten()
        errors = [
            ((problem.lensed_image(s) - expected) ** 2).mean((-2, -1)) / variance
            for s in network.stages(again)
        ]
        return over_stages([torch.log1p(error) for error in errors])

    def transformed(self, sources: Tensor, generator: torch.Generator) -> Tensor:
        """Turn, mirror and move sources (n, ny, nx), and exchange them between the lenses of the batch."""
        n, ny, nx = sources.shape
        quarters, mirrored, roll = (
            int(torch.randint(k, (), generator=generator)) for k in (4, 2, max(n - 1, 1))
        )
        shift = (2 * torch.rand(2, generator=generator) - 1) * self.shift
        if self.turns:
            # only square images can be turned by 90 degrees
            quarters = quarters if ny == nx else 2 * (quarters % 2)
            # mirrored after the turn, which is mirrored before the opposite one
            sources = turned(sources, -quarters if mirrored else quarters, bool(mirrored))
        if self.shift:
            sources = moved(sources, *(float(s) for s in shift))
        if self.other_lens and n > 1:
            sources = sources.roll(1 + roll, 0)
        return sources


def moved(sources: Tensor, rows: float, columns: float) -> Tensor:
    """
    Move sources (n, ny, nx) by a number of pixels; pixels moved in are dark, and none is negative.

    Whole pixels are moved as they are, fractions by phases in Fourier space, which keeps all detail.
    """
    for axis, by in ((-2, rows), (-1, columns)):
        whole = round(by)
        sources = _slid(sources, whole, axis)
        size = sources.shape[axis]
        phase = -2j * torch.pi * torch.fft.rfftfreq(size, device=sources.device) * (by - whole)
        if size % 2 == 0:
            phase[-1] = 0  # the Nyquist frequency of an even number of pixels has no other phase
        phase = phase.exp() if axis == -1 else phase.exp()[:, None]
        sources = torch.fft.irfft(torch.fft.rfft(sources, dim=axis) * phase, n=size, dim=axis)
    return sources.clamp(min=0)


def _slid(sources, by, axis):
    size = sources.shape[axis]
    if abs(by) >= size:
        return torch.zeros_like(sources)
    kept = sources.narrow(axis, max(-by, 0), size - abs(by))
    dark = torch.zeros_like(sources.narrow(axis, 0, abs(by)))
    return torch.cat([dark, kept] if by > 0 else [kept, dark], axis)
