"""The default network: a log-normal source, whose prior a U-Net predicts pixel by pixel in a few stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lenssuper._utils.checks import check_count
from lenssuper.networks.bands import BandPreconditioner
from lenssuper.networks.base import LogPrior, SourceNetwork
from lenssuper.networks.conjugate import conjugate_gradients
from lenssuper.networks.features import DARK, Features
from lenssuper.networks.field import CorrelatedField
from lenssuper.networks.limits import limited
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.networks.unet import UNet

__all__ = ["Unrolled"]

# Range of the logarithm of a source's brightness, and largest changes of it in a stage
_RANGE = (-12.0, 2.3)
_RISE, _FALL = 1.5, 3.0
# Length of the learned vector that identifies the stage to the U-Net
_CONDITIONS = 8


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
        self.unet = UNet(6, 3, self.widths, conditions=_CONDITIONS)
        self.keep = nn.Parameter(torch.zeros(n_stages))
        self.log_std = nn.Parameter(torch.tensor(math.log(2.3)))
        self.field = CorrelatedField()
        self.preconditioner = BandPreconditioner()
        self.stage = nn.Parameter(0.1 * torch.randn(n_stages, _CONDITIONS))

    def stages(self, problem: SourceProblem) -> list[Tensor]:
        """Return the sources (n, ny, nx) after each stage."""
        return [source for source, _ in self._walk(problem)]

    def answer(self, problem: SourceProblem) -> tuple[Tensor, LogPrior]:
        """Return the sources (n, ny, nx) and the prior of the last stage."""
        *_, last = self._walk(problem)
        return last

    def _walk(self, problem):
        """Yield the sources after each stage, and the prior of the stage."""
        features = Features.of(problem)
        f = features.log_back_projection
        white = torch.zeros_like(f)
        for number in range(self.n_stages):
            prior, f, white = self._step(number, f, white, problem, features)
            yield f.exp(), prior

    def _step(self, number, f, white, problem, features):
        """Run one stage: a prior, and steps towards the mode of the posterior."""
        source = f.exp()
        gradient = problem.adjoint(problem.forward(source) - problem.white)
        prior = self._prior(number, f, source * gradient, source, features)
        mean, std = prior.mean, prior.std
        amplitude = self.field.amplitude(f.shape[-2:], prior.slope.reshape(-1, 1, 1))

        def field(x):
            return std * self.field(x, amplitude)

        def transposed(x):
            return self.field(std * x, amplitude)

        def curvature(x):
            return source * problem.adjoint(problem.forward(source * x))

        octaves = self.preconditioner.prepare((std * source) ** 2 * features.weight, amplitude)
        white = conjugate_gradients(
            lambda x: x + transposed(curvature(field(x))),
            transposed(curvature(f - mean) - source * gradient),
            self.cg_steps if self.training else self.cg_steps_used,
            start=white if number else None,
            preconditioner=lambda x: self.preconditioner.apply(octaves, x),
        )
        change = mean + field(white) - f
        # limited, because the problem is linear only near f
        change = torch.where(
            change > 0, _RISE * torch.tanh(change / _RISE), _FALL * torch.tanh(change / _FALL)
        )
        return prior, limited(f + change, *_RANGE), white

    def _prior(self, number, f, slope, source, features):
        """Return the U-Net's prior of the logarithm of the source."""
        # in units of its standard deviation by the noise
        misfit = slope / (1 + features.weight * source**2).sqrt()
        seen = torch.stack([f / 3 + 1, torch.tanh(misfit / 5)], dim=1)
        drawn = self.unet(torch.cat([seen, features.channels()], dim=1), self.stage[number])
        mean = DARK + self.keep[number] * (f - DARK) + drawn[:, 0]
        tilt = limited(drawn[:, 2].mean((-2, -1)), -2.0, 2.0)
        return LogPrior(
            mean=limited(mean, -10.0, 2.0),
            std=torch.exp(self.log_std + limited(drawn[:, 1], -3.0, 1.0)),
            slope=2 + (self.field.log_slope + tilt).exp(),
            length=self.field.log_length.exp(),
        )
