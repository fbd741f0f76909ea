"""The data of the shapes of a source and of other images, in most pixels of which there is no source."""

from __future__ import annotations

from copy import copy
from functools import cached_property

import numpy as np

__all__ = ["DesignMatrix"]


class DesignMatrix:
    """
    The matrix (data, n + K) from coefficients to data: of n shapes of a source, and of K other images.

    Only the rows where the source is seen are held and multiplied.

    Parameters
    ----------
    shapes : ndarray, shape (data, n)
        Data of the shapes of the source.
    others : ndarray, shape (data, K)
        Data of the other images.
    """

    def __init__(self, shapes: np.ndarray, others: np.ndarray) -> None:
        self._lit = np.flatnonzero(shapes.any(axis=1))
        self._shapes = shapes[self._lit].astype(others.dtype)
        self._others = others

    @property
    def shape(self) -> tuple[int, int]:
        """Number of data and of coefficients."""
        n_data, n_others = self._others.shape
        return n_data, self._shapes.shape[1] + n_others

    def gram(self, of_others: np.ndarray) -> np.ndarray:
        """Return the matrix's transpose times itself; ``of_others`` (K, K) is that of the other images."""
        mixed = self._shapes.T @ self._others[self._lit]
        return np.block([[self._shapes.T @ self._shapes, mixed], [mixed.T, of_others]])

    @cached_property
    def single(self) -> DesignMatrix:
        """The same in single precision."""
        found = copy(self)
        found._shapes, found._others = (part.astype(np.float32) for part in (self._shapes, self._others))
        return found

    def data(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the data (data, ...) of coefficients (n + K, ...)."""
        n = self._shapes.shape[1]
        found = self._others @ coefficients[n:]
        found[self._lit] += self._shapes @ coefficients[:n]
        return found

    def transposed(self, data: np.ndarray) -> np.ndarray:
        """Return the coefficients (n + K, ...) that the transpose makes of data (data, ...)."""
        return np.concatenate([self._shapes.T @ data[self._lit], self._others.T @ data])
