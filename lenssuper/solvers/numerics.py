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
    "batches",
    "brightness_unit",
    "conjugate_gradients",
    "dot",
    "draw_pairs",
    "probes",
    "ratio",
]

# Images that are computed together: with more, they do not fit the cache.
_TOGETHER = 4


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
        # the unit is in the weights, so that single precision can hold all numbers whatever that of the data
        self._operator = model.with_weights(model.weights * scale**2).whitened

    def forward(self, source: np.ndarray) -> np.ndarray:
        """Return the image of a source (..., ny, nx) in units of the noise, in the source's precision."""
        return self._operator.forward(source)

    def adjoint(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `forward`."""
        return self._operator.adjoint(image)

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """Draw noise of unit variance in the pixels that are used."""
        return np.where(self.used, rng.standard_normal(self.data.shape), 0.0)


def draw_pairs(pairs: Callable, n: int, rng: np.random.Generator) -> np.ndarray:
    """
    Return ``n`` draws, in pairs of opposite deviations that follow each other.

    ``pairs(generators)`` makes two for each of some random generators; it is called in threads.
    """
    parts = in_threads(pairs, batches(rng.spawn((n + 1) // 2)))
    return np.concatenate(list(parts))[:n]


def batches(items):
    """Return parts of a sequence, as many items in each as are computed together."""
    return [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]


def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """
    Return the sum of products of the images (..., ny, nx) of two arrays of one shape, one for each image.

    numpy's own uses the threads of BLAS. Where other threads of `in_threads` or other programs use the same
    processors, these wait for each other: a thousand times as long as they work was measured.
    """
    flat = (*x.shape[:-2], -1)
    return np.einsum("...i,...i->...", x.reshape(flat), y.reshape(flat))


def conjugate_gradients(
    matrix: Callable,
    right: np.ndarray,
    *,
    tol: float,
    max_iterations: int,
    inverse: Callable | None = None,
) -> tuple[np.ndarray, int]:
    """
    Solve ``matrix(x) = right`` for a symmetric positive definite matrix, from x = 0.

    Hestenes & Stiefel (1952). scipy's works on flat vectors; this one keeps images as they are, which saves a
    third of the time at these sizes, and solves for several right sides (n, ny, nx) at once, each of which
    stops at the tolerance. `lenssuper.networks.conjugate` has one for torch, with gradients. ``inverse``, for
    one right side, is the inverse of a matrix that is close, as a preconditioner: fewer iterations are needed
    (Shewchuk 1994, An Introduction to the Conjugate Gradient Method, B3). Returns x and the number of
    iterations.
    """
    x = np.zeros_like(right)
    residual = right.copy()
    norm = dot(residual, residual)
    goal = tol**2 * norm
    toward = residual if inverse is None else inverse(residual)
    gain = norm if inverse is None else dot(residual, toward)
    direction = toward.copy()
    for iteration in range(max_iterations):
        going = norm > goal
        if not going.any():
            return x, iteration
        image = matrix(direction)
        step = ratio(gain, dot(direction, image), going)
        x += step * direction
        residual -= step * image
        previous, norm = gain, dot(residual, residual)
        toward = residual if inverse is None else inverse(residual)
        gain = norm if inverse is None else dot(residual, toward)
        direction *= ratio(gain, previous, going)
        direction += toward
    return x, max_iterations


def ratio(above: np.ndarray, below: np.ndarray, going: np.ndarray) -> np.ndarray:
    """Return a quotient for each image, to multiply it with; 0 for those that are not ``going``."""
    return np.divide(above, below, out=np.zeros_like(above), where=going)[..., None, None]


def probes(n: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return images (n, ny, nx) of random signs."""
    return rng.choice([-1.0, 1.0], size=(n, *shape))


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
            self._diagonal.append(float(dot(known[k], image)))
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
        self._log_scale, self._length, self._slope = np.log(std) - 0.5 * np.log(mean), length, slope

    def log_amplitude(self, k: float) -> float:
        """Return the logarithm of what `apply` multiplies a wave of ``k`` radians a pixel by."""
        return float(self._log_scale - 0.25 * self._slope * np.log1p((k * self._length) ** 2))

    def apply(self, white: np.ndarray) -> np.ndarray:
        """Return the field (..., ny, nx) of white noise (..., ny, nx); the map is symmetric."""
        amplitude = self._amplitude.astype(white.dtype, copy=False)
        return scipy.fft.irfft2(scipy.fft.rfft2(white) * amplitude, s=self.shape)

    def invert(self, field: np.ndarray) -> np.ndarray:
        """Return the white noise (ny, nx) that `apply` turns into a field."""
        return scipy.fft.irfft2(scipy.fft.rfft2(field) / self._amplitude, s=self.shape)

    def transposed(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `apply`: itself."""
        return self.apply(image)


class ModulatedField:
    """
    A stationary field that varies: the white noise times a map, and the field of that times another.

    ``roughness`` and ``std`` are maps (ny, nx), positive everywhere, or 1.
    """

    def __init__(
        self, field: StationaryField, *, std: np.ndarray | float = 1.0, roughness: np.ndarray | float = 1.0
    ) -> None:
        self._field, self._std, self._roughness = field, np.asarray(std), np.asarray(roughness)
        self.log_amplitude = field.log_amplitude

    def apply(self, white: np.ndarray) -> np.ndarray:
        """Return the field (..., ny, nx) of white noise (..., ny, nx)."""
        std, roughness = (each.astype(white.dtype, copy=False) for each in (self._std, self._roughness))
        return std * self._field.apply(roughness * white)

    def transposed(self, image: np.ndarray) -> np.ndarray:
        """Apply the transpose of `apply`."""
        std, roughness = (each.astype(image.dtype, copy=False) for each in (self._std, self._roughness))
        return roughness * self._field.apply(std * image)

    def invert(self, field: np.ndarray) -> np.ndarray:
        """Return the white noise (ny, nx) that `apply` turns into a field."""
        return self._field.invert(field / self._std) / self._roughness
