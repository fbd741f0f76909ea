"""
A first lens model: a few Gaussians behind the lens, in place of a source that can look like anything.

A smooth source has a cost with a wide basin, where one made of pixels would rather look like the arcs. What
is not Gaussian in the arcs is forgiven: a share of their brightness is added to the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.observation import Observation
from lenssuper.operators import BlurAndBin

__all__ = ["Arcs", "FirstGuess", "first_guesses"]

# Widths of the concentric Gaussians of a component, relative to its size
_WIDTHS = np.array([0.4, 1.0, 2.2])
# Share of the arcs' brightness that is added to the noise
_TOLERANCE = 0.08
# How far a first model may stray from its start, in units of the spread of guesses
_LEASH = 4.0
# Evaluations with a Jacobian of a start, and of the best few
_FEW, _MANY = 12, 40
# Starts that are followed to the end
_KEPT = 3
# Parameters of a component: x, y, logarithm of the size in arcsec, and two of ellipticity
_PER_COMPONENT = 5
# How far ellipticity, and the logarithm of the size, of a component are expected to be from where they start
_ROUND, _SIZES = 0.3, 0.8


@dataclass(frozen=True, eq=False)
class FirstGuess:
    """A lens and the cost of its Gaussians, lower the better; ``source`` holds what `Arcs.source` takes."""

    vector: np.ndarray
    source: np.ndarray
    cost: float


class Arcs:
    """
    The arcs of an observation, to be compared with those of Gaussians behind a lens.

    Parameters
    ----------
    observation : Observation
    weights : ndarray, shape (ny, nx)
        One over the variance.
    lit : ndarray of bool, shape (ny, nx)
        Where the arcs are.
    parameters : FreeParameters
    """

    def __init__(
        self, observation: Observation, weights: np.ndarray, lit: np.ndarray, parameters: FreeParameters
    ) -> None:
        self._blur = BlurAndBin(
            observation.psf,
            1,
            observation.shape,
            oversampling=observation.psf_oversampling,
            includes_pixel=observation.psf_includes_pixel,
        )
        self._parameters = parameters
        self._x, self._y = np.broadcast_arrays(*observation.grid.pad(self._blur.pad)._centers())
        self._lit_x, self._lit_y = (v[lit] for v in np.broadcast_arrays(*observation.grid._centers()))
        self._brightness = np.maximum(observation.data[lit], 0.0)
        self._smallest = 0.3 * observation.grid._side
        self._used = weights > 0
        peak = np.quantile(observation.data[lit], 0.98)
        variance = 1 / weights[self._used] + (_TOLERANCE * peak) ** 2
        self._roots = variance**-0.5
        self._data = self._roots * observation.data[self._used]
        self._rays: tuple | None = None

    def start(self, vector: np.ndarray) -> np.ndarray:
        """Give one component, where the lens takes the light of the arcs."""
        x, y = self._trace(vector, self._lit_x, self._lit_y)
        total = self._brightness.sum()
        x0, y0 = (float(self._brightness @ v / total) for v in (x, y))
        size = np.sqrt(float(self._brightness @ ((x - x0) ** 2 + (y - y0) ** 2)) / (2 * total))
        return np.array([x0, y0, np.log(max(0.7 * size, self._smallest)), 0.0, 0.0])

    def fit(self, vector: np.ndarray, source: np.ndarray, evaluations: int) -> FirstGuess:
        """Move lens and source to where they fit best, not far from where they are."""
        n, middle = len(vector), vector
        leash = 1 / (_LEASH * self._parameters.spread)
        expected = source.copy()

        def residuals(point):
            bound = self._parameters.inside(point[:n])
            parts = [self._misfit(bound, point[n:])]
            parts.append(leash * (point[:n] - middle))
            parts.append(self._parameters.prior_residuals(bound)[0])
            for k in range(0, len(source), _PER_COMPONENT):
                parts.append((point[n + k + 2 : n + k + 3] - expected[k + 2]) / _SIZES)
                parts.append(point[n + k + 3 : n + k + 5] / _ROUND)
            return np.concatenate(parts)

        scale = np.concatenate(
            [self._parameters.spread, np.tile([0.05, 0.05, 0.3, 0.2, 0.2], len(source) // 5)]
        )
        found = least_squares(
            residuals, np.concatenate([vector, source]), x_scale=scale, max_nfev=evaluations, ftol=1e-4
        )
        return FirstGuess(self._parameters.inside(found.x[:n]), found.x[n:], float(found.cost))

    def add_component(self, guess: FirstGuess) -> np.ndarray:
        """Give the source with a component more, where the lens takes what is left of the arcs."""
        left = np.zeros(self._used.shape)
        left[self._used] = self._misfit(guess.vector, guess.source) / self._roots
        x, y = self._trace(guess.vector, *(v[self._inner] for v in (self._x, self._y)))
        size = np.exp(guess.source[2])
        near = np.hypot(x - guess.source[0], y - guess.source[1]) < 4 * size
        brightest = np.argmax(np.where(near, left, -np.inf))
        extra = [x.flat[brightest], y.flat[brightest], np.log(max(0.5 * size, self._smallest)), 0.0, 0.0]
        return np.concatenate([guess.source, extra])

    @property
    def _inner(self):
        pad = self._blur.pad
        ny, nx = self._x.shape
        return np.s_[pad : ny - pad, pad : nx - pad]

    def _misfit(self, vector, source):
        """Data less model over noise of the used pixels, brightness of all Gaussians at their best."""
        x, y = self._trace(vector, self._x, self._y, keep=True)
        parts = [self._gaussians(x, y, source[k : k + 5]) for k in range(0, len(source), _PER_COMPONENT)]
        images = self._blur.forward(np.concatenate(parts))
        columns = (images[:, self._used] * self._roots).T
        norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
        norms[norms == 0] = 1.0
        # by the normal equations, as there are many more pixels than Gaussians
        columns /= norms
        gram = columns.T @ columns + 1e-8 * np.eye(len(norms))
        root = np.linalg.cholesky(gram)
        brightness, _ = nnls(root.T, np.linalg.solve(root, columns.T @ self._data))
        return self._data - columns @ brightness

    def _gaussians(self, x, y, component):
        x0, y0, log_size, e1, e2 = component
        e = np.hypot(e1, e2)
        shrink = np.tanh(e) / e if e > 0 else 1.0
        e1, e2 = e1 * shrink, e2 * shrink
        x, y = x - x0, y - y0
        radius2 = ((1 - e1) * x**2 + (1 + e1) * y**2 - 2 * e2 * x * y) / np.sqrt(1 - e1**2 - e2**2)
        sizes = np.hypot(np.exp(np.clip(log_size, -12, 5)) * _WIDTHS, self._smallest)
        return np.exp(-0.5 * radius2 / sizes[:, None, None] ** 2)

    def _trace(self, vector, x, y, keep=False):
        if keep and self._rays is not None and np.array_equal(self._rays[0], vector):
            return self._rays[1]
        template = self._parameters.template
        alpha_x, alpha_y = template._deflection(x, y, self._parameters.values(vector))
        rays = x - alpha_x, y - alpha_y
        if keep:  # while the source alone moves the rays stay
            self._rays = vector.copy(), rays
        return rays


def first_guesses(
    arcs: Arcs, starts: Iterable[np.ndarray], report: Callable[[float, str], None]
) -> list[FirstGuess]:
    """
    Fit Gaussians behind the lens from several starts.

    Parameters
    ----------
    arcs : Arcs
    starts : iterable of ndarray
        Vectors of lens parameters.
    report : callable
        Gets the share of the work done, and a word.

    Returns
    -------
    list of FirstGuess
        The best few that differ, best first.
    """
    starts = list(starts)
    found = []
    for k, vector in enumerate(starts):
        report(0.6 * k / len(starts), "fitting Gaussians behind the lens")
        found.append(arcs.fit(vector, arcs.start(vector), _FEW))
    best = _distinct(found, arcs._parameters.spread)[:_KEPT]
    final = []
    for k, guess in enumerate(best):
        report(0.6 + 0.4 * k / len(best), "fitting Gaussians behind the lens")
        final.append(arcs.fit(guess.vector, arcs.add_component(guess), _MANY))
    return _distinct(final, arcs._parameters.spread)


def _distinct(guesses, spread):
    """The guesses by cost, without those that are next to a better one."""
    kept: list[FirstGuess] = []
    for guess in sorted(guesses, key=lambda g: g.cost):
        if all(np.max(np.abs(guess.vector - other.vector) / spread) > 0.1 for other in kept):
            kept.append(guess)
    return kept
