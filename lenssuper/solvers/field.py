"""The posterior of a source whose logarithm is a Gaussian random field, for one set of hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lenssuper.solvers.numerics import ModulatedField, StationaryField, WhitenedData, conjugate_gradients

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["MAX_CG", "MAX_NEWTON", "UNIFORM", "FieldPrior", "FieldProblem"]

# Mean of the logarithm of the brightness, relative to the brightest pixel of the image: that of the sky
# between galaxies. Results do not depend on it, because the longest waves of the field shift it freely.
_DARK = -5.0
# Correlation length as a share of the grid: beyond it the spectrum is flat.
_LENGTH = 1 / 3
# Newton's method on the negative logarithm of the posterior
MAX_NEWTON = 40
MAX_CG = 60


@dataclass(frozen=True, eq=False)
class FieldPrior:
    """
    Shape of the prior of the logarithm of the brightness.

    The field is multiplied by the map ``std`` (None for 1) and added to ``mean``, a number or a map (ny, nx);
    ``length`` is its correlation length as a share of the grid. The search for the hyper-parameters starts at
    ``log_std`` and ``slope``; the slope is at least ``least_slope``, which may be below 2 if ``mean`` is a
    map.
    """

    mean: float | np.ndarray = _DARK
    std: np.ndarray | None = None
    length: float = _LENGTH
    log_std: float = 0.9
    slope: float = 3.0
    least_slope: float = 2.05


UNIFORM = FieldPrior()


@dataclass(frozen=True)
class _State:
    """White noise with its source, residuals and energy."""

    xi: np.ndarray
    source: np.ndarray
    slope: np.ndarray
    residuals: np.ndarray
    energy: float
    converged: bool = False


class FieldProblem(WhitenedData):
    """The posterior of the white noise: data in units of the noise, brightness in units of ``scale``."""

    def __init__(
        self, model: ForwardModel, scale: float, turnover: float | None, prior: FieldPrior = UNIFORM
    ) -> None:
        super().__init__(model, scale)
        self.turnover, self.prior = turnover, prior

    def field(self, theta) -> StationaryField | ModulatedField:
        length = self.prior.length * max(self.shape)
        field = StationaryField(self.shape, length=length, slope=theta[1], std=np.exp(theta[0]))
        return field if self.prior.std is None else ModulatedField(field, self.prior.std)

    def link(self, u):
        """Return the brightness of a field, and its derivative."""
        u = np.clip(u + self.prior.mean, -50, 50)
        if self.turnover is None:
            source = np.exp(np.minimum(u, 20))
            return source, source
        return self.turnover * np.logaddexp(0, u), self.turnover / (1 + np.exp(-u))

    def state(self, field, xi, data, prior_mean):
        source, slope = self.link(field.apply(xi))
        residuals = self.forward(source) - data
        energy = 0.5 * (np.vdot(residuals, residuals) + np.sum((xi - prior_mean) ** 2))
        return _State(xi, source, slope, residuals, energy)

    def curvature(self, field, slope):
        """Return a function that applies the Gauss-Newton Hessian to white noise."""

        def apply(v):
            image = self.forward(slope * field.apply(v))
            return v + field.transposed(slope * self.adjoint(image))

        return apply

    def gradient(self, field, state, prior_mean):
        return field.transposed(state.slope * self.adjoint(state.residuals)) + state.xi - prior_mean

    def mode(self, field, xi=None, *, data=None, prior_mean=0.0, tolerance=1e-2, max_newton=MAX_NEWTON):
        """Minimise the energy until it changes by less than ``tolerance``; one sigma changes it by 1/2."""
        data = self.data if data is None else data
        state = self.state(field, np.zeros(self.shape) if xi is None else xi, data, prior_mean)
        for iteration in range(max_newton):
            gradient = self.gradient(field, state, prior_mean)
            step, _ = conjugate_gradients(
                self.curvature(field, state.slope),
                -gradient,
                tol=0.1 if iteration < 5 else 0.03,
                max_iterations=MAX_CG,
            )
            new = self._search(field, state, step, np.vdot(gradient, step), data, prior_mean)
            change, state = state.energy - new.energy, new
            if change < tolerance * max(1.0, 0.01 * abs(state.energy)):
                return replace(state, converged=True)
        return state

    def _search(self, field, state, step, descent, data, prior_mean):
        """Halve a step until the energy falls by a fixed share of the linear prediction (Armijo 1966)."""
        size = 1.0
        while size > 1e-4:
            new = self.state(field, state.xi + size * step, data, prior_mean)
            if new.energy <= state.energy + 1e-4 * size * descent:
                return new
            size /= 2
        return state
