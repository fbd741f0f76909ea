"""Small images side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

__all__ = ["thumbnail"]

_GAP = 4


def thumbnail(panels: Sequence[np.ndarray], sigma: float, size: int = 120) -> bytes:
    """
    Draw images as small squares side by side, on one asinh stretch.

    Parameters
    ----------
    panels : sequence of ndarray, shape (ny, nx)
        Images in one unit; NaN where there is none.
    sigma : float
        Noise of a pixel, where the stretch turns from linear to logarithmic.
    size : int, optional
        Side of each in pixels.

    Returns
    -------
    bytes
        A PNG image; pixels that are NaN are grey.
    """
    from matplotlib import colormaps
    from matplotlib.image import imsave

    from lenssuper.plotting.images import asinh_norm  # matplotlib takes long to import

    norm = asinh_norm(*(panel[np.isfinite(panel)] for panel in panels), sigma=sigma)
    colours = colormaps["inferno"].with_extremes(bad="0.5")
    strip = np.ones((size, len(panels) * (size + _GAP) - _GAP, 4))
    strip[..., 3] = 0.0
    for k, panel in enumerate(panels):
        left = k * (size + _GAP)
        strip[:, left : left + size] = colours(norm(np.ma.masked_invalid(_resampled(panel, size))))
    buffer = io.BytesIO()
    imsave(buffer, strip, format="png", origin="lower")
    return buffer.getvalue()


def _resampled(image, size):
    """Return the nearest pixels of an image scaled to fit into a square; NaN around it."""
    ny, nx = image.shape
    side = max(ny, nx)
    step = (np.arange(size) + 0.5) * side / size
    rows, columns = np.floor(step - (side - ny) / 2), np.floor(step - (side - nx) / 2)
    inside = np.outer((rows >= 0) & (rows < ny), (columns >= 0) & (columns < nx))
    rows, columns = np.clip(rows, 0, ny - 1).astype(int), np.clip(columns, 0, nx - 1).astype(int)
    return np.where(inside, image[np.ix_(rows, columns)], np.nan)
