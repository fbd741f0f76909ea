"""Comparison of a model with what was observed, in units of the noise."""

from __future__ import annotations

import copy
from abc import abstractmethod
from functools import cached_property
from typing import Self

import numpy as np

from lenssuper.forward.whitening import Whitener
from lenssuper.observation.noise import check_covariance
from lenssuper.operators import LinearOperator

__all__ = ["Measurement"]


class Measurement(LinearOperator):
    """
    A linear operator from a source to something observed, with the data and their noise.

    Notes
    -----
    Chi-square is the sum of w (y - A s)^2 over the pixels, with weight w = 1 / variance, and 0 for pixels
    that are not used (Warren & Dye 2003, ApJ 590, 673, eq. 3). Where the noise of neighbouring pixels is
    correlated (see `with_noise_covariance`) the likelihood uses the covariance instead, but `residuals` and
    `chi2` stay those of single pixels, as in the images that people look at.
    """

    _covariance: np.ndarray | None = None

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
        """Return weights as an array of floats, checked."""
        weights = np.asarray(weights, dtype=np.float64)
        if weights.shape != self._out_shape:
            raise ValueError(
                f"weights must have the shape of the image, {self._out_shape}; got {weights.shape}"
            )
        if not (np.isfinite(weights).all() and weights.min() >= 0):
            raise ValueError("weights must be finite and not negative")
        return weights

    @cached_property
    def _whitener(self) -> Whitener | None:
        return None if self._covariance is None else Whitener(self.weights > 0, self._covariance)

    def _copy(self) -> Self:
        """Return a copy to which other noise can be given."""
        other = copy.copy(self)
        for name in ("_root_weights", "_whitener"):
            other.__dict__.pop(name, None)
        return other

    @property
    def noise_covariance(self) -> np.ndarray | None:
        """Covariance of the noise of neighbours, see `with_noise_covariance`; None if there is none."""
        return None if self._covariance is None else self._covariance.copy()

    def with_noise_covariance(self, covariance: np.ndarray | None) -> Self:
        """
        Return the same model for noise that is correlated between neighbouring pixels.

        Parameters
        ----------
        covariance : array, shape (odd, odd), or None
            By the distance between two pixels, in units of their standard deviations, as
            `~lenssuper.Observation.noise_covariance` measures it; None for none.

        Returns
        -------
        Measurement
            With the operators of this one.

        Raises
        ------
        ValueError
            If it cannot be the covariance of noise.
        """
        other = self._copy()
        other._covariance = None if covariance is None else check_covariance(covariance)
        return other

    def over_sigma(self, image):
        """Divide an image (..., ny, nx) by the noise's standard deviation; 0 where not used."""
        root = self._root_weights
        if hasattr(image, "new_tensor"):
            return image * image.new_tensor(root)
        # single precision stays so
        return image * (root.astype(np.float32) if image.dtype == np.float32 else root)

    def whiten(self, image):
        """Turn an image (..., ny, nx) into one whose noise is white and of variance 1; 0 where not used."""
        image = self.over_sigma(image)
        return image if self._whitener is None else self._whitener._forward(image)

    def whiten_adjoint(self, image):
        """Apply the adjoint of `whiten`."""
        image = image if self._whitener is None else self._whitener._adjoint(image)
        return self.over_sigma(image)

    @property
    def whitened(self) -> LinearOperator:
        """The operator followed by `whiten`."""
        return _Whitened(self)

    @property
    def log_norm(self) -> float:
        """Logarithm of the noise's density at its peak: minus half that of det (2 pi C)."""
        weights = self.weights[self.weights > 0]
        shared = 0.0 if self._whitener is None else self._whitener.log_det
        return 0.5 * float(np.sum(np.log(weights / (2 * np.pi)))) + shared

    def residuals(self, source) -> np.ndarray:
        """Return (y - A s) / sigma, of the observation's shape; 0 where a pixel is not used."""
        return self.over_sigma(self.data - self.forward(source))

    def chi2(self, source) -> float:
        """Return the sum of the squared `residuals`."""
        return float((self.residuals(source) ** 2).sum())


class _Whitened(LinearOperator):
    """A model whose images have white noise."""

    def __init__(self, model: Measurement) -> None:
        super().__init__(model.in_shape, model.out_shape)
        self._model = model

    def _forward(self, x):
        return self._model.whiten(self._model._forward(x))

    def _adjoint(self, y):
        return self._model._adjoint(self._model.whiten_adjoint(y))
