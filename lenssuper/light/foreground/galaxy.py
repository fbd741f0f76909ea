"""The fit of a lens galaxy: starts, bounds, arcs, and the result of the best fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from scipy import ndimage

from lenssuper._utils.units import to_arcsec
from lenssuper.forward.model import ForwardModel
from lenssuper.light.fit import SersicFit
from lenssuper.light.foreground.arcs import find_arcs, first_arcs
from lenssuper.light.foreground.fit import ForegroundFit
from lenssuper.light.foreground.isophotes import fit_isophotes, unmodelled_share
from lenssuper.light.foreground.modelerror import limited, with_model_error
from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.grow import ProfileFit, best_of
from lenssuper.light.sersic.lensed import LensedRenderer, lensed_components
from lenssuper.light.sersic.render import ConstantRenderer, SkyRenderer
from lenssuper.light.sersic.spread import confined, prior_widths
from lenssuper.light.sersic.varpro import fit
from lenssuper.observation import Observation
from lenssuper.observation.objects import find_objects, main_object, smoothed

__all__ = ["Galaxy", "GalaxyFit"]

# Largest error of one Sersic, and of several, as a share of its light, where there is no arc
_SHARE_OF_ONE, _SHARE_OF_MORE = 0.3, 0.15
# The faintest arcs, as a share of the light of the galaxy.
_FAINT = 0.04
# How far an arc extends around its peaks, in pixels
_REACH = 8
# How far the arcs beside several profiles may extend beyond those beside one, in pixels
_NEAR = 4
# Outer edge of the arcs, in radii that contain half of their light. Beyond it, structures thicker than this
# share of their distance are the outskirts of the galaxy.
_OUTSIDE, _THICK = 2.0, 0.2
# Steps of a fit from each of several starts, and of the best one
_FEW, _SOME = 6, 20
# Accuracy of means over pixels, and the relative change of chi-square at which a fit ends.
_ROUGH, _EXACT = {"tol": 1e-3, "fine": False}, {"tol": 1e-5}
_ROUGH_END, _EXACT_END = 1e-3, 1e-6
# Pixels along a side, and in the width of the galaxy, that a search needs
_SIDE, _PIXELS_IN_SIGMA = 128, 2.0
# Bounds of n and q, and of R_e in pixels and in sizes of the field.
_N, _Q, _R = (0.6, 8.0), (0.2, 1.0), (0.2, 1.0)
# Radius of the core, without arcs, and of the first knot of the isophotes, in FWHM of the PSF
_CORE, _FIRST_KNOT = 1.5, 1.0
# Distances between which arcs are looked for, in rough Einstein radii. The images of a source that is imaged
# more than once lie within two Einstein radii
_ARCS_FROM, _ARCS_TO = 0.35, 1.9


@dataclass(frozen=True, eq=False)
class GalaxyFit(ProfileFit):
    """Profiles of a galaxy and of the source behind it, fitted to data in units of the noise of a pixel."""

    source: np.ndarray  # shape (n, 6)
    model: ForwardModel | None  # of the source

    @property
    def start(self) -> Any:
        """The profiles of galaxy and source that another fit may start from."""
        return self.profiles, self.source

    @property
    def sky(self) -> float:
        """The brightness of the sky."""
        return float(self.result.amplitudes[self.components.n])


class Galaxy:
    """
    An image with a galaxy in the middle, whose pixels are ``factor`` times those of the original image.

    Around it there may be arcs, at about a rough Einstein radius in arcsec if one is known. ``model_error``
    is a share of the light that is added to the noise, ``subtracted`` (ny, nx) a source that was subtracted
    from the observation.
    """

    def __init__(
        self,
        observation: Observation,
        einstein_radius: float | None = None,
        *,
        rough: bool = False,
        factor: int = 1,
        model_error: float = 0.0,
        subtracted: np.ndarray | None = None,
    ) -> None:
        self.observation, self._rough, self._einstein_radius = observation, rough, einstein_radius
        self._subtracted = subtracted
        self._reach, self._model_error = _REACH / factor, model_error
        self._uncertain = with_model_error(observation, model_error)
        self.correlation = observation.noise_correlation
        self.weights = self._uncertain.weights / self.correlation
        self.unit = float(1 / np.sqrt(np.median(self.weights[self.weights > 0])))
        objects = find_objects(observation)
        self.mask, self.moments = main_object(observation, peak=True, objects=objects)
        self.sky = objects[1]
        grid = observation.grid
        x, y = (np.broadcast_to(values, grid.shape) for values in grid.centers_arcsec())
        bright, _ = smoothed(observation)
        peak = np.argmax(np.where(self.mask, bright, -np.inf))
        self.center = float(x.flat[peak]), float(y.flat[peak])
        self.width = max(observation.psf_fwhm_arcsec, 1.5 * grid.side_arcsec)
        self.distance = np.hypot(x - self.center[0], y - self.center[1])
        inner, self._outer = 0.0, np.inf
        if einstein_radius is not None:
            inner, self._outer = _ARCS_FROM * einstein_radius, _ARCS_TO * einstein_radius
        self.core = self.distance < max(_CORE * self.width, inner)
        size = 2 * float(self.distance.max())
        # every profile has its centre near that of the galaxy
        reach = max(2 * grid.side_arcsec, 0.2 * self.moments["b"])
        self._bounds = {
            "x": (self.center[0] - reach, self.center[0] + reach),
            "y": (self.center[1] - reach, self.center[1] + reach),
            "R_e": (_R[0] * grid.side_arcsec, _R[1] * size),
            "n": _N,
            "q": _Q,
        }
        self._field = self.center, size, grid.side_arcsec
        self._template: SkyRenderer | None = None

    # Coarser pixels, to search faster

    def coarse(self) -> Galaxy:
        """Return the galaxy for a rough search, on larger pixels if there are many."""
        sigma = self.moments["b"] / self.observation.grid.side_arcsec
        factor = max(1, min(min(self.observation.shape) // _SIDE, int(sigma / _PIXELS_IN_SIGMA)))
        larger = self.observation.binned(factor)
        return Galaxy(larger, self._einstein_radius, rough=True, factor=factor, model_error=self._model_error)

    def from_coarse(self, mask: np.ndarray) -> np.ndarray:
        """Convert a mask of the pixels of `coarse` to those of this one."""
        factor = self.observation.shape[0] // mask.shape[0]
        ny, nx = self.observation.shape
        fine = np.repeat(np.repeat(mask, factor, axis=0), factor, axis=1)
        return np.pad(fine, ((0, ny - fine.shape[0]), (0, nx - fine.shape[1])))

    def to_coarse(self, mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Convert a mask to the pixels of `coarse`: True if any pixel in one is."""
        factor = self.observation.shape[0] // shape[0]
        ny, nx = shape
        return np.any(mask[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor), axis=(1, 3))

    # Fits

    def fit(self, profiles, source, arcs, max_iter, model: ForwardModel | None = None) -> GalaxyFit:
        """Fit profiles and sky, and profiles behind a lens, all at once."""
        components = Components(len(profiles), *self._field, bounds=[self._bounds] * len(profiles))
        renderers = [self._renderer(components), ConstantRenderer(self.observation.shape)]
        theta, limits = components.pack(profiles), np.array(components.limits())
        if model is not None:
            behind = lensed_components(model, len(source))
            renderers.append(LensedRenderer(model, behind))
            theta = np.concatenate([theta, behind.pack(source)])
            limits = np.concatenate([limits, behind.limits()], axis=1)
        positive = np.ones(sum(r.n_columns for r in renderers), dtype=bool)
        positive[len(profiles)] = False
        weights = self.weights if arcs is None else np.where(arcs, 0.0, self.weights)
        lower, upper = limits
        result = fit(
            renderers,
            theta,
            lower,
            upper,
            self.observation.data / self.unit,
            weights * self.unit**2,
            nonnegative=positive,
            max_iter=max_iter,
            tolerance=_ROUGH_END if self._rough else _EXACT_END,
        )
        found = np.zeros((0, 6)) if model is None else behind.unpack(result.theta[components.n_free :])
        n_pixels = np.count_nonzero(weights) / self.correlation
        return GalaxyFit(components, result, n_pixels, found, model)

    def _renderer(self, components):
        if self._template is None:
            options = _ROUGH if self._rough else _EXACT
            self._template = SkyRenderer.of(self.observation, components, **options)
        return self._template.with_components(components)

    def refit(self, fitted: GalaxyFit, arcs, max_iter) -> GalaxyFit:
        """Continue a fit."""
        profiles, source = fitted.start
        return self.fit(profiles, source, arcs, max_iter, fitted.model)

    def best(self, starts, arcs, model=None) -> GalaxyFit:
        """Try starts (profiles, source) with few steps, and continue from the best of them."""
        return best_of(
            lambda start, steps: self.fit(start[0], start[1], arcs, steps, model), starts, _FEW, _SOME
        )

    def guesses(self) -> list[tuple[np.ndarray, None]]:
        """Return three starts of one profile: an elliptical, a disk, and a galaxy larger than it appears."""
        a, b, phi = (self.moments[name] for name in ("a", "b", "phi"))
        size, q = 1.2 * np.sqrt(a * b), max(b / a, 0.4)
        pairs = (1.0, 3.0), (1.0, 1.0), (3.0, 4.0)
        return [(np.array([[*self.center, f * size, n, q, phi]]), None) for f, n in pairs]

    def more_guesses(self, fitted: GalaxyFit) -> list[tuple[np.ndarray, None]]:
        """Return one profile more: a smaller or larger copy of the brightest, or one that is turned."""
        x, y, size, _, q, phi = fitted.brightest
        more = (
            [x, y, 0.3 * size, 1.0, q, phi],
            [x, y, 2.5 * size, 1.0, q, phi],
            [x, y, 0.8 * size, 1.0, 0.8, phi + np.pi / 2],
        )
        return [(np.vstack([fitted.profiles, new]), None) for new in more]

    def misfit(self, fitted: GalaxyFit) -> float:
        """Return chi-square of all pixels, limited where there is more light than that of the galaxy."""
        left = self.observation.data - self.unit * fitted.result.model
        return float(np.sum(limited(left, left**2 * self.weights)))

    # Arcs

    def first_arcs(self) -> np.ndarray:
        """Return a first guess of the arcs."""
        found = first_arcs(self._uncertain, self.center, self.sky, self.core, self._reach)
        return found & (self.distance < self._outer)

    def arcs(self, fitted: GalaxyFit, near: np.ndarray | None = None, *, faint: bool = True) -> np.ndarray:
        """
        Find the light that a fit of the galaxy does not explain, near or far outside of known arcs.

        With ``faint`` the threshold is as low as the quality of the fit allows.
        """
        share = _SHARE_OF_ONE if fitted.components.n == 1 else _SHARE_OF_MORE
        model, sky = self.unit * fitted.result.model, self.unit * fitted.sky
        arcs = find_arcs(
            self._uncertain, model, sky, self.core, share, self._reach, _FAINT if faint else share
        )
        arcs &= self.distance < self._outer
        excess = np.clip(self.observation.data - model, 0, None)
        if near is None:
            return self._without_halo(arcs, excess)
        elsewhere = self.distance > _OUTSIDE * self._radius(near, excess)
        return arcs & (elsewhere | ndimage.binary_dilation(near, iterations=_NEAR))

    def share_taken(self, arcs: np.ndarray) -> float:
        """Return the share of the galaxy's pixels, where there may be arcs, that were taken for arcs."""
        possible = self.mask & ~self.core & (self.distance < self._outer)
        return float(np.mean(arcs[possible])) if possible.any() else 0.0

    def _radius(self, arcs, excess):
        """Return the distance from the galaxy that contains half of the light of arcs; else infinity."""
        distance, light = self.distance[arcs], excess[arcs]
        if not light.sum() > 0:
            return np.inf
        order = np.argsort(distance)
        return float(distance[order][np.searchsorted(np.cumsum(light[order]), light.sum() / 2)])

    def _without_halo(self, arcs, excess):
        """Remove thick structures far beyond the arcs: these are the outskirts of the galaxy."""
        outside = arcs & (self.distance > _OUTSIDE * self._radius(arcs, excess))
        labels, n = ndimage.label(outside)
        depth = self.observation.grid.side_arcsec * ndimage.distance_transform_edt(outside)
        thick = ndimage.maximum(depth / self.distance.clip(self.width), labels, np.arange(1, n + 1))
        return arcs & ~np.isin(labels, 1 + np.flatnonzero(np.atleast_1d(thick) > _THICK))

    def _isophotes(self, fitted, light, residual, arcs, options):
        radius, angle = self._polar(fitted)
        weights = np.where(arcs, 0.0, self.weights)
        smallest = _FIRST_KNOT * self.width
        return fit_isophotes(residual, weights, light, radius, angle, smallest=smallest, **options)

    def annulus(self, radii: u.Quantity) -> np.ndarray:
        """Return the pixels between two distances from the galaxy."""
        inner, outer = np.asarray(to_arcsec(radii, "arcs"))
        return (self.distance >= inner) & (self.distance <= outer)

    # Results

    def result(self, fitted: GalaxyFit, arcs: np.ndarray, modes: int) -> ForegroundFit:
        """Return the light of the galaxy with its variance."""
        n = fitted.components.n
        amplitudes, sky = self.unit * fitted.amplitudes, self.unit * fitted.sky
        theta = fitted.result.theta[: fitted.components.n_free]
        columns, slopes = self._renderer(fitted.components).columns_and_derivatives(theta)
        light = np.tensordot(amplitudes, columns, 1)
        source = source_parameters = None
        if fitted.model is not None:
            brightness = self.unit * fitted.result.amplitudes[n + 1 :]
            source_parameters = np.column_stack([fitted.source, brightness])
            source = self.unit * fitted.result.model - light - sky
        covariance = self._covariance(fitted)
        moves = [
            amplitudes[k] * slope for (k, _), slope in zip(fitted.components.slopes(), slopes, strict=True)
        ]
        images = np.concatenate([moves, self.unit * columns, np.full((1, *light.shape), self.unit)])
        variance = np.einsum("iyx,iyx->yx", np.tensordot(covariance, images, 1), images)
        isophotes = None
        if modes:
            residual = self.observation.data - light - sky - (0.0 if source is None else source)
            isophotes = self._isophotes(fitted, light, residual, arcs, {"order": modes})
            light = light + isophotes.correction
            variance = variance + isophotes.variance
        unmodelled = self._unmodelled(fitted, light + sky, light, source, arcs, variance)
        return ForegroundFit(
            observation=self.observation,
            fit=self._sersic_fit(fitted, arcs, covariance),
            light=light,
            variance=np.maximum(variance + unmodelled**2, 0.0),
            arcs=arcs,
            unmodelled=unmodelled,
            isophotes=isophotes,
            source=source,
            source_parameters=source_parameters,
            model_error=self._model_error,
        )

    def _unmodelled(self, fitted, model, light, source, arcs, variance):
        """
        Return the standard deviation, for every pixel, of what a smooth galaxy cannot describe.

        It is measured where no source is above the noise: elsewhere what is left may be that of the source.
        """
        residual = self.observation.data - model - (0.0 if source is None else source)
        used = ~self.observation.mask & ~arcs
        for image in (source, self._subtracted):
            if image is not None:
                used &= image**2 * self.observation.weights < 1
        noise = np.divide(1.0, self.observation.weights, out=np.zeros(light.shape), where=used)
        smallest, (radius, _) = _FIRST_KNOT * self.width, self._polar(fitted)
        light = np.maximum(light, 0.0)
        return light * unmodelled_share(residual, noise + variance, light, used, radius, smallest)

    def _covariance(self, fitted):
        """Return the covariance of the free values of the galaxy, its amplitudes and the sky."""
        n, free, total = fitted.components.n, fitted.components.n_free, len(fitted.result.theta)
        widths = prior_widths(np.vstack([fitted.profiles, fitted.source]), len(fitted.result.amplitudes))
        keep = np.concatenate([np.arange(free), total + np.arange(n + 1)])
        return confined(fitted.result.covariance, widths)[np.ix_(keep, keep)]

    def _sersic_fit(self, fitted, arcs, covariance):
        return SersicFit.from_parameters(
            self.observation if fitted.model is not None else self.observation.masked(arcs),
            np.column_stack([fitted.profiles, self.unit * fitted.amplitudes]),
            self.unit * fitted.sky,
            fitted.parameter_covariance(covariance, self.unit),
            noise_correlation=self.correlation,
            method="least_squares",
        )

    def _polar(self, fitted):
        """Return radius and angle of every pixel in the ellipse of the brightest profile."""
        x0, y0, _, _, q, phi = fitted.brightest
        x, y = self.observation.grid.centers_arcsec()
        along = (x - x0) * np.cos(phi) + (y - y0) * np.sin(phi)
        across = (y - y0) * np.cos(phi) - (x - x0) * np.sin(phi)
        along, across = along * np.sqrt(q), across / np.sqrt(q)
        return np.hypot(along, across), np.arctan2(across, along)
