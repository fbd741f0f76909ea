"""The light in front of the arcs, of which a fit of the lens may change how bright its parts are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.nddata import NDData

from lenssuper.light import ForegroundFit, SersicFit
from lenssuper.observation import Observation

__all__ = ["Foreground"]


@dataclass(frozen=True, eq=False)
class Foreground:
    """
    Images of what is in front, and how much of each there may be beside what is expected.

    Attributes
    ----------
    expected : ndarray, shape (ny, nx)
        In the unit of the data.
    parts : ndarray, shape (K, ny, nx)
        What may be added, times a number that is expected to be 0 +- 1. The last is the sky.
    """

    expected: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, given, observation: Observation) -> Foreground | None:
        """
        Read what a user gives.

        Parameters
        ----------
        given : SersicFit, ForegroundFit, NDData, ndarray of shape (ny, nx) or (K, ny, nx), or None
        observation : Observation

        Raises
        ------
        TypeError, ValueError
            If it is something else, has other pixels, or is not a number where there are data.
        """
        if given is None:
            return None
        if isinstance(given, ForegroundFit):
            expected, parts = given.light, given.fit.component_images()
        else:
            parts = _images(given)
            expected = parts.sum(axis=0)
        if parts.shape[1:] != observation.shape or not len(parts):
            raise ValueError(
                f"foreground must have the observation's {observation.shape} pixels; got {parts.shape[1:]}"
            )
        known = np.isfinite(expected) & np.isfinite(parts).all(axis=0)
        if not known[~observation.mask].all():
            raise ValueError("foreground must be finite where there are data")
        expected, parts = (np.where(known, images, 0.0) for images in (expected, parts))
        sky = np.full(observation.shape, np.median(observation.sigma[~observation.mask]))
        return cls(expected, np.concatenate([parts, sky[None]]))

    def with_amplitudes(self, numbers: np.ndarray) -> np.ndarray:
        """Give the image with so much of each part added."""
        return self.expected + np.tensordot(numbers, self.parts, axes=1)


def _images(given):
    if isinstance(given, SersicFit):
        return given.component_images()
    if isinstance(given, NDData):
        given = given.data
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "iuf":
        raise TypeError(
            "foreground must be a SersicFit, a ForegroundFit, or an image of each part of the foreground, "
            f"of shape (K, ny, nx); got {given!r:.80}"
        )
    if given.ndim not in (2, 3):
        raise ValueError(f"foreground must have the shape (K, ny, nx) or (ny, nx); got {given.shape}")
    return given.reshape(-1, *given.shape[-2:]).astype(np.float64)
