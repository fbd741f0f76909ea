"""How well a super-resolution fits, in numbers, and how finely it resolves the source."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from lenssuper._utils.units import arcsec

if TYPE_CHECKING:
    from lenssuper.observation import Observation
    from lenssuper.solvers import Posterior

__all__ = ["Quality"]


class Quality(ABC):
    """A result with an observation, a posterior, residuals, coverage and magnification."""

    observation: Observation
    posterior: Posterior
    residuals: np.ndarray
    coverage: np.ndarray
    magnification: np.ndarray

    @property
    def chi2(self) -> float:
        """Sum of the squared `residuals`."""
        return float(np.nansum(self.residuals**2))

    @property
    def n_pixels(self) -> int:
        """Number of observed pixels that are used."""
        return int(np.count_nonzero(~np.isnan(self.residuals)))

    @property
    def effective_modes(self) -> float:
        """Number of modes of the source that the data measure; NaN if the solver does not give it."""
        return float(self.posterior.effective_modes)

    @property
    def reduced_chi2(self) -> float:
        """
        `chi2` over (`n_pixels` less `effective_modes`): 1 for a model and a noise that are right.

        NaN where the solver does not tell the number of modes, or finds as many as there are pixels.
        """
        freedom = self.n_pixels - self.effective_modes
        return self.chi2 / freedom if freedom > 0 else math.nan

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of the evidence; NaN if the solver does not give it."""
        return float(self.posterior.log_evidence)

    @property
    def held_out_chi2(self) -> float:
        """Chi-square per pixel of pixels left out of the fit; NaN if the solver did not hold out any."""
        return float(self.posterior.held_out_chi2)

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """Hyper-parameters of the prior as fitted, read-only."""
        return MappingProxyType(dict(self.posterior.hyperparameters))

    @property
    def resolution_arcsec(self) -> np.ndarray:
        """`resolution` in arcsec, as an array."""
        # An image magnified by mu has 1 / mu of the area of the PSF, as areas scale with the determinant of
        # d beta / d theta (Schneider, Ehlers & Falco 1992, section 5.2). The images of a source pixel add up.
        seen = (self.coverage >= 0.5) & (self.magnification > 0)
        return self.observation.psf_fwhm_arcsec / np.sqrt(np.where(seen, self.magnification, np.nan))

    @property
    def resolution(self) -> u.Quantity:
        """
        FWHM of the PSF in the source plane, shape of the source grid; NaN for pixels outside of the field.

        It is FWHM / sqrt(`magnification`), where the FWHM is that of a circle with the area of the PSF above
        half of its peak, not less than an observed pixel: the total magnification is the number of resolution
        elements that look at one PSF area of the source. Where the lens stretches the image in one direction
        only, the resolution is better in that direction than this mean of the two.

        The map shows what the optics and the lens allow; in bright parts, where the PSF is deconvolved, the
        source can be sharper, and in faint ones the prior is smoother.
        """
        return arcsec(self.resolution_arcsec)
