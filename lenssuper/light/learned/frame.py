"""Images as networks take them: 64 x 64 pixels, without sky, the brightest part scaled to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from lenssuper.exceptions import ObservationError
from lenssuper.light.learned.actions import SIZE

__all__ = ["Frame", "sky_level"]


@dataclass(frozen=True, eq=False)
class Frame:
    """An image in the form that networks take, and how to convert back."""

    image: np.ndarray  # (data - sky) / scale, 64 x 64, unused pixels filled from their neighbours
    sky: float  # in the unit of the data; the scale likewise
    scale: float
    side: int  # of the square, in pixels, that holds the data in its middle
    corner: np.ndarray  # pixel coordinates (column, row) of the corner of the square

    @classmethod
    def of(cls, data: np.ndarray, mask: np.ndarray | None = None) -> Frame:
        """
        Convert an image (ny, nx); pixels that are masked or not finite are not used.

        Raise an ObservationError if no pixel can be used, or none is brighter than the sky.
        """
        data = np.asarray(data, dtype=np.float64)
        if data.ndim != 2 or data.size == 0:
            raise ObservationError(f"an image must be two-dimensional; got shape {data.shape}")
        use = np.isfinite(data) & (True if mask is None else ~np.asarray(mask, dtype=bool))
        if not use.any():
            raise ObservationError("no pixel of the image can be used: all are masked or not finite")
        sky = sky_level(data, use)
        side = max(data.shape)
        image, share = _resampled(np.where(use, data - sky, 0.0), use, side)
        image = _fill(image, share)
        scale = float(uniform_filter(image, 3, mode="constant").max())
        if not scale > 1e-12 * (abs(sky) + np.abs(data[use]).max()):
            raise ObservationError("the image has no light above its sky: no Sersic can be added to it")
        corner = np.array([(n - side) / 2 - 0.5 for n in data.shape[::-1]])
        return cls((image / scale).astype(np.float32), sky, scale, side, corner)


def sky_level(data: np.ndarray, use: np.ndarray | None = None) -> float:
    """
    Return the brightness of the sky: the second lowest median of eight pieces along the border of an image.

    If no pixel of the border can be used, it is the smallest value of the image.
    """
    use = np.isfinite(data) if use is None else use
    ny, nx = data.shape
    deep_y, deep_x = max(1, round(0.06 * ny)), max(1, round(0.06 * nx))
    upper, lower = np.s_[: (ny + 1) // 2], np.s_[ny // 2 :]
    left, right = np.s_[: (nx + 1) // 2], np.s_[nx // 2 :]
    first_y, last_y, first_x, last_x = np.s_[:deep_y], np.s_[-deep_y:], np.s_[:deep_x], np.s_[-deep_x:]
    pieces = [(rows, columns) for rows in (first_y, last_y) for columns in (left, right)]
    pieces += [(rows, columns) for rows in (upper, lower) for columns in (first_x, last_x)]
    medians = sorted(float(np.median(data[piece][use[piece]])) for piece in pieces if use[piece].any())
    if not medians:
        return float(data[use].min())
    return medians[min(1, len(medians) - 1)]


def _resampled(data, use, side):
    """Return the means over the used part of every new pixel, and the size of that part."""
    rows, columns = (_overlaps(n, side) for n in data.shape)
    share = rows @ use @ columns.T
    with np.errstate(invalid="ignore"):
        image = (rows @ data @ columns.T) / share
    # Pixels outside of the image are dark, not unknown.
    beside = (rows.sum(1)[:, None] * columns.sum(1)) < 0.5
    return np.where(beside, 0.0, image), np.where(beside, 1.0, share)


def _overlaps(count, side):
    """Return the fraction of each of the 64 new pixels that each of the ``count`` central old ones covers."""
    start = np.arange(count) + (side - count) / 2
    edges = np.arange(SIZE + 1) * side / SIZE
    low = np.maximum(edges[:-1, None], start)
    high = np.minimum(edges[1:, None], start + 1)
    return np.clip(high - low, 0, None) * SIZE / side


def _fill(image, share):
    """Replace pixels of which less than a fifth was used by averages of those around them."""
    known = share > 0.2
    image = np.where(known, image, 0.0)
    filled, width = known.copy(), 1.0
    while not filled.all():
        weight = gaussian_filter(known.astype(float), width, mode="constant")
        near = ~filled & (weight > 1e-3)
        around = gaussian_filter(np.where(known, image, 0.0), width, mode="constant")
        image[near] = around[near] / weight[near]
        filled |= near
        width *= 2
    return image
