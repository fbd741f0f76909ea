"""
A first lens model: the source is a few Gaussians.

With so smooth a source the cost has a wide minimum; a source of pixels might become a copy of the arcs. To
allow for sources that are not Gaussian, a share of the brightness of the arcs is added to the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import least_squares, nnls

from lenssuper.forward.model import blur_of
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.gaussians import PER_COMPONENT, Gaussians
from lenssuper.lensfit.parameters import FreeParameters

__all__ = ["Arcs", "FirstGuess", "distinct", "first_guesses"]

# Share of the arcs' brightness that is added to the noise
_TOLERANCE = 0.08
# Standard deviation of a first model about its start, in units of the spread of guesses
_LEASH = 4.0
# Most evaluations for a start, and for the best few, and relative gains of the cost that end them
_FEW, _MANY = 12, 40
_ROUGH, _FINE = 1e-3, 1e-4
# Number of starts that are fitted to the end
_KEPT = 3
# Standard deviations of ellipticity, and of the logarithm of the size, of a component about its start
_ROUND, _SIZES = 0.3, 0.8
# Step of the derivatives of the rays, in units of the spread of guesses; so short that a one-sided difference
# is accurate
_DELTA = 1e-6


@dataclass(frozen=True, eq=False)
class FirstGuess:
    """Vectors of a lens and of the Gaussians behind it, and their cost."""

    vector: np.ndarray
    source: np.ndarray
    cost: float


class Arcs:
    """The arcs of an observation, to which images of Gaussians behind a lens are fitted."""

    def __init__(self, exposure: Exposure, parameters: FreeParameters) -> None:
        observation, weights = exposure.part, exposure.tolerant(_TOLERANCE).weights
        self._blur = blur_of(observation, 1)
        self._parameters = parameters
        self._x, self._y = np.broadcast_arrays(*observation.grid.pad(self._blur.pad).centers_arcsec())
        self._light = exposure.light
        self._smallest = 0.3 * observation.grid.side_arcsec
        self._used = weights > 0
        self._roots = np.sqrt(weights[self._used])
        self._data = self._roots * observation.data[self._used]

    def start(self, vector: np.ndarray) -> np.ndarray:
        """Return one component, with centroid and size of the light of the arcs in the source plane."""
        *positions, brightness = self._light
        x, y = self._trace(vector, *positions)
        total = brightness.sum()
        x0, y0 = (float(brightness @ v / total) for v in (x, y))
        size = np.sqrt(float(brightness @ ((x - x0) ** 2 + (y - y0) ** 2)) / (2 * total))
        return np.array([x0, y0, np.log(max(0.7 * size, self._smallest)), 0.0, 0.0])

    def fit(self, vector: np.ndarray, source: np.ndarray, evaluations: int, gain: float) -> FirstGuess:
        """Fit lens and source, not far from where they start."""
        n, parameters, start = len(vector), self._parameters, np.concatenate([vector, source])
        components = len(source) // PER_COMPONENT
        # the lens, sizes and shapes are held, the sizes where they start and the shapes near round
        held = np.tile([0.0, 0.0, 1 / _SIZES, 1 / _ROUND, 1 / _ROUND], components)
        held = np.concatenate([1 / (_LEASH * parameters.spread), held])
        expected = start * np.concatenate([np.ones(n), np.tile([1, 1, 1, 0, 0], components)])
        scale = np.concatenate([parameters.spread, np.tile([0.05, 0.05, 0.3, 0.2, 0.2], components)])

        @lru_cache(maxsize=1)
        def seen(*point):
            return self._seen(parameters.inside(np.array(point[:n])), np.array(point[n:]))

        def residuals(point):
            of_prior, _ = parameters.prior_residuals(parameters.inside(point[:n]))
            return np.concatenate([seen(*point).misfit, held * (point - expected), of_prior])

        def jacobian(point):
            bound, steps = parameters.inside(point[:n]), _DELTA * parameters.spread
            moved = np.array([parameters.inside(point[:n] + step) for step in np.diag(steps)])
            _, of_prior = parameters.prior_residuals(bound)
            of_prior = of_prior @ ((moved - bound).T / steps)
            return np.concatenate(
                [
                    self._slopes(seen(*point), moved, steps),
                    np.diag(held),
                    np.pad(of_prior, ((0, 0), (0, len(source)))),
                ]
            )

        found = least_squares(residuals, start, jac=jacobian, x_scale=scale, max_nfev=evaluations, ftol=gain)
        return FirstGuess(parameters.inside(found.x[:n]), found.x[n:], float(found.cost))

    def add_component(self, guess: FirstGuess) -> np.ndarray:
        """Return the source with one more component, at the source of the largest residual."""
        left = np.zeros(self._used.shape)
        left[self._used] = self._seen(guess.vector, guess.source).misfit / self._roots
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

    def _seen(self, vector, source):
        """Return the images of Gaussians behind a lens, with the brightness that fits best."""
        rays = self._trace(vector, self._x, self._y)
        components = [Gaussians.at(*rays, part, self._smallest) for part in _parts(source)]
        images = self._blur.forward(np.concatenate([component.images for component in components]))
        columns = (images[:, self._used] * self._roots).T
        norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
        norms[norms == 0] = 1.0
        # by the normal equations, as there are many more pixels than Gaussians
        columns /= norms
        gram = columns.T @ columns + 1e-8 * np.eye(len(norms))
        root = np.linalg.cholesky(gram)
        brightness, _ = nnls(root.T, np.linalg.solve(root, columns.T @ self._data))
        misfit = self._data - columns @ brightness
        return _Seen(rays, components, columns[:, brightness > 0], brightness / norms, misfit)

    def _slopes(self, seen, moved, steps):
        """
        Return the derivatives of the misfit by the lens, from steps to other vectors, and by the source.

        The brightness of the Gaussians stays optimal, so that changes for which it compensates are projected
        out of the derivatives. The other term of variable projection, as small as the misfit, is left out
        (Kaufman 1975, BIT 15, 49); the gradient of the cost is exact all the same.
        """
        x, y = seen.rays
        along = [self._trace(vector, self._x, self._y) for vector in moved]
        along_x = np.stack([(end - x) / step for (end, _), step in zip(along, steps, strict=True)])
        along_y = np.stack([(end - y) / step for (_, end), step in zip(along, steps, strict=True)])
        each = [
            component.slopes(brightness, along_x, along_y)
            for component, brightness in zip(seen.components, _parts(seen.brightness, 3), strict=True)
        ]
        n = len(moved)
        images = np.concatenate([sum(one[:n] for one in each), *(one[n:] for one in each)])
        slopes = (self._blur.forward(images)[:, self._used] * self._roots).T
        basis, _ = np.linalg.qr(seen.columns)
        return basis @ (basis.T @ slopes) - slopes

    def _trace(self, vector, x, y):
        return self._parameters.template.rays_arcsec(x, y, self._parameters.values(vector))


@dataclass(frozen=True, eq=False)
class _Seen:
    """Gaussians behind a lens: rays, images of those with light, and (data - model) / sigma."""

    rays: tuple[np.ndarray, np.ndarray]
    components: list[Gaussians]
    columns: np.ndarray
    brightness: np.ndarray
    misfit: np.ndarray


def _parts(values, size=PER_COMPONENT):
    """Split values by component."""
    return values.reshape(-1, size)


def first_guesses(
    arcs: Arcs,
    starts: Iterable[np.ndarray],
    report: Callable[[float, str], None],
    *,
    apart: float,
) -> list[FirstGuess]:
    """
    Fit Gaussians behind the lens from several starts; return the best few that differ, in order of cost.

    ``starts`` are vectors of lens parameters; ``report`` is called with the share of the work done, and what
    is done next. Guesses differ by at least ``apart``, in units of the spread of guesses.
    """
    starts, found, final = list(starts), [], []
    for k, vector in enumerate(starts):
        report(0.6 * k / len(starts), "fitting Gaussians behind the lens")
        found.append(arcs.fit(vector, arcs.start(vector), _FEW, _ROUGH))
    best = distinct(found, arcs._parameters.spread, apart)[:_KEPT]
    for k, guess in enumerate(best):
        report(0.6 + 0.4 * k / len(best), "fitting Gaussians behind the lens")
        final.append(arcs.fit(guess.vector, arcs.add_component(guess), _MANY, _FINE))
    return distinct(final, arcs._parameters.spread, apart)


def distinct(guesses, spread: np.ndarray, apart: float) -> list:
    """Sort guesses, each with a vector and a cost, by cost, without those that are close to a better one."""
    kept: list = []
    for guess in sorted(guesses, key=lambda g: g.cost):
        if all(np.max(np.abs(guess.vector - other.vector) / spread) > apart for other in kept):
            kept.append(guess)
    return kept
