"""How sharply an observation sees the source plane."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lenssuper.observation import Observation

__all__ = ["psf_fwhm", "source_resolution"]

# Interpolated samples across an observed pixel: the area above half of the peak is counted in them.
_SAMPLES = 15


def source_resolution(
    observation: Observation, magnification: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """
    FWHM of the PSF in the source plane, in arcsec; NaN for source pixels not half of which are in the field.

    An image magnified by mu takes the area of the PSF down by mu, as areas go with the determinant of
    d beta / d theta (Schneider, Ehlers & Falco 1992, section 5.2). The images of a source pixel add up.
    """
    seen = np.where((coverage >= 0.5) & (magnification > 0), magnification, np.nan)
    return psf_fwhm(observation) * observation.grid.side_arcsec / np.sqrt(seen)


def psf_fwhm(observation: Observation) -> float:
    """FWHM, in observed pixels, of a circle with the area of the effective PSF above half of its peak."""
    psf, oversampling = observation.psf, observation.psf_oversampling
    if psf is None:
        return 1.0
    # Only the core is interpolated; what surrounds it is for the spline and the pixel to reach into.
    margin = 3 + oversampling
    padded = np.pad(psf, margin)
    rows, columns = np.nonzero(padded > psf.max() / 4)
    core = padded[
        rows.min() - margin : rows.max() + margin + 1, columns.min() - margin : columns.max() + margin + 1
    ]
    finer = -(-_SAMPLES // oversampling)
    zoom = [((n - 1) * finer + 1) / n for n in core.shape]  # samples stay samples
    fine = ndimage.zoom(core, zoom, order=3)
    per_pixel = finer * oversampling
    if not observation.psf_includes_pixel:
        fine = ndimage.uniform_filter(fine, per_pixel, mode="constant")
    area = np.count_nonzero(fine > fine.max() / 2) / per_pixel**2
    return max(1.0, float(2 * np.sqrt(area / np.pi)))
