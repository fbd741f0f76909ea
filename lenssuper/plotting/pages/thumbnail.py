"""Data, super-resolved image and source side by side, small."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from lenssuper.plotting import asinh_norm

if TYPE_CHECKING:
    from lenssuper.superres.result import SuperResolution

__all__ = ["thumbnail"]

_GAP = 4


def thumbnail(result: SuperResolution, size: int = 120) -> bytes:
    """
    Draw data, super-resolved image and source as three small squares on one colour scale.

    Parameters
    ----------
    result : SuperResolution
    size : int, optional
        Side of each in pixels.

    Returns
    -------
    bytes
        A PNG image; pixels that are not used are grey.
    """
    from matplotlib import colormaps
    from matplotlib.image import imsave

    data = np.where(result.observation.mask, np.nan, result.observation.data)
    sigma = float(np.median(result.observation.sigma[~result.observation.mask]))
    panels = [data, result.image.data, result.source.data]
    norm = asinh_norm(*(panel[np.isfinite(panel)] for panel in panels), sigma=sigma)
    colours = colormaps["inferno"].with_extremes(bad="0.5")
    strip = np.ones((size, 3 * size + 2 * _GAP, 4))
    strip[..., 3] = 0.0
    for k, panel in enumerate(panels):
        left = k * (size + _GAP)
        strip[:, left : left + size] = colours(norm(np.ma.masked_invalid(_resampled(panel, size))))
    buffer = io.BytesIO()
    imsave(buffer, strip, format="png", origin="lower")
    return buffer.getvalue()


def _resampled(image, size):
    """The nearest pixel of an image, scaled to fit into a square."""
    ny, nx = image.shape
    side = max(ny, nx)
    step = (np.arange(size) + 0.5) * side / size
    rows, columns = np.floor(step - (side - ny) / 2), np.floor(step - (side - nx) / 2)
    inside = np.outer((rows >= 0) & (rows < ny), (columns >= 0) & (columns < nx))
    rows, columns = np.clip(rows, 0, ny - 1).astype(int), np.clip(columns, 0, nx - 1).astype(int)
    return np.where(inside, image[np.ix_(rows, columns)], np.nan)
