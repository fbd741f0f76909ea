"""
Analytic sources: sums of Sersic profiles, fitted through the lens.

Smooth galaxies are described to a few per cent by a handful of numbers (Sersic 1963, Boletin de la Asociacion
Argentina de Astronomia 6, 41; Peng et al. 2010, AJ 139, 2097), which have no pixels and no resolution limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lenssuper._utils.checks import check_count, check_rng
from lenssuper._utils.progress import quietly
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.grow import ProfileFit, best_of, bic_falls, grow
from lenssuper.light.sersic.lensed import LensedRenderer, lensed_components, lensed_guesses, profiles_on
from lenssuper.light.sersic.spread import confined, prior_widths
from lenssuper.light.sersic.varpro import fit
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.heldout import predicted_chi2

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["Sersics"]

NAMES = ("x", "y", "R_e", "n", "q", "phi", "amplitude")
# Steps of a fit from each of several starts, and from the best of them.
_FEW, _MANY = 8, 60
# Largest number of pixels in which profiles are lensed along the side of a source pixel, and of the source
# grid.
_FINER, _PIXELS = 4, 400
# Relative change of chi-square at which a fit ends.
_TOLERANCE = 1e-6
# Draws that the standard deviation is taken from.
_SPREAD = 64


class Sersics(Solver):
    r"""
    Source that is a sum of elliptical Sersic profiles.

    Parameters
    ----------
    n_components : int or None, optional
        Number of profiles; None to add them while the Bayesian information criterion improves.
    max_components : int, optional
        Largest number of profiles if ``n_components`` is None.
    n_draws : int, optional
        Draws from the posterior.

    Notes
    -----
    The source is :math:`\sum_k I_k \exp\{-b_{n_k} [(R/R_{e,k})^{1/n_k} - 1]\}`, its mean over every
    pixel, with positive :math:`I_k`, and centre, half-light radius (on the intermediate axis), index, axis
    ratio and angle of every profile free. The amplitudes are eliminated from the fit (variable projection:
    Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413). The first profile starts from the moments of the
    back-projected image, every further one from those of the residuals and from a half of an earlier one; all
    are fitted together each time.

    Draws are from the Gaussian around the best fit whose covariance is that of the parameters, within their
    bounds. The log evidence is the approximation of Schwarz (1978, Annals of Statistics 6, 461), the largest
    log likelihood less :math:`(k/2) \ln N` for k parameters and N pixels, that is -BIC/2.

    The hyper-parameters of the posterior are the parameters of the profiles, brightest first, with their
    errors: ``R_e_1``, ``R_e_1_error``, ``n_1``, ... with lengths in arcsec and angles in radian, in the
    source plane, and the amplitude, the brightness at R_e, in the unit of the data.
    `~lenssuper.light.table.sersic_table` makes a table of them.

    Unlike the other sources, this one is as smooth as a Sersic profile even where the data show otherwise:
    look at the residuals. The errors do not include what the profiles cannot describe.

    Examples
    --------
    >>> from lenssuper import SuperResolver
    >>> from lenssuper.simulate import random_mock
    >>> from lenssuper.solvers import Sersics
    >>> mock = random_mock(1, shape=(20, 20))
    >>> sr = SuperResolver(mock.lens, solver=Sersics())(mock.observation)
    >>> sorted(sr.hyperparameters)[:2]
    ['R_e_1', 'R_e_1_error']
    """

    def __init__(self, n_components: int | None = 1, *, max_components: int = 4, n_draws: int = 16) -> None:
        self.n_components = None if n_components is None else check_count(n_components, "n_components")
        self.max_components = check_count(max_components, "max_components")
        self.n_draws = check_count(n_draws, "n_draws")

    def solve(self, model: ForwardModel, *, rng=None, report: Callable | None = None) -> Posterior:
        """Find the source; see `Solver.solve`."""
        draw_rng, split_rng = check_rng(rng).spawn(2)
        report = report or quietly
        report(0.0, "looking for the source")
        # profiles are steeper than pixels that are fine enough for other sources
        finer = int(np.clip(_PIXELS // max(model.in_shape), 1, _FINER))
        fine = model.with_source_grid(model.source_grid.refine(finer))
        fits = _LensedFits(fine, model.source_grid)
        found = self._fit(fits, report)
        if not found.result.converged:
            warn(
                f"the fit of {len(found.profiles)} Sersic profiles has not converged: {found.result.message} "
                "Fewer profiles may do",
                ConvergenceWarning,
            )
        report(0.8, "drawing from the posterior")
        draw = fits.draw(found)
        draws = draw(self.n_draws + _SPREAD, draw_rng)
        mean = fits.source(found)
        report(0.9, "predicting pixels held out")
        held_out = predicted_chi2(fine, partial(_refit, found.profiles), split_rng)
        report(1.0, "done")
        return Posterior(
            mean=mean,
            std=np.sqrt(np.mean((draws[self.n_draws :] - mean) ** 2, axis=0)),
            draws=draws[: self.n_draws],
            log_evidence=fits.log_norm - found.bic / 2,
            effective_modes=float(found.n_parameters),
            hyperparameters=fits.named(found),
            held_out_chi2=held_out,
            converged=found.result.converged,
            _draw=draw,
        )

    def _fit(self, fits: _LensedFits, report: Callable) -> ProfileFit:
        """Add profiles one by one; all are fitted together each time."""
        most = self.max_components if self.n_components is None else self.n_components

        def add(found):
            n = found.components.n + 1
            report(0.8 * (n - 1) / most, f"fitting {n} profiles")
            return best_of(fits.fit, fits.more_guesses(found), _FEW, _MANY)

        first = best_of(fits.fit, fits.first_guesses(), _FEW, _MANY)
        return grow(first, add, most - 1, bic_falls if self.n_components is None else None)


class _LensedFits:
    """Fits of any number of profiles behind a lens, with data in units of the noise of a pixel."""

    def __init__(self, model: ForwardModel, grid) -> None:
        self.model, self.grid = model, grid
        used = model.weights[model.weights > 0]
        self.unit = float(1 / np.sqrt(np.median(used)))
        self.data, self.weights = model.data / self.unit, model.weights * self.unit**2
        # log of the noise's density at its peak, which the evidences of other solvers include
        self.log_norm = 0.5 * float(np.sum(np.log(used / (2 * np.pi))))
        self.n_pixels = len(used)

    def fit(self, profiles, max_iter) -> ProfileFit:
        components = lensed_components(self.model, len(profiles))
        lower, upper = components.limits()
        result = fit(
            [LensedRenderer(self.model, components)],
            components.pack(profiles),
            lower,
            upper,
            self.data,
            self.weights,
            max_iter=max_iter,
            tolerance=_TOLERANCE,
        )
        return ProfileFit(components, result, self.n_pixels)

    def first_guesses(self):
        return [guess[np.newaxis] for guess in lensed_guesses(self.model, self.data, self.weights)]

    def more_guesses(self, found):
        """Return starts with one more profile than were found."""
        left = self.data - found.result.model
        guesses = lensed_guesses(self.model, left, self.weights, found.brightest)
        return [np.vstack([found.profiles, guess]) for guess in guesses]

    def source(self, found) -> np.ndarray:
        return self.draw(found).source(found.result.theta, found.result.amplitudes)

    def draw(self, found) -> _SersicDraws:
        """Return a function that draws from the Gaussian around the best fit."""
        theta, amplitudes = found.result.theta, found.result.amplitudes
        values, vectors = np.linalg.eigh(self.covariance(found))
        low, high = found.components.limits()
        return _SersicDraws(
            grid=self.grid,
            components=found.components,
            best=np.concatenate([theta, amplitudes]),
            root=vectors * np.sqrt(np.clip(values, 0, None)),
            lower=np.concatenate([low, np.zeros(len(amplitudes))]),
            upper=np.concatenate([high, np.full(len(amplitudes), np.inf)]),
            unit=self.unit,
        )

    def covariance(self, found) -> np.ndarray:
        """Return the covariance of free parameters and amplitudes, at most that of a weak prior."""
        return confined(found.result.covariance, prior_widths(found.profiles, len(found.result.amplitudes)))

    def named(self, found) -> dict[str, float]:
        """Return the parameters and their errors by name, the brightest profile first."""
        n = len(found.profiles)
        variances = np.diag(found.parameter_covariance(self.covariance(found), self.unit))
        variances = np.column_stack([variances[: 6 * n].reshape(n, 6), variances[6 * n :]])
        values = np.column_stack([found.profiles, self.unit * found.result.amplitudes])
        named = {}
        for number, k in enumerate(np.argsort(-found.fluxes), start=1):
            for name, value, variance in zip(NAMES, values[k], variances[k], strict=True):
                named[f"{name}_{number}"] = float(value)
                named[f"{name}_{number}_error"] = float(np.sqrt(max(variance, 0.0)))
        return named


def _refit(profiles, training):
    """Return the source for another model, starting from given profiles."""
    trained = _LensedFits(training, training.source_grid)
    return trained.source(trained.fit(profiles, _MANY))


@dataclass(frozen=True)
class _SersicDraws:
    """Draw parameters from their covariance, as sources."""

    grid: Any
    components: Components
    best: np.ndarray
    root: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    unit: float

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        parameters = self.best + rng.standard_normal((n, self.root.shape[1])) @ self.root.T
        parameters = np.clip(parameters, self.lower, self.upper)
        free = self.components.n_free
        return np.stack([self.source(p[:free], p[free:]) for p in parameters])

    def source(self, theta: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
        return self.unit * np.tensordot(amplitudes, profiles_on(self.grid, self.components, theta), 1)
