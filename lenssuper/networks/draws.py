"""Posterior of the logarithm of a source around a network's answer: draws, and changes of its mode."""

from __future__ import annotations

from lenssuper.networks.arrays import Array
from lenssuper.networks.conjugate import conjugate_gradients
from lenssuper.networks.field import correlated, field_amplitude
from lenssuper.networks.logprior import LogPrior
from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["LogPosterior"]

# Steps of conjugate gradients: draws of a 135 x 135 source are then within a sixth of their standard
# deviation of the exact ones, and standard deviations within 2%. A preconditioner halves the steps and
# doubles the time of each.
_STEPS = 32


class LogPosterior:
    r"""
    Posterior of the logarithm of a source near a network's answer.

    With the prior :math:`a G \xi` of the logarithm, forward model :math:`B` and source :math:`s`, all linear
    near the mode, :math:`J = B\,\mathrm{diag}(s)\,a G` and the curvature in :math:`\xi` is
    :math:`1 + J^T J`.

    Parameters
    ----------
    problem : SourceProblem
        Of n copies of one observation.
    source : Array, shape (1, ny, nx)
        The network's answer.
    prior : LogPrior
        Of this one source.
    """

    def __init__(self, problem: SourceProblem, source: Array, prior: LogPrior) -> None:
        self.problem, self.source, self.prior = problem, source, prior
        slope = prior.slope.reshape(-1, 1, 1)
        self._amplitude = field_amplitude(source.shape[-2:], slope, prior.length)

    def deviations(self, noise: Array, white: Array) -> Array:
        r"""
        Return draws (n, ny, nx) of the deviation of the logarithm from its mode.

        With white noise :math:`n` of the data and :math:`\xi_0` from the prior, a draw is

        .. math:: a G \left[ \xi_0 + (1 + J^T J)^{-1} J^T (n - J\,\xi_0) \right]

        (Hoffman & Ribak 1991, ApJ 380, L5, eq. 3).

        Parameters
        ----------
        noise : Array, shape (n, ny, nx) of the observation
            White noise, 0 where a pixel is not used.
        white : Array, shape (n, ny, nx)
            White noise on the source grid.
        """
        return self._log(white + self._solved(self._transposed(self.pull(noise - self._jacobian(white)))))

    def pull(self, residuals: Array) -> Array:
        """Return the slope of the log likelihood by the logarithm of the source."""
        return self.source * self.problem.adjoint(residuals)

    def pull_of_data(self) -> Array:
        """Return that slope for the data of the problem; the prior balances it at the mode."""
        return self.pull(self.problem.white - self.problem.forward(self.source))

    def step(self, pull: Array) -> Array:
        """Return the change (n, ny, nx) of the mode by a change of the slope: a step of Newton's method."""
        return self._log(self._solved(self._transposed(pull)))

    def _solved(self, right: Array) -> Array:
        def curvature(x):
            return x + self._transposed(self.pull(self._jacobian(x)))

        return conjugate_gradients(curvature, right, _STEPS)

    def _log(self, x):
        return self.prior.std * correlated(x, self._amplitude)

    def _jacobian(self, x):
        return self.problem.forward(self.source * self._log(x))

    def _transposed(self, pull):
        return correlated(self.prior.std * pull, self._amplitude)
