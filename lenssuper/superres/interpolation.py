"""Cubic interpolation, which a super-resolution has to beat."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, zoom

from lenssuper.observation import Observation

__all__ = ["interpolated"]


def interpolated(observation: Observation, factor: int) -> np.ndarray:
    """
    Interpolate an image with cubic splines, without knowing of a lens or a PSF.

    Parameters
    ----------
    observation : Observation
        Masked pixels are taken from the nearest one that is not.
    factor : int
        Number of pixels along the side of an observed one.

    Returns
    -------
    ndarray, shape (factor ny, factor nx)
        At the centres of the fine pixels, in the unit of the observation per observed pixel.
    """
    nearest = distance_transform_edt(observation.mask, return_distances=False, return_indices=True)
    return zoom(observation.data[tuple(nearest)], factor, order=3, mode="nearest", grid_mode=True)
