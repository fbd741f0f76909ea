"""The point spread function of an image as an array: its check, its width, and that of larger pixels."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError

__all__ = ["check_psf", "fwhm_in_pixels", "psf_of_larger_pixels"]

# A PSF whose sum is this close to one is taken as normalised: float32 sums are good to about 1e-6.
_TOLERANCE = 1e-4
# Interpolated samples across an observed pixel: the area above half of the peak is counted in them.
_SAMPLES = 15


def check_psf(psf) -> np.ndarray:
    """Return a PSF as an array (odd, odd) of sum one, float64, and warn if it had another sum."""
    psf = np.asarray(psf)
    if psf.ndim != 2 or psf.dtype.kind not in "iuf":
        raise ObservationError(f"the psf must be a two-dimensional array; got shape {psf.shape}, {psf.dtype}")
    if psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ObservationError(
            "the psf must have an odd number of rows and of columns, so that its centre is a pixel; "
            f"got {psf.shape}. If its peak is on pixel (n // 2, n // 2) of an even axis drop the first one, "
            "psf[1:, 1:]; if it is centred between pixels move it, "
            "scipy.ndimage.shift(numpy.pad(psf, ((0, 1), (0, 1))), 0.5)"
        )
    psf = psf.astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(psf))
    if bad:
        raise ObservationError(f"the psf must be finite; got {bad} pixels that are NaN or infinite")
    total = psf.sum()
    if not total > 0:
        raise ObservationError(f"the psf must have a positive sum; got {total:.6g}")
    if abs(total - 1) > _TOLERANCE:
        warn(f"the psf sums to {total:.6g}; it is normalised to one")
    return psf / total


def fwhm_in_pixels(psf: np.ndarray | None, oversampling: int, includes_pixel: bool) -> float:
    """
    Measure the width of a PSF as the pixels see it: the diameter of a disc with its area above half maximum.

    In observed pixels, and not less than one.
    """
    if psf is None:
        return 1.0
    # Only the core is interpolated; the spline and the pixel reach into the margin around it.
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
    if not includes_pixel:
        fine = ndimage.uniform_filter(fine, per_pixel, mode="constant")
    area = np.count_nonzero(fine > fine.max() / 2) / per_pixel**2
    return max(1.0, float(2 * np.sqrt(area / np.pi)))


def psf_of_larger_pixels(psf: np.ndarray | None, step: int) -> np.ndarray | None:
    """Return roughly the effective PSF of pixels as large as ``step`` samples of the given one."""
    if psf is None:
        return None
    # a mean over ``step`` samples, centred on one of them
    box = np.ones(step + 1 - step % 2)
    if step % 2 == 0:
        box[[0, -1]] = 0.5
    windows = sliding_window_view(np.pad(psf, len(box) - 1), (len(box), len(box)))
    blurred = np.einsum("ijkl,k,l->ij", windows, box, box, optimize=True) / box.sum() ** 2
    sides = [n // 2 % step for n in blurred.shape]
    psf = np.maximum(blurred[sides[0] :: step, sides[1] :: step], 0)
    return psf / psf.sum()
