"""Fits of several Sersics: from the best of several starts, and one profile more while that pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.profile import sersic_flux
from lenssuper.light.sersic.varpro import VarProResult

__all__ = ["ProfileFit", "best_of", "bic_falls", "grow"]

Model = TypeVar("Model")


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """K Sersics that were fitted."""

    components: Components  # what is free in them
    result: VarProResult  # parameters and amplitudes; those of the sky and of other profiles may follow
    n_pixels: float  # independent pixels

    @property
    def profiles(self) -> np.ndarray:
        """The parameters x, y, R_e, n, q, phi, shape (K, 6)."""
        return self.components.unpack(self.result.theta[: self.components.n_free])

    @property
    def start(self) -> np.ndarray:
        """The parameters that another fit may start from."""
        return self.profiles

    @property
    def amplitudes(self) -> np.ndarray:
        """Brightness at R_e, shape (K,)."""
        return self.result.amplitudes[: self.components.n]

    @property
    def fluxes(self) -> np.ndarray:
        """Brightness times arcsec^2, shape (K,)."""
        return self.amplitudes * sersic_flux(*self.profiles[:, 2:4].T)

    @property
    def brightest(self) -> np.ndarray:
        """The parameters of the profile with the most light."""
        return self.profiles[np.argmax(self.fluxes)]

    @property
    def n_parameters(self) -> int:
        """Number of all parameters and amplitudes."""
        return len(self.result.theta) + len(self.result.amplitudes)

    def parameter_covariance(self, covariance: np.ndarray, unit: float) -> np.ndarray:
        """
        Convert a covariance of the free values and the amplitudes to one of the 6 K parameters and these.

        ``unit`` is the brightness in which the amplitudes, and the sky if it follows, were fitted.
        """
        slopes = self.components.jacobian(self.result.theta[: self.components.n_free])
        unknown = np.isnan(slopes).any(axis=1)
        (n, free), rest = slopes.shape, len(covariance) - slopes.shape[1]
        jacobian = np.zeros((n + rest, free + rest))
        jacobian[:n, :free] = np.where(unknown[:, np.newaxis], 0.0, slopes)
        jacobian[n:, free:] = unit * np.eye(rest)
        out = jacobian @ covariance @ jacobian.T
        unknown = np.flatnonzero(unknown)
        out[unknown, unknown] = np.pi**2 / 12  # the angle of a circle is uniform from 0 to pi
        return out

    @property
    def chi2(self) -> float:
        """Sum of weights times squared residuals."""
        return self.result.chi2

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz 1978, Ann. Statist. 6, 461)."""
        return self.chi2 + self.n_parameters * float(np.log(self.n_pixels))


def bic_falls(more: ProfileFit, found: ProfileFit) -> bool:
    """Whether the Bayesian information criterion prefers the fit with more profiles."""
    return more.bic < found.bic


def best_of(fit: Callable[..., Any], starts: Sequence, few: int, many: int) -> Any:
    """Fit each start with ``few`` steps, and continue from the best of them with ``many``."""
    tried = [fit(start, few) for start in starts]
    return fit(min(tried, key=lambda found: found.chi2).start, many)


def grow(
    found: Model,
    add: Callable[[Model], Model],
    most: int,
    pays: Callable[[Any, Any], bool] | None = bic_falls,
) -> Model:
    """
    Add at most ``most`` profiles one at a time, as long as each improves the model.

    ``add`` returns the best model with one profile more than the one it is given, and ``pays`` says whether
    this model (its first argument) is to be preferred to the other; None adds ``most`` profiles in any case.
    """
    for _ in range(most):
        more = add(found)
        if pays is not None and not pays(more, found):
            break
        found = more
    return found
