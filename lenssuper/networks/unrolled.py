"""The default network: a log-normal source, whose prior a U-Net predicts pixel by pixel in a few stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lenssuper._utils.checks import check_count
from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.learnedparts import BandPreconditioner, CorrelatedField
from lenssuper.networks.logprior import LogPrior
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.networks.stages import CONDITIONS, IN_CHANNELS, OUT_CHANNELS, Learned, stages
from lenssuper.networks.unet import UNet

__all__ = ["Unrolled"]


class Unrolled(SourceNetwork):
    r"""
    Newton's method on the posterior of a log-normal source, with a prior that a U-Net predicts in every
    stage.

    In stage k the logarithm of the source has the prior :math:`f = m_k + a_k G_k \xi` with white noise
    :math:`\xi` and a correlated field :math:`G_k`. The U-Net predicts the maps :math:`m_k, a_k` and the slope
    of the field's spectrum from the source so far, its misfit, and the features of the data. A few steps of
    conjugate gradients, from the last stage's :math:`\xi`, approach the minimum of

    .. math::
        \tfrac12 \lVert r_k + J_k (m_k + a_k G_k \xi - f_k) \rVert^2 + \tfrac12 \lVert \xi \rVert^2,
        \qquad J_k = B\, \mathrm{diag}(e^{f_k}), \quad r_k = B e^{f_k} - d,

    :math:`B` and :math:`d` being forward model and data in units of the noise. An untrained network
    is `~lenssuper.solvers.LogNormal` with fixed hyper-parameters and few iterations. Learned iterations
    with data consistency by conjugate gradients: Aggarwal, Mani & Jacob 2019, IEEE Trans. Med. Imaging 38,
    394 (MoDL), eqs. 9-10.

    Parameters
    ----------
    n_stages : int, optional
    cg_steps, cg_steps_used : int, optional
        Steps of conjugate gradients in each stage, in training and in use. Weights trained with few steps are
        valid for more, which come closer to the mode.
    widths : sequence of int, optional
        Channels of the U-Net, which all stages share.
    """

    architecture = "unrolled-1"

    def __init__(
        self,
        *,
        n_stages: int = 4,
        cg_steps: int = 12,
        cg_steps_used: int = 24,
        widths: Sequence[int] = (24, 48, 96),
    ) -> None:
        super().__init__()
        self.n_stages = check_count(n_stages, "n_stages")
        self.cg_steps = check_count(cg_steps, "cg_steps")
        self.cg_steps_used = check_count(cg_steps_used, "cg_steps_used")
        self.widths = tuple(widths)
        self.unet = UNet(IN_CHANNELS, OUT_CHANNELS, self.widths, conditions=CONDITIONS)
        self.keep = nn.Parameter(torch.zeros(n_stages))
        self.log_std = nn.Parameter(torch.tensor(math.log(2.3)))
        self.field = CorrelatedField()
        self.preconditioner = BandPreconditioner()
        self.stage = nn.Parameter(0.1 * torch.randn(n_stages, CONDITIONS))

    def stages(self, problem: SourceProblem) -> list[Tensor]:
        """Return the sources (n, ny, nx) after each stage."""
        return [source for source, _ in self._walk(problem)]

    def answer(self, problem: SourceProblem) -> tuple[Tensor, LogPrior]:
        """Return the sources (n, ny, nx) and the prior of the last stage."""
        *_, last = self._walk(problem)
        return last

    def _walk(self, problem):
        """Yield the sources after each stage, and the prior of the stage."""
        learned = Learned(
            unet=self.unet,
            stage=self.stage,
            keep=self.keep,
            log_std=self.log_std,
            log_slope=self.field.log_slope,
            log_length=self.field.log_length,
            log_transmission=self.preconditioner.log_transmission,
        )
        yield from stages(learned, problem, self.cg_steps if self.training else self.cg_steps_used)
