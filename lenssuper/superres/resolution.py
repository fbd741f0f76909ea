"""How sharply an observation sees the source plane."""

from __future__ import annotations

import numpy as np

from lenssuper.observation import Observation

__all__ = ["source_resolution"]


def source_resolution(
    observation: Observation, magnification: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """
    FWHM of the PSF in the source plane, in arcsec; NaN for source pixels not half of which are in the field.

    An image magnified by mu takes the area of the PSF down by mu, as areas go with the determinant of
    d beta / d theta (Schneider, Ehlers & Falco 1992, section 5.2). The images of a source pixel add up.
    """
    seen = np.where((coverage >= 0.5) & (magnification > 0), magnification, np.nan)
    return observation.psf_fwhm_arcsec / np.sqrt(seen)
