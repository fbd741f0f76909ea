"""
Quadratic priors on the roughness of a source.

In all of them the source is dark beyond its grid, so that sine waves which vanish one pixel outside
diagonalise them. A prior is the list of its eigenvalues: it is never singular, and its square root or inverse
costs two sine transforms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import scipy.fft

from lenssuper._utils.checks import check_kind, check_number

__all__ = [
    "CurvaturePrior",
    "GradientPrior",
    "MaternPrior",
    "QuadraticPrior",
    "check_fixed",
    "sine_transform",
]


def sine_transform(images: np.ndarray) -> np.ndarray:
    """Return the amplitudes of sine waves of images (..., ny, nx); the transform is its own inverse."""
    return scipy.fft.dstn(images, type=1, axes=(-2, -1), norm="ortho")


def _per_axis(shape: tuple[int, int], function) -> tuple[np.ndarray, np.ndarray]:
    """Return a function of the wavenumbers, in radian per pixel, of the rows (ny, 1) and columns (nx,)."""
    ky, kx = (function(np.pi * np.arange(1, n + 1) / (n + 1)) for n in shape)
    return ky[:, None], kx


def _squared_difference(k: np.ndarray) -> np.ndarray:
    """Return the mean square of the difference of neighbouring pixels in a wave, over that of the pixels."""
    return 4 * np.sin(k / 2) ** 2


class QuadraticPrior(ABC):
    """
    A Gaussian prior on the source s, of zero mean and inverse covariance lambda R.

    lambda is the strength, which is fitted to the data by the solvers; R the shape of the prior.
    """

    @abstractmethod
    def precision(self, shape: tuple[int, int], *parameters: float) -> np.ndarray:
        """
        Return the eigenvalues of R.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the source grid.
        *parameters : float
            Values of the free parameters, in the order of `search`.

        Returns
        -------
        ndarray, shape (ny, nx)
            Of the sine waves with 1 to ny half waves along y and 1 to nx along x, all positive.
        """

    def search(self, shape: tuple[int, int]) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """Return start and bounds of the free parameters of `precision`; most priors have none."""
        return np.empty(0), []

    def named(self, strength: float, *parameters: float) -> dict[str, float]:
        """Return the hyper-parameters by name."""
        return {"strength": strength}

    def apply(self, source: np.ndarray) -> np.ndarray:
        """Multiply a source (..., ny, nx) by R; for a prior without free parameters."""
        return sine_transform(self.precision(source.shape[-2:]) * sine_transform(source))


def check_fixed(prior: QuadraticPrior) -> QuadraticPrior:
    """Return a prior without parameters that are to be fitted; raise an error if it is something else."""
    check_kind(prior, "prior", QuadraticPrior, "a QuadraticPrior, e.g. GradientPrior()")
    start, _ = prior.search((8, 8))
    if len(start):
        raise ValueError(
            "prior must have all its parameters where a lens is fitted, e.g. "
            f"MaternPrior(length=10, smoothness=1); got {prior!r}"
        )
    return prior


@dataclass(frozen=True)
class GradientPrior(QuadraticPrior):
    """
    Prior on the differences of neighbouring pixels: s' R s is the sum of their squares along x and y.

    Suyu et al. 2006, MNRAS 371, 983, eq. A2, with dark pixels around the whole of the grid.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.solvers import GradientPrior
    >>> source = np.zeros((5, 5))
    >>> source[2, 2] = 1
    >>> float(np.sum(source * GradientPrior().apply(source)))
    4.0
    """

    def precision(self, shape: tuple[int, int], *parameters: float) -> np.ndarray:
        """Return the eigenvalues of R; see `QuadraticPrior.precision`."""
        ky2, kx2 = _per_axis(shape, _squared_difference)
        return ky2 + kx2


@dataclass(frozen=True)
class CurvaturePrior(QuadraticPrior):
    """
    Prior on the second differences of pixels: s' R s is the sum of their squares along x and y.

    Suyu et al. 2006, MNRAS 371, 983, eq. A3, with dark pixels around the whole of the grid.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.solvers import CurvaturePrior
    >>> source = np.zeros((5, 5))
    >>> source[2, 2] = 1
    >>> float(np.sum(source * CurvaturePrior().apply(source)))
    12.0
    """

    def precision(self, shape: tuple[int, int], *parameters: float) -> np.ndarray:
        """Return the eigenvalues of R; see `QuadraticPrior.precision`."""
        ky2, kx2 = _per_axis(shape, _squared_difference)
        return ky2**2 + kx2**2


@dataclass(frozen=True)
class MaternPrior(QuadraticPrior):
    """
    Prior of a Matern field: equal power on scales above a length, and a power law below it.

    Parameters
    ----------
    length : float, optional
        Correlation length in source pixels; fitted if not given.
    smoothness : float, optional
        Smoothness nu: the field has as many derivatives as the next lower integer; fitted if not given.

    Notes
    -----
    The power of a wave with angular wavenumber k is proportional to (2 nu / l^2 + k^2)^-(nu + 1), with length
    l and smoothness nu (Rasmussen & Williams 2006, eq. 4.15, in two dimensions). R is scaled to a mean
    variance of one over the grid, so that the strength is one over the square of the standard deviation,
    which is what the solvers report. The dark border takes away from the variance within about a length.
    """

    length: float | None = None
    smoothness: float | None = None

    def __post_init__(self) -> None:
        for name in ("length", "smoothness"):
            if getattr(self, name) is not None:
                check_number(getattr(self, name), name, above=0)

    def precision(self, shape: tuple[int, int], *parameters: float) -> np.ndarray:
        """Return the eigenvalues of R for the logarithms of length and smoothness, if these are fitted."""
        length, smoothness = self._values(parameters)
        ky2, kx2 = _per_axis(shape, _squared_difference)
        # relative to the longest wave, as the powers themselves may overflow
        relative = (2 * smoothness / length**2 + ky2 + kx2) / (2 * smoothness / length**2 + ky2[0] + kx2[0])
        precision = relative ** (smoothness + 1)
        return precision * np.mean(1 / precision)

    def search(self, shape: tuple[int, int]) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """Return start and bounds of the logarithms of length and smoothness, if these are fitted."""
        side = max(shape)
        options: list[tuple[float, float, float]] = []
        if self.length is None:
            options.append((side / 10, 1.0, 2.0 * side))
        if self.smoothness is None:
            options.append((0.5, 0.02, 6.0))
        logs = np.log(np.array(options).reshape(-1, 3))
        return logs[:, 0], [(low, high) for _, low, high in logs]

    def named(self, strength: float, *parameters: float) -> dict[str, float]:
        """Return standard deviation, length and smoothness."""
        length, smoothness = self._values(parameters)
        return {"std": float(strength**-0.5), "length": float(length), "smoothness": float(smoothness)}

    def _values(self, parameters):
        fitted = iter(np.exp(parameters))
        length = next(fitted) if self.length is None else self.length
        smoothness = next(fitted) if self.smoothness is None else self.smoothness
        return length, smoothness
