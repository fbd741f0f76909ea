"""From lensed images to the data of one observation, in units of its noise."""

from __future__ import annotations

import numpy as np
import scipy.sparse.linalg

from lenssuper.forward.model import blur_of
from lenssuper.lensfit.exposure import Exposure
from lenssuper.operators import LensingOperator
from lenssuper.operators.base import LinearOperator
from lenssuper.operators.boxed import product_in_box

__all__ = ["Camera"]

# Images that are blurred at once: few enough to stay near the processor
_CHUNK = 16


class Camera:
    """
    The map from lensed images to the data of an observation, in the pixels that are used.

    ``factor`` lensed pixels lie along the side of an observed one. The lensed images have the pixels of
    ``image_grid``, which extends beyond the observation as far as the PSF reaches. ``data`` (data,) are over
    their noise, and made white where neighbours share it; ``others`` (data, K), likewise, are images that do
    not depend on the source, with amplitudes expected to be 0 +- 1. ``constant`` is twice the logarithm of
    the density of the noise at its peak, that of the data beyond the field included.
    """

    def __init__(self, exposure: Exposure, factor: int) -> None:
        observation, weights = exposure.part, exposure.pixel_weights
        self._blur = blur_of(observation, factor)
        self.image_grid = observation.grid.pad(self._blur.pad).refine(factor)
        self._used = weights > 0
        roots = np.sqrt(weights[self._used])
        self._roots = roots.astype(np.float32)
        self.constant = float(np.sum(np.log(weights[self._used] / (2 * np.pi)))) + exposure.beyond_field
        self._whitener = self._single = None
        if exposure.whitener is not None:
            used = self._used.ravel()
            self._whitener = exposure.whitener.matrix[used][:, used]
            self._single = self._whitener.astype(np.float32).tocsr()
            self.constant += 2 * exposure.whitener.log_det
        others = exposure.others
        others = np.zeros((0, *self._used.shape)) if others is None else others
        self.data, self.others = (
            scaled if self._whitener is None else self._whitener @ scaled
            for scaled in (roots * observation.data[self._used], (others[:, self._used] * roots).T)
        )

    def observe(self, images: np.ndarray, lensing: LensingOperator | None = None) -> np.ndarray:
        """Return the data (data, n) of lensed images (n, ny, nx), or of sources behind ``lensing``."""
        found = np.empty((len(images), len(self._roots)), dtype=np.float32)
        blurred = self._blurred(lensing)
        for part in _chunks(len(images)):
            made = blurred.forward(np.ascontiguousarray(images[part], dtype=np.float32))
            found[part] = made[:, self._used] * self._roots
        return found.T if self._single is None else self._single @ found.T

    def adjoint(self, data: np.ndarray, lensing: LensingOperator | None = None) -> np.ndarray:
        """Apply the adjoint of `observe` to data (data, n)."""
        if self._single is not None:
            data = self._single.T @ data.astype(np.float32)
        blurred = self._blurred(lensing)
        found = np.empty((data.shape[1], *blurred.in_shape), dtype=np.float32)
        for part in _chunks(len(found)):
            images = np.zeros((len(found[part]), *self._used.shape), dtype=np.float32)
            images[:, self._used] = data[:, part].T * self._roots
            found[part] = blurred.adjoint(images)
        return found

    def _blurred(self, lensing) -> LinearOperator:
        """Return the blur of lensed images, or of those of sources behind ``lensing``."""
        if lensing is None:
            return self._blur
        return product_in_box(self._blur, lensing) or self._blur @ lensing

    def unwhitened(self, data: np.ndarray) -> np.ndarray:
        """Return data (data, ...) over the noise of each pixel, as neighbours share it."""
        if self._whitener is None:
            return data
        return scipy.sparse.linalg.spsolve_triangular(self._whitener, data, lower=True)


def _chunks(n):
    return [slice(first, first + _CHUNK) for first in range(0, n, _CHUNK)]
