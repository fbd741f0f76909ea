"""Lenses that are fitted with and without clumps, and what a scan needs of such a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lenssuper.lens import LensModel
from lenssuper.lensfit.evidence import Inversion
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.lensedsource import LensedSource, Lenses
from lenssuper.lensfit.refine import Refined, climbed, refine
from lenssuper.lensfit.results import log_evidence
from lenssuper.solvers.priors import QuadraticPrior
from lenssuper.substructure.columns import Columns
from lenssuper.substructure.parameters import ClumpyLens
from lenssuper.substructure.scan import Marginal

__all__ = ["Fitted", "fit"]

# Step of the derivatives by the parameters, in units of their spread
_DELTA = 1e-5
# Draws from which the derivatives of the determinant are estimated
_DRAWS = 48


@dataclass(frozen=True, eq=False)
class Fitted:
    """
    A lens of the largest evidence, the source integrated out.

    The matrices of `inversion`, `columns` and `marginal` are large, and a search keeps many fits: where they
    are needed once, use those of a `copy`.
    """

    source: LensedSource
    registration: ClumpyLens
    refined: Refined

    def copy(self) -> Fitted:
        """Return the same fit without these matrices, which are made again when they are needed."""
        return replace(self)

    def with_multipoles(self, registration: ClumpyLens) -> Fitted:
        """
        Return the same lens with the multipoles of ``registration`` at zero, for a scan.

        A scan then takes them to first order only, whereas a fit may make them large to do what a clump does.
        """
        added = np.zeros(2 * len(registration.orders))
        refined = replace(self.refined, vector=np.append(self.refined.vector, added))
        return Fitted(replace(self.source, registration=registration), registration, refined)

    @property
    def lens(self) -> LensModel:
        """The lens, with multipoles and clumps."""
        return self.registration.lens(self.refined.vector)

    @property
    def lenses(self) -> Lenses:
        """The lens as the observation sees it."""
        return self.source.lenses(self.refined.vector)

    @cached_property
    def inversion(self) -> Inversion:
        """The most probable source behind the lens."""
        return self.refined.inversions[0].bare()

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence, source and parameters integrated out."""
        return log_evidence(self.registration, self.refined)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the vector."""
        return np.linalg.inv(self.refined.information)

    @property
    def pulls(self) -> dict[str, float]:
        """Distance of each parameter of the smooth lens from the mean of its prior, in sigma, by name."""
        return self.registration.pulls(self.refined.vector)

    @property
    def largest_pull(self) -> float:
        """The largest of `pulls`, without its sign; 0 if there is none."""
        return max(map(abs, self.pulls.values()), default=0.0)

    def climbed(self, vector: np.ndarray, held: Sequence[int] = ()) -> Fitted:
        """Improve a lens from another vector on, but for the elements ``held``, on the same source grid."""
        return replace(self, refined=climbed(self.refined, vector, held, np.random.default_rng(0)))

    @cached_property
    def columns(self) -> Columns:
        """Derivatives of the data by perturbations."""
        return Columns(self.inversion, self.lenses, self._draws)

    @cached_property
    def _draws(self):
        """Draws from the posterior of the source, the same for perturbers and nuisances."""
        return self.inversion.draws(_DRAWS, np.random.default_rng(0))

    @cached_property
    def marginal(self) -> Marginal:
        """Source and parameters of the lens, to be marginalised."""
        registration, vector = self.registration, self.refined.vector
        steps = _DELTA * registration.spread
        steps[registration.inside(vector + steps) < vector + steps] *= -1
        ends = [(self.source.lenses(vector + np.diag(steps)[k]), steps[k]) for k in range(len(steps))]
        nuisances, determinant = self.inversion.changes(ends, self._draws)
        residuals, rows = registration.prior_residuals(vector)
        slope = nuisances.T @ self.inversion.residuals - determinant - rows.T @ residuals
        return Marginal(self.inversion, nuisances, rows.T @ rows, slope)


def fit(
    exposure: Exposure,
    registration: ClumpyLens,
    vector: np.ndarray,
    factor: int,
    prior: QuadraticPrior,
    rng: np.random.Generator,
    report: Callable[[float, str], None],
    **options,
) -> Fitted:
    """Fit the parameters of a lens to an observation, from a vector on; ``options`` are those of `refine`."""
    source = LensedSource((exposure,), (0,), factor, registration, prior)
    return Fitted(source, registration, refine([source], vector, rng, report, **options))
