"""The linear solution, from which networks start that see the data in their input channels only."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.conjugate import conjugate_gradients
from lenssuper.networks.features import Features
from lenssuper.networks.learnedparts import BandPreconditioner, CorrelatedField
from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["CHANNELS", "CorrectedNetwork", "LinearSolution"]

CHANNELS = 6
"""Number of input channels of the layers of a `CorrectedNetwork`."""

# Sharpness of the softplus: the sky between galaxies is log(2) / 200 of the brightest observed pixel, which
# is below its noise
_SHARPNESS = 200.0
# Smallest standard deviation of a source, in units of the problem's scale, if there is nothing but noise
_FAINTEST = 0.03
# Share of the row sums of B'B, which are those of a flat source, that is left for waves after the PSF
_SEEN = 0.03


class LinearSolution(nn.Module):
    r"""
    The mean of the posterior of a source under a Gaussian prior: a Wiener filter through the lens.

    With the prior :math:`s = a G \xi`, white noise :math:`\xi`, a correlated field :math:`G` of unit
    variance, and data :math:`d = B s + n` in units of their noise,

    .. math:: (1 + a^2 G B^\mathsf{T} B G)\,\xi = a\,G B^\mathsf{T} d

    (MacKay 1992, Neural Computation 4, 415, eqs. 2.6-2.8; Warren & Dye 2003, ApJ 590, 673), by conjugate
    gradients. The strength :math:`a` is that which explains the mean square of the data,

    .. math:: a^2 = \frac{|d|^2 - N}{\sum_i (B 1)_i^2},

    if the field is smooth over a pixel and the PSF. This method of moments takes one product, whereas the
    evidence takes a solution and a determinant for every strength tried. Nothing in it is learned, and no
    gradient flows through it.

    ``steps`` are those of conjugate gradients, ``slope`` and ``length`` of the field as in `CorrelatedField`.
    """

    def __init__(self, *, steps: int = 30, slope: float = 3.0, length: float = 0.1) -> None:
        super().__init__()
        self.steps = steps
        self.field = CorrelatedField(slope, length).requires_grad_(False)
        self.preconditioner = BandPreconditioner().requires_grad_(False)

    @staticmethod
    def strength(problem: SourceProblem) -> Tensor:
        """Return the standard deviation (n, 1, 1) of the source, in units of the problem's scale."""
        seen = (problem.forward(problem.ones()) ** 2).sum((-2, -1), keepdim=True)
        excess = (problem.white**2 - problem.used.float()).sum((-2, -1), keepdim=True)
        return (excess.clamp(min=0) / seen.clamp(min=1e-12)).sqrt().clamp(min=_FAINTEST)

    @torch.no_grad()
    def forward(self, problem: SourceProblem, weight: Tensor) -> Tensor:
        """
        Return the sources (n, ny, nx), in units of the problem's scale; they may be negative.

        ``weight`` is that of `Features`.
        """
        # half precision would not do for sums over pixels
        with torch.autocast(problem.white.device.type, enabled=False):
            strength = self.strength(problem)
            amplitude = self.field.amplitude(problem.source_shape[1:])
            octaves = self.preconditioner.prepare(_SEEN * strength**2 * weight, amplitude)

            def prior(x):
                return strength * self.field(x, amplitude)

            white = conjugate_gradients(
                lambda x: x + prior(problem.adjoint(problem.forward(prior(x)))),
                prior(problem.adjoint(problem.white)),
                self.steps,
                preconditioner=lambda x: self.preconditioner.precondition(octaves, x),
            )
            return prior(white)


class CorrectedNetwork(SourceNetwork):
    """
    A network that corrects the linear solution in one step: it sees the data in its input channels only.

    An untrained one returns the linear solution, made positive. Subclasses define the layers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = LinearSolution()

    @abstractmethod
    def correction(self, images: Tensor) -> Tensor:
        """
        Return what is added to the linear solution before it is made positive.

        Parameters
        ----------
        images : Tensor, shape (n, CHANNELS, ny, nx)
            The linear solution, its logarithm and the `Features`.

        Returns
        -------
        Tensor, shape (n, 1, ny, nx)
            In units of the problem's scale.
        """

    def stages(self, problem: SourceProblem) -> list[Tensor]:
        """Return the sources (n, ny, nx) in a list of one."""
        features = Features.of(problem)
        linear = self.linear(problem, features.weight)
        logarithm = _positive(linear).log() / 3 + 1
        images = torch.cat([torch.stack([linear, logarithm], 1), features.channels()], dim=1)
        return [_positive(linear + self.correction(images)[:, 0].float())]


def _positive(sources):
    # the constant keeps the logarithm finite where softplus underflows
    return functional.softplus(sources, beta=_SHARPNESS) + 1e-6
