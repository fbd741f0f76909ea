"""What a fit of a lens holds beside the lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["FitImages", "LensCovariance", "Numbers", "Offsets"]


@dataclass(frozen=True, eq=False)
class LensCovariance:
    """
    The covariance of fitted parameters.

    Attributes
    ----------
    names : tuple of str
        The fitted parameters, as in ``lens.parameters``.
    matrix : ndarray, shape (n, n)
        In arcsec, radian and 1.
    """

    names: tuple[str, ...]
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class FitImages:
    """The observation, and on its pixels what the fit makes of it; the source on its own grid."""

    observation: Observation
    model: np.ndarray
    residuals: np.ndarray
    source: np.ndarray
    source_grid: PixelGrid
    foreground: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Numbers:
    """How well a fit fits."""

    log_evidence: float
    chi2: float
    n_pixels: int
    effective_modes: float
    converged: bool


@dataclass(frozen=True, eq=False)
class Offsets:
    """By how much each observation (x, y) has to be moved, and the errors; (n, 2), in arcsec."""

    values: np.ndarray
    errors: np.ndarray

    @classmethod
    def none(cls, n: int = 1) -> Offsets:
        """Leave observations where they are."""
        return cls(np.zeros((n, 2)), np.zeros((n, 2)))
