"""What makes a fit doubtful, in words: for warnings and for the messages of a result."""

from __future__ import annotations

import numpy as np

__all__ = ["doubts_about"]

# Residual, in standard deviations, that neither noise nor an imperfect lens model explains.
_FAR_OFF = 100.0


def doubts_about(residuals: np.ndarray, modes: float) -> list[str]:
    """Say what is wrong with a fit: pixels that no source explains, and more modes than pixels."""
    doubts = []
    size = np.abs(np.nan_to_num(residuals))
    far_off = np.count_nonzero(size > _FAR_OFF)
    if far_off:
        row, column = np.unravel_index(np.argmax(size), size.shape)
        doubts.append(
            f"the model is off by more than {_FAR_OFF:g} standard deviations in {far_off} of {size.size} "
            f"pixels, by {size.max():.3g} in column {column}, row {row} (from 0): mask hot or saturated "
            "pixels, subtract the light of the lens galaxy, and compare the noise map with the scatter "
            "of the sky"
        )
    pixels = np.count_nonzero(~np.isnan(residuals))
    if modes >= pixels:
        doubts.append(
            f"the effective number of modes, {modes:.4g}, is not below the number of pixels used, {pixels}: "
            "no degrees of freedom are left and reduced_chi2 is nan; too few pixels, or pixels with far too "
            "small a noise, can cause this"
        )
    return doubts
