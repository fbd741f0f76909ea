"""Least squares with K Sersics: where the search starts, how components are added, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.grow import ProfileFit, bic_falls, grow
from lenssuper.light.sersic.render import ConstantRenderer, SkyRenderer
from lenssuper.light.sersic.varpro import fit, solve_amplitudes
from lenssuper.observation import Observation

__all__ = ["Search"]

# Least number of binned pixels, on which starts are tried, along a side and in the sigma of the galaxy
_SIDE, _SIDE_OF_MORE, _PIXELS_IN_SIGMA = 32, 96, 1.5
# Accuracy of the means over pixels, and the relative change of chi-square at which a search ends.
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
# Starts of a further one: R_e in units of that of the brightest one and at its centre, and in pixels on the
# brightest spot of the residuals.
_CONCENTRIC, _SPOTS = (0.2, 0.5, 2.0, 4.0), (1.5, 4.0, 10.0)
# Reduced chi-square of the first fit above which other starts are tried as well
_POOR = 1.3


class Search:
    """
    Least squares for one observation, whose masked pixels are not used.

    ``moments`` are those of the galaxy (see `~lenssuper.observation.objects.main_object`); ``sky`` says
    whether a level of the sky is fitted; ``options(n)`` returns the keywords of `Components` for n
    components.
    """

    def __init__(self, observation: Observation, moments, sky, options):
        # brightness in units of the noise: numbers near one, whatever the unit
        self._unit = float(np.median(observation.weights[observation.weights > 0])) ** -0.5
        self._correlation = observation.noise_correlation
        scaled = observation.with_data(observation.data / self._unit)
        self._all = scaled.with_weights(observation.weights * self._unit**2 / self._correlation)
        self._moments, self._sky, self._options = moments, sky, options
        side = min(observation.shape)
        sigma = np.sqrt(moments["a"] * moments["b"]) / observation.grid.side_arcsec
        self._coarse = self._all.binned(max(1, min(side // _SIDE, int(sigma / _PIXELS_IN_SIGMA))))
        self._medium = self._all.binned(max(1, side // _SIDE_OF_MORE))
        self._renderers: dict[Any, Any] = {}

    # One number of components

    def solve(self, parameters, observation=None, max_iter=_MOST) -> ProfileFit:
        """Search from ``parameters`` (K, 6), on all pixels or, roughly, on those of another observation."""
        rough = observation is not None
        observation = observation if rough else self._all
        components = self._components(len(parameters))
        renderers = self._model(components, observation, rough)
        n, (lower, upper) = components.n, components.limits()
        result = fit(
            renderers,
            components.pack(parameters),
            lower,
            upper,
            observation.data,
            observation.weights,
            nonnegative=[True] * n + [False] * (len(renderers) - 1),
            tolerance=_ROUGH_END if rough else _EXACT_END if n == 1 else _EXACT_END_OF_MORE,
            max_iter=max_iter,
        )
        return ProfileFit(components, result, np.count_nonzero(observation.weights) / self._correlation)

    def _components(self, n):
        grid = self._all.grid
        ny, nx = grid.shape
        size = float(np.hypot(ny, nx)) * grid.side_arcsec
        return Components(n, grid.middle_arcsec(), size, grid.side_arcsec, **self._options(n))

    def _model(self, components, observation, rough):
        # the kernels of a renderer are the same for all components
        key = id(observation), rough
        if key not in self._renderers:
            self._renderers[key] = SkyRenderer.of(observation, components, **(_ROUGH if rough else _EXACT))
        sky = self._renderers[key].with_components(components)
        return [sky, ConstantRenderer(observation.shape)] if self._sky else [sky]

    def _columns(self, components, free, observation):
        """Return the images (n, ny, nx) of components and sky of amplitude one, roughly."""
        return np.concatenate(
            [r.columns(free[: r.n_parameters]) for r in self._model(components, observation, True)]
        )

    def _chi2(self, parameters, observation):
        """Return chi-square of a start with the best amplitudes."""
        components = self._components(len(parameters))
        columns = self._columns(components, components.pack(parameters), observation)
        used = observation.weights > 0
        root = np.sqrt(observation.weights[used])
        columns, target = (columns[:, used] * root).T, observation.data[used] * root
        amplitudes = solve_amplitudes(columns, target, np.arange(columns.shape[1]) < components.n)
        return float(np.sum((target - columns @ amplitudes) ** 2))

    def first(self) -> ProfileFit:
        """Fit one component."""
        m = self._moments
        # a Gaussian of standard deviation s has half of its light within 1.18 s
        size = 1.18 * np.sqrt(m["a"] * m["b"])
        q = np.clip(m["b"] / m["a"], 0.1, 0.99)
        starts = [np.array([[m["x"], m["y"], f * size, n, q, m["phi"]]]) for n, f in _STARTS]
        starts.sort(key=lambda p: self._chi2(p, self._coarse))
        best = self.solve(starts[0], self._coarse, 20)
        used = np.count_nonzero(self._coarse.weights)
        if best.chi2 > _POOR * used or not best.result.converged:
            distinct = [p for p in starts[1:] if p[0, 3] != starts[0][0, 3]][:2]
            others = [self.solve(p, self._coarse, 20) for p in distinct]
            best = min([best, *others], key=lambda found: found.chi2)
        return self.solve(best.profiles)

    # More components

    def grow(self, most: int, *, by_bic: bool, done: Callable[[], object]) -> ProfileFit:
        """
        Fit ``most`` components, or fewer.

        They are added one at a time as long as there is light for another one and, with ``by_bic``, as long
        as the Bayesian information criterion falls; ``done`` is called after each.
        """

        def add(found):
            more = self._one_more(found, most, by_bic)
            done()
            return more

        def pays(more, found):
            return more is not None and more.amplitudes.min() > 0 and (not by_bic or bic_falls(more, found))

        found = grow(self.first(), add, most - 1, pays)
        # of a fixed number of components, all but the last one are added roughly
        return found if by_bic or found.components.n == most else self.solve(found.profiles)

    def _one_more(self, found, most, by_bic):
        """Add a component and fit all of them again; None if it is clear already that it does not pay."""
        before = self.solve(found.profiles, self._medium, 25) if by_bic else None
        starts = self._starts_of_more(found)
        starts.sort(key=lambda p: self._chi2(p, self._medium))
        tried = [self.solve(p, self._medium, 25) for p in _different(starts)]
        best = min(tried, key=lambda f: f.chi2)
        if not by_bic:
            return self.solve(best.profiles) if best.components.n == most else best
        # a gain on few pixels that is much less than the cost of the parameters needs no trial on all
        if best.amplitudes.min() == 0 or best.bic > before.bic + 0.5 * abs(before.bic - before.chi2):
            return None
        return self.solve(best.profiles)

    def _starts_of_more(self, found):
        old = found.profiles
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
        """Return the offset (x, y) of the most significant smoothed residual."""
        observation = self._medium
        columns = self._columns(found.components, found.result.theta, observation)
        left = observation.data - np.tensordot(found.result.amplitudes, columns, 1)
        signal = ndimage.gaussian_filter(observation.weights * left, 1.5, mode="constant")
        noise = np.sqrt(ndimage.gaussian_filter(observation.weights, 1.5, mode="constant"))
        ratio = np.where(observation.mask, -np.inf, signal / np.maximum(noise, 1e-3 * noise.max()))
        row, column = np.unravel_index(np.argmax(ratio), ratio.shape)
        return observation.grid.to_offset(float(column), float(row))

    # Back to the units of the data

    def covariance(self, found: ProfileFit) -> np.ndarray:
        """Return the covariance of x, y, R_e, n, q, phi of every component, the amplitudes, and the sky."""
        covariance = found.result.covariance
        covariance = covariance if self._sky else np.pad(covariance, (0, 1))
        return found.parameter_covariance(covariance, self._unit)

    def with_amplitudes(self, found: ProfileFit) -> tuple[np.ndarray, float]:
        """Return the parameters (K, 7), and the sky, in the unit of the data."""
        sky = float(found.result.amplitudes[-1] * self._unit) if self._sky else 0.0
        return np.column_stack([found.profiles, found.amplitudes * self._unit]), sky


def _different(starts):
    """Return the best start, and the best one whose new component has another position or size."""
    first = starts[0][-1]
    for other in starts[1:]:
        distance = np.hypot(*(other[-1, :2] - first[:2]))
        if distance > first[2] or abs(np.log(other[-1, 2] / first[2])) > 1.2:
            return [starts[0], other]
    return starts[:1]
