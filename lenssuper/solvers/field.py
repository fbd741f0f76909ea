"""The posterior of a source whose logarithm is a Gaussian random field, for one set of hyper-parameters."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lenssuper.solvers.curvature import Curvature
from lenssuper.solvers.numerics import ModulatedField, StationaryField, WhitenedData

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
# Eigenvalues of the curvature that are found for a preconditioner, and how many of them at a time
_BASIS, _BLOCK = 96, 4
# Change of the energy, relative to it, by a step that came near enough for a preconditioner to last
_NEAR = 0.05
# Error of a Newton step, squared, relative to the step
_INEXACT = 0.01


@dataclass(frozen=True, eq=False)
class FieldPrior:
    """
    Shape of the prior of the logarithm of the brightness.

    The field is multiplied by the map ``std`` and added to ``mean``, each a number or a map (ny, nx); the
    map ``roughness`` multiplies the white noise that the field is made of, see
    `lenssuper.solvers.roughness`. ``length`` is its correlation length as a share of the grid. The search for
    the hyper-parameters starts at ``log_std`` and ``slope``; the slope is at least ``least_slope``, which may
    be below 2 if ``mean`` is a map.
    """

    mean: float | np.ndarray = _DARK
    std: float | np.ndarray = 1.0
    roughness: float | np.ndarray = 1.0
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
        # from where the largest eigenvalues of the curvature are found: any images will do
        start = np.random.default_rng(0).standard_normal((_BLOCK, *self.data.shape))
        self._start = (self.used * start).astype(np.float32)

    def field(self, theta) -> StationaryField | ModulatedField:
        length = self.prior.length * max(self.shape)
        field = StationaryField(self.shape, length=length, slope=theta[1], std=np.exp(theta[0]))
        prior = self.prior
        if np.ndim(prior.std) == np.ndim(prior.roughness) == 0:
            return field
        return ModulatedField(field, std=prior.std, roughness=prior.roughness)

    def coarser(self) -> FieldProblem | None:
        """Return the problem with a faster model, see `~lenssuper.ForwardModel.coarser`; None without one."""
        model = self.model.coarser()
        return None if model is None else FieldProblem(model, self.scale, self.turnover, self.prior)

    def with_prior(self, prior: FieldPrior) -> FieldProblem:
        """Return the problem of the same data with another prior."""
        other = copy.copy(self)
        other.prior = prior
        return other

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

    def jacobian(self, field, slope):
        """Return functions that apply the derivative of the data by the white noise, and its transpose."""
        slopes = {np.dtype(kind): slope.astype(kind) for kind in (np.float32, np.float64)}

        def forward(v):
            return self.forward(slopes[v.dtype] * field.apply(v))

        def adjoint(image):
            return field.transposed(slopes[image.dtype] * self.adjoint(image))

        return forward, adjoint

    def curvature(self, field, slope, alike=None) -> Curvature:
        """Return the curvature of the posterior, with a preconditioner of its own or from another."""
        forward, adjoint = self.jacobian(field, slope)
        if alike is not None:
            return alike.renewed(forward, adjoint)
        return Curvature(forward, adjoint, self._start, _BASIS // len(self._start))

    def gradient(self, field, state, prior_mean):
        return field.transposed(state.slope * self.adjoint(state.residuals)) + state.xi - prior_mean

    def mode(self, field, xi=None, **options) -> _State:
        """Minimise the energy; as `find`."""
        return self.find(field, xi, **options)[0]

    def find(
        self,
        field,
        xi=None,
        *,
        data=None,
        prior_mean=0.0,
        tolerance=1e-2,
        max_newton=MAX_NEWTON,
        curvature=None,
        alike=None,
    ) -> tuple[_State, Curvature]:
        """
        Minimise the energy until it changes by less than ``tolerance``; one sigma changes it by 1/2.

        ``curvature`` is that of a problem that is nearly the same, whose preconditioner serves as it is; that
        of one that is ``alike`` is made anew in the same space. Returns the last state, and its curvature.
        """
        data = self.data if data is None else data
        state = self.state(field, np.zeros(self.shape) if xi is None else xi, data, prior_mean)
        near = xi is not None
        for _ in range(max_newton):
            enough = tolerance * max(1.0, 0.01 * abs(state.energy))
            gradient = self.gradient(field, state, prior_mean)
            if near and curvature is None:
                curvature = self.curvature(field, state.slope, alike)
            maps = self.jacobian(field, state.slope)
            here = Curvature(*maps) if curvature is None else curvature.at(*maps)
            downhill = -gradient[None].astype(np.float32)
            (step,), _ = here.solve(downhill, least=0.3 * enough, share=_INEXACT, steps=MAX_CG)
            new = self.search(field, state, step, np.vdot(gradient, step), data, prior_mean)
            change, state = state.energy - new.energy, new
            if change < enough:
                state = replace(state, converged=True)
                break
            near = near or change < _NEAR * state.energy
        if curvature is None:
            curvature = self.curvature(field, state.slope, alike)
        return state, curvature.at(*self.jacobian(field, state.slope))

    def search(self, field, state, step, descent, data, prior_mean):
        """Halve a step until the energy falls by a fixed share of the linear prediction (Armijo 1966)."""
        size = 1.0
        while size > 1e-4:
            new = self.state(field, state.xi + size * step, data, prior_mean)
            if new.energy <= state.energy + 1e-4 * size * descent:
                return new
            size /= 2
        return state
