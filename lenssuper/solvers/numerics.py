"""Conjugate gradients, spectra by random vectors, and Gaussian random fields, shared by the solvers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from scipy.linalg import eigh_tridiagonal

from lenssuper._utils.threads import in_threads

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = [
    "LanczosRun",
    "ModulatedField",
    "StationaryField",
    "WhitenedData",
    "brightness_unit",
    "conjugate_gradients",
    "dot",
    "draw_pairs",
    "probes",
    "spectral_sums",
]


def brightness_unit(model: ForwardModel) -> float:
    """Return the brightness of the brightest pixel that is used, or the median noise if that is more."""
    used = model.weights > 0
    return float(max(np.max(model.data[used]), np.median(model.weights[used]) ** -0.5))


class WhitenedData:
    """Data in units of their noise, and the map to them from a source in units of ``scale``."""

    def __init__(self, model: ForwardModel, scale: float) -> None:
        self.model, self.scale = model, scale
        self.shape, self.used = model.in_shape, model.weights > 0
        self.data = model.whiten(model.data)
        self._operator = model.whitened

    def forward(self, source: np.ndarray) -> np.ndarray:
        """Return the image of a source in units of the noise."""
        return self._operator.forward(self.scale * source)

    def adjoint(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `forward`."""
        return self.scale * self._operator.adjoint(image)

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """Draw noise of unit variance in the pixels that are used."""
        return np.where(self.used, rng.standard_normal(self.data.shape), 0.0)


def draw_pairs(pair: Callable, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` draws, of which ``pair(rng)`` makes two of opposite deviations at a time, in threads."""
    return np.concatenate(list(in_threads(pair, rng.spawn((n + 1) // 2))))[:n]


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """
    Return the sum of products of two arrays of one shape.

    numpy's own uses the threads of BLAS. Where other threads of `in_threads` or other programs use the same
    processors, these wait for each other: a thousand times as long as they work was measured.
    """
    return float(np.einsum("i,i->", x.ravel(), y.ravel()))


def conjugate_gradients(
    matrix: Callable, right: np.ndarray, *, tol: float, max_iterations: int
) -> tuple[np.ndarray, int]:
    """
    Solve ``matrix(x) = right`` for a symmetric positive definite matrix, from x = 0.

    Hestenes & Stiefel (1952). scipy's works on flat vectors; this one keeps images as they are, which saves a
    third of the time at these sizes. `lenssuper.networks.conjugate` has one for torch, with gradients.
    Returns x and the number of iterations.
    """
    x = np.zeros_like(right)
    residual = right.copy()
    direction = right.copy()
    norm = dot(residual, residual)
    goal = tol**2 * norm
    for iteration in range(max_iterations):
        if norm <= goal:
            return x, iteration
        image = matrix(direction)
        step = norm / dot(direction, image)
        x += step * direction
        residual -= step * image
        previous, norm = norm, dot(residual, residual)
        direction *= norm / previous
        direction += residual
    return x, max_iterations


def probes(n: int, shape: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Return arrays of random signs, for `spectral_sums`."""
    return [rng.choice([-1.0, 1.0], size=shape) for _ in range(n)]


def spectral_sums(
    matrix: Callable, vectors: Sequence[np.ndarray], functions: Sequence[Callable], steps: int
) -> list[float]:
    """
    Estimate the sums of functions over the eigenvalues of a symmetric positive definite matrix.

    Stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017, SIAM J. Matrix Anal. Appl. 38, 1075, algorithm 1).
    The vectors hold random signs (see `probes`); with the same ones for two matrices, the difference of their
    sums is far more certain than either sum. The functions, of an array of eigenvalues, should vanish where
    the eigenvalues cluster; there is a sum for each. ``steps`` are those of the Lanczos iteration.
    """

    def quadrature(vector):
        nodes, weights = LanczosRun(matrix, vector).extend(steps).quadrature()
        # rounding may turn the smallest eigenvalues negative
        nodes = np.maximum(nodes, np.finfo(float).eps * nodes[-1])
        scale = vector.size / dot(vector, vector)
        return [scale * weights @ function(nodes) for function in functions]

    return np.mean(list(in_threads(quadrature, vectors)), axis=0).tolist()


class LanczosRun:
    """The spectrum of a symmetric matrix, weighted by a vector, with increasing resolution."""

    def __init__(self, matrix: Callable, vector: np.ndarray) -> None:
        self._matrix, self._shape = matrix, vector.shape
        self._norm2 = dot(vector, vector)
        self._basis = np.reshape(vector / np.sqrt(self._norm2) if self._norm2 > 0 else vector, (1, -1))
        self._diagonal: list[float] = []
        self._beside: list[float] = []

    def extend(self, steps: int) -> LanczosRun:
        """Take some steps; fewer if the Krylov space of the vector is exhausted before."""
        done = len(self._diagonal)
        steps = min(steps, self._basis.shape[1] - done)
        if self._norm2 == 0 or len(self._basis) == done:
            return self
        self._basis = np.concatenate([self._basis, np.empty((steps, self._basis.shape[1]))])
        for k in range(done, done + steps):
            known = self._basis[: k + 1]
            image = self._matrix(known[k].reshape(self._shape)).ravel()
            self._diagonal.append(dot(known[k], image))
            # orthogonal to all before, as rounding errors accumulate; not by BLAS, see `dot`
            image = image - np.einsum("i,ij->j", np.einsum("ij,j->i", known, image), known)
            norm = np.sqrt(dot(image, image))
            if norm <= 1e-10 * max(self._diagonal):
                self._basis = known
                break
            self._beside.append(norm)
            self._basis[k + 1] = image / norm
        return self

    def quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvalues, and the squared length of the vector along each, as nodes and weights."""
        if self._norm2 == 0:
            return np.zeros(1), np.zeros(1)
        n = len(self._diagonal)
        nodes, vectors = eigh_tridiagonal(np.array(self._diagonal), np.array(self._beside[: n - 1]))
        return nodes, self._norm2 * vectors[0] ** 2


class StationaryField:
    """
    A Gaussian random field with a power spectrum that falls as a power of the wavenumber.

    ``apply`` turns white noise into the field: its covariance is ``apply`` twice, P(k) proportional to
    (1 + (k length)^2)^(-slope / 2) with angular wavenumber k: a Matern field of smoothness slope / 2 - 1
    (Rasmussen & Williams 2006, eq. 4.15). The field is periodic; ``length`` is its correlation length in
    pixels, ``slope`` that of its power spectrum at small scales, ``std`` its standard deviation at a point.
    """

    def __init__(self, shape: tuple[int, int], *, length: float, slope: float, std: float) -> None:
        self.shape = tuple(shape)
        ky = 2 * np.pi * np.fft.fftfreq(shape[0])[:, None]

        def power(kx):
            return (1 + (ky**2 + kx**2) * length**2) ** (-slope / 2)

        mean = power(2 * np.pi * np.fft.fftfreq(shape[1])).mean()
        self._amplitude = std * np.sqrt(power(2 * np.pi * np.fft.rfftfreq(shape[1])) / mean)

    def apply(self, white: np.ndarray) -> np.ndarray:
        """Return the field (ny, nx) of white noise (ny, nx); the map is symmetric."""
        return scipy.fft.irfft2(scipy.fft.rfft2(white) * self._amplitude, s=self.shape)

    def invert(self, field: np.ndarray) -> np.ndarray:
        """Return the white noise (ny, nx) that `apply` turns into a field."""
        return scipy.fft.irfft2(scipy.fft.rfft2(field) / self._amplitude, s=self.shape)

    def transposed(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `apply`: itself."""
        return self.apply(image)


class ModulatedField:
    """A stationary field times a map (ny, nx) of its standard deviation, positive everywhere."""

    def __init__(self, field: StationaryField, std: np.ndarray) -> None:
        self._field, self._std = field, std

    def apply(self, white: np.ndarray) -> np.ndarray:
        """Return the field (ny, nx) of white noise (ny, nx)."""
        return self._std * self._field.apply(white)

    def transposed(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `apply`."""
        return self._field.apply(self._std * image)

    def invert(self, field: np.ndarray) -> np.ndarray:
        """Return the white noise (ny, nx) that `apply` turns into a field."""
        return self._field.invert(field / self._std)
