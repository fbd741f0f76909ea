"""Least squares with K Sersics: where the search starts, how components are added, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.render import ConstantRenderer, SkyRenderer
from lenssuper.light.sersic.varpro import VarProResult, fit, solve_amplitudes
from lenssuper.observation import Observation

__all__ = ["Found", "Search"]

# Starts are tried on pixels that are put together, down to so many along a side, or to so many in the
# standard deviation of the galaxy.
_SIDE, _SIDE_OF_MORE, _PIXELS_IN_SIGMA = 32, 96, 1.5
# Accuracy of the means over pixels relative to chi-square's share, and where a search ends.
_ROUGH, _EXACT = {"tol": 1e-3, "fine": False}, {"tol": 1e-5}
_ROUGH_END, _EXACT_END, _EXACT_END_OF_MORE = 1e-3, 1e-7, 1e-5
# Most evaluations of the model
_MOST = 60
# Starts of the first component: n, and R_e in units of that of a Gaussian with the moments of the galaxy.
_STARTS = [
    (n, size)
    for n, sizes in ((0.8, (0.8, 1.2)), (2.0, (0.7, 1.1, 1.8)), (4.5, (0.5, 1, 2)))
    for size in sizes
]
# Starts of a further one: R_e in units of that of the brightest, where it is concentric, and in pixels on
# the brightest spot of what is left.
_CONCENTRIC, _SPOTS = (0.2, 0.5, 2.0, 4.0), (1.5, 4.0, 10.0)
# Reduced chi-square of the first fit above which other starts are tried, too
_POOR = 1.3


@dataclass(frozen=True, eq=False)
class Found:
    """
    K Sersics that were fitted.

    Attributes
    ----------
    components : Components
    result : VarProResult
    bic : float
        Of the noise with its correlations.
    """

    components: Components
    result: VarProResult
    bic: float

    @property
    def parameters(self) -> np.ndarray:
        """The parameters, shape (K, 6)."""
        return self.components.unpack(self.result.theta)

    @property
    def amplitudes(self) -> np.ndarray:
        """One for each component."""
        return self.result.amplitudes[: self.components.n]


class Search:
    """
    Least squares for one observation.

    Parameters
    ----------
    observation : Observation
        Pixels that are not to be used are masked.
    correlation : float
        By how much the noise of what is larger than a pixel is raised.
    moments : mapping
        Of the galaxy, as `~lenssuper.observation.objects.main_object` gives them.
    sky : bool
        Whether there is a level of the sky to be fitted.
    options : callable
        Gives the keywords of `Components` for a number of components.
    """

    def __init__(self, observation: Observation, correlation, moments, sky, options):
        # brightness in units of the noise: numbers near one, whatever the unit
        self._unit = float(np.median(observation.weights[observation.weights > 0])) ** -0.5
        scaled = observation.with_data(observation.data / self._unit)
        scaled = scaled.with_weights(observation.weights * self._unit**2 / correlation)
        self._observation, self._correlation = scaled, correlation
        self._moments, self._sky, self._options = moments, sky, options
        side = min(scaled.shape)
        sigma = np.sqrt(moments["a"] * moments["b"]) / scaled.grid.side_arcsec
        self._coarse = scaled.binned(max(1, min(side // _SIDE, int(sigma / _PIXELS_IN_SIGMA))))
        self._medium = scaled.binned(max(1, side // _SIDE_OF_MORE))
        self._renderers = {}

    # One number of components

    def solve(self, parameters, observation=None, max_iter=_MOST) -> Found:
        """Search from ``parameters`` (K, 6), on all pixels or, roughly, on those of another observation."""
        rough = observation is not None
        observation = observation if rough else self._observation
        components = self._components(len(parameters))
        renderers = self._model(components, observation, rough)
        n = components.n
        low, high = components.limits()
        result = fit(
            renderers,
            components.pack(parameters),
            low,
            high,
            observation.data,
            observation.weights,
            nonnegative=[True] * n + [False] * (len(renderers) - 1),
            tolerance=_ROUGH_END if rough else _EXACT_END if n == 1 else _EXACT_END_OF_MORE,
            max_iter=max_iter,
        )
        used = np.count_nonzero(observation.weights) / self._correlation
        count = components.n_free + n + len(renderers) - 1
        return Found(components, result, result.chi2 + count * float(np.log(used)))

    def _components(self, n):
        grid = self._observation.grid
        ny, nx = grid.shape
        size = float(np.hypot(ny, nx)) * grid.side_arcsec
        return Components(n, grid.middle_arcsec(), size, grid.side_arcsec, **self._options(n))

    def _model(self, components, observation, rough):
        # the kernels of a renderer do not depend on the components
        key = id(observation), rough
        if key not in self._renderers:
            self._renderers[key] = SkyRenderer.of(observation, components, **(_ROUGH if rough else _EXACT))
        sky = self._renderers[key].with_components(components)
        return [sky, ConstantRenderer(observation.shape)] if self._sky else [sky]

    def _chi2(self, parameters, observation):
        """Chi-square of a start with the best amplitudes."""
        components = self._components(len(parameters))
        renderers = self._model(components, observation, True)
        free = components.pack(parameters)
        columns = np.concatenate([r.columns(free[: r.n_parameters]) for r in renderers])
        used = observation.weights > 0
        root = np.sqrt(observation.weights[used])
        columns, target = (columns[:, used] * root).T, observation.data[used] * root
        nonnegative = np.arange(columns.shape[1]) < components.n
        amplitudes = solve_amplitudes(columns, target, nonnegative)
        return float(np.sum((target - columns @ amplitudes) ** 2))

    def first(self) -> Found:
        """Fit one component."""
        m = self._moments
        # a Gaussian of standard deviation s has half of its light within 1.18 s
        size = 1.18 * np.sqrt(m["a"] * m["b"])
        q = np.clip(m["b"] / m["a"], 0.1, 0.99)
        starts = [np.array([[m["x"], m["y"], f * size, n, q, m["phi"]]]) for n, f in _STARTS]
        starts.sort(key=lambda p: self._chi2(p, self._coarse))
        best = self.solve(starts[0], self._coarse, 20)
        used = np.count_nonzero(self._coarse.weights)
        if best.result.chi2 > _POOR * used or not best.result.converged:
            distinct = [p for p in starts[1:] if p[0, 3] != starts[0][0, 3]][:2]
            others = [self.solve(p, self._coarse, 20) for p in distinct]
            best = min([best, *others], key=lambda found: found.result.chi2)
        return self.solve(best.parameters)

    # More components

    def add(self, found: Found, *, exact: bool = True) -> Found:
        """Add a component, and fit all of them again."""
        starts = self._starts_of_more(found)
        starts.sort(key=lambda p: self._chi2(p, self._medium))
        tried = [self.solve(p, self._medium, 25) for p in _different(starts)]
        best = min(tried, key=lambda f: f.result.chi2)
        return self.solve(best.parameters) if exact else best

    def add_if_worth_it(self, found: Found) -> Found | None:
        """Add a component if the Bayesian information criterion says so."""
        before = self.solve(found.parameters, self._medium, 25)
        rough = self.add(found, exact=False)
        # what gains much less than its parameters cost on few pixels needs not be tried on all
        if rough.amplitudes.min() == 0 or rough.bic > before.bic + 0.5 * abs(before.bic - before.result.chi2):
            return None
        more = self.solve(rough.parameters)
        return more if more.amplitudes.min() > 0 and more.bic < found.bic else None

    def _starts_of_more(self, found):
        old = found.parameters
        brightest = old[np.argmax(found.amplitudes * old[:, 2] ** 2)]
        concentric = []
        for factor in _CONCENTRIC:
            new = brightest.copy()
            new[2:4] *= factor, 1
            new[3] = 1.0
            concentric.append(np.vstack([old, new]))
        grid = self._medium.grid
        x, y = self._brightest_spot(found)
        spots = [np.vstack([old, [x, y, size * grid.side_arcsec, 1.0, 0.8, 0.0]]) for size in _SPOTS]
        return [*concentric, *spots]

    def _brightest_spot(self, found):
        """Where most is left over, in units of the noise of a mean over some pixels."""
        observation = self._medium
        renderers = self._model(found.components, observation, True)
        columns = np.concatenate([r.columns(found.result.theta[: r.n_parameters]) for r in renderers])
        left = observation.data - np.tensordot(found.result.amplitudes, columns, 1)
        signal = ndimage.gaussian_filter(observation.weights * left, 1.5, mode="constant")
        noise = np.sqrt(ndimage.gaussian_filter(observation.weights, 1.5, mode="constant"))
        ratio = np.where(observation.mask, -np.inf, signal / np.maximum(noise, 1e-3 * noise.max()))
        row, column = np.unravel_index(np.argmax(ratio), ratio.shape)
        return observation.grid.to_offset(float(column), float(row))

    # Back to the units of the data

    def covariance(self, found: Found) -> np.ndarray:
        """Of x, y, R_e, n, q, phi of every component, the amplitudes, and the sky."""
        components, n = found.components, found.components.n
        free = components.n_free
        inner = components.jacobian(found.result.theta)
        unknown = np.isnan(inner).any(axis=1)
        jacobian = np.zeros((7 * n + 1, free + n + 1))
        jacobian[: 6 * n, :free] = np.where(unknown[:, np.newaxis], 0.0, inner)
        jacobian[6 * n :, free:] = self._unit * np.eye(n + 1)
        covariance = np.zeros((free + n + 1, free + n + 1))
        size = len(found.result.covariance)
        covariance[:size, :size] = found.result.covariance
        out = jacobian @ covariance @ jacobian.T
        # the angle of a circle is anything from 0 to pi
        for place in np.flatnonzero(unknown):
            out[place, place] = np.pi**2 / 12
        return out

    def with_amplitudes(self, found: Found) -> tuple[np.ndarray, float]:
        """Parameters (K, 7), and the sky, in the unit of the data."""
        amplitudes = found.amplitudes * self._unit
        sky = float(found.result.amplitudes[-1] * self._unit) if self._sky else 0.0
        return np.column_stack([found.parameters, amplitudes]), sky


def _different(starts):
    """The best start, and the best whose new component is elsewhere or of clearly another size."""
    first = starts[0][-1]
    for other in starts[1:]:
        distance = np.hypot(*(other[-1, :2] - first[:2]))
        if distance > first[2] or abs(np.log(other[-1, 2] / first[2])) > 1.2:
            return [starts[0], other]
    return starts[:1]
