"""Comparing a model with what was observed: each pixel weighted by its noise, written down in one place."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import numpy as np

from lenssuper.operators import LinearOperator

__all__ = ["Measurement"]


class Measurement(LinearOperator):
    """
    A linear operator from a source to something observed, which it knows together with its noise.

    Notes
    -----
    Chi-square is the sum of w (y - A s)^2 over the pixels, with weight w = 1 / variance, and 0 for pixels
    that are not used (Warren & Dye 2003, ApJ 590, 673, eq. 3).
    """

    @property
    @abstractmethod
    def data(self) -> np.ndarray:
        """What was observed; 0 where it is not used."""

    @property
    @abstractmethod
    def weights(self) -> np.ndarray:
        """One over the variance of every pixel; 0 where it is not used."""

    @cached_property
    def _root_weights(self) -> np.ndarray:
        return np.sqrt(self.weights)

    def _checked_weights(self, weights):
        """Weights that may take the place of these."""
        weights = np.asarray(weights, dtype=np.float64)
        if weights.shape != self._out_shape:
            raise ValueError(
                f"weights must have the shape of the image, {self._out_shape}; got {weights.shape}"
            )
        if not (np.isfinite(weights).all() and weights.min() >= 0):
            raise ValueError("weights must be finite and not negative")
        return weights

    def whiten(self, image):
        """Multiply an image (..., ny, nx) by one over the noise's standard deviation; 0 where not used."""
        root = self._root_weights
        return image * (image.new_tensor(root) if hasattr(image, "new_tensor") else root)

    @property
    def whitened(self) -> LinearOperator:
        """The operator from a source to the image in units of the noise: the rows of A over sigma."""
        return _Whitened(self)

    def residuals(self, source) -> np.ndarray:
        """Give (y - A s) / sigma, of the observation's shape; 0 where a pixel is not used."""
        return self.whiten(self.data - self.forward(source))

    def chi2(self, source) -> float:
        """Give the sum of the squared `residuals`."""
        return float((self.residuals(source) ** 2).sum())


class _Whitened(LinearOperator):
    """A model whose images are in units of the noise."""

    def __init__(self, model: Measurement) -> None:
        super().__init__(model.in_shape, model.out_shape)
        self._model = model

    def _forward(self, x):
        return self._model.whiten(self._model._forward(x))

    def _adjoint(self, y):
        return self._model._adjoint(self._model.whiten(y))
