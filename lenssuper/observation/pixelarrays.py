"""Arrays of an observation, checked."""

from __future__ import annotations

import numpy as np

from lenssuper.exceptions import ObservationError

__all__ = ["are_images", "like", "like_each", "pixel_arrays"]


def like(values, observation, name):
    """Return values as an array with the shape of the data of an observation."""
    values = np.asarray(values)
    if values.shape != observation.shape:
        raise ValueError(f"{name} must have the shape of the data, {observation.shape}; got {values.shape}")
    return values


def are_images(images: np.ndarray, shape: tuple[int, int]) -> bool:
    """Return whether an array holds finite images (n, ny, nx) of a shape (ny, nx)."""
    return images.ndim == 3 and images.shape[1:] == shape and bool(np.isfinite(images).all())


def like_each(images, observation, name):
    """Return finite images (n, ny, nx) with the shape of the data of an observation."""
    images = np.asarray(images, dtype=np.float64)
    if not are_images(images, observation.shape):
        raise ValueError(
            f"{name} must be finite images (n, ny, nx) of the shape of the data, {observation.shape}; "
            f"got {images.shape}"
        )
    return images


def pixel_arrays(data, weights, mask):
    """Return the arrays of an observation, with 0 in pixels that are masked, not finite or without weight."""
    mask = mask | ~np.isfinite(data) | ~(weights > 0)
    if mask.all():
        raise ObservationError("no pixel is left to use: all are masked")
    return {"data": np.where(mask, 0.0, data), "weights": np.where(mask, 0.0, weights), "mask": mask}
