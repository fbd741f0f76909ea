"""An observation as a fit of the lens takes it: the arcs, their weights, and the light in front of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from astropy.nddata import NDData

from lenssuper.forward.whitening import Whitener
from lenssuper.light import ForegroundFit, SersicFit
from lenssuper.observation import Observation

__all__ = ["Exposure", "Foreground"]

# Number of pixels of a field down to which several are put together for a rough fit, and largest number of
# these along a side
_ROUGHLY, _MOST_TOGETHER = 2000, 3
# Share of a larger pixel that has to be used
_USED = 0.5
# Quantile of the pixels with light that is the brightness of the arcs
_BRIGHT = 0.98


@dataclass(frozen=True, eq=False)
class Foreground:
    """The light in front of the arcs, whose parts may be brighter or fainter than expected."""

    expected: np.ndarray  # (ny, nx), in the unit of the data
    parts: np.ndarray  # (K, ny, nx), images with amplitudes expected to be 0 +- 1; the last is the sky

    @classmethod
    def of(cls, given, observation: Observation) -> Foreground | None:
        """
        Return the foreground from a SersicFit, a ForegroundFit, one or K images (ny, nx), or None.

        Raise a TypeError or ValueError if it is something else, has other pixels, or is not finite where
        there are data.
        """
        if given is None:
            return None
        if isinstance(given, ForegroundFit):
            expected, parts = given.light + given.sky, given.parts
        else:
            parts = _images(given)
            expected = parts.sum(axis=0)
        if parts.shape[1:] != observation.shape or not len(parts):
            raise ValueError(
                f"foreground must have the observation's {observation.shape} pixels; got {parts.shape[1:]}"
            )
        known = np.isfinite(expected) & np.isfinite(parts).all(axis=0)
        if not known[~observation.mask].all():
            raise ValueError("foreground must be finite where there are data")
        expected, parts = (np.where(known, images, 0.0) for images in (expected, parts))
        sky = np.full(observation.shape, np.median(observation.sigma[~observation.mask]))
        return cls(expected, np.concatenate([parts, sky[None]]))

    def with_amplitudes(self, amplitudes: np.ndarray) -> np.ndarray:
        """Return the image with the parts added, times their amplitudes (K,)."""
        return self.expected + np.tensordot(amplitudes, self.parts, axes=1)


@dataclass(frozen=True, eq=False)
class Exposure:
    """An observation, and the arcs in it."""

    observation: Observation  # as it was given
    arcs: Observation  # the observation less the expected foreground
    foreground: Foreground | None
    field: np.ndarray  # bool (ny, nx), pixels that may show light of the source
    tolerance: float = 0.0  # share of the arcs' brightness that is added to the noise

    @classmethod
    def of(cls, observation: Observation, foreground) -> Exposure:
        """Return an observation with its foreground, which is read from what a user gives."""
        foreground = Foreground.of(foreground, observation)
        arcs = observation if foreground is None else observation.without(foreground.expected)
        return cls(observation, arcs, foreground, ~observation.mask)

    def within(self, center: tuple[float, float], radius: float) -> Exposure:
        """Return the exposure with a field that ends at a distance from a position, both in arcsec."""
        x, y = self.observation.grid.centers_arcsec()
        field = self.field & (np.hypot(x - center[0], y - center[1]) <= radius)
        return replace(self, field=field) if field.any() else self

    def tolerant(self, share: float) -> Exposure:
        """Return the exposure with a share of the arcs' brightness added to the noise, in quadrature."""
        return replace(self, tolerance=share)

    @property
    def coarsest(self) -> int:
        """Number of pixels, along a side, that may be put together for a rough fit."""
        return int(np.clip(math.isqrt(int(self.field.sum()) // _ROUGHLY), 1, _MOST_TOGETHER))

    def binned(self, factor: int) -> Exposure:
        """Return the field with ``factor`` x ``factor`` pixels averaged into one, weighted by their noise."""
        if factor == 1:
            return self
        rows, columns = self.cut
        cut = np.s_[
            rows.start : rows.start + factor * ((rows.stop - rows.start) // factor),
            columns.start : columns.start + factor * ((columns.stop - columns.start) // factor),
        ]
        used = self.field & (self.arcs.weights > 0)
        field = _together(used[cut], factor) >= _USED * factor**2
        if not field.any():
            return self
        observation, arcs = (
            each.masked(~self.field)[cut].binned(factor) for each in (self.observation, self.arcs)
        )
        binned = replace(self, observation=observation, arcs=arcs, foreground=None, field=field)
        if (foreground := self.foreground) is None:
            return binned
        weights = np.where(used, self.arcs.weights, 0.0)[cut]
        total = np.where(field, _together(weights, factor), 1.0)
        expected, parts = (
            np.where(field, _together(weights * images[..., *cut], factor) / total, 0.0)
            for images in (foreground.expected, foreground.parts)
        )
        return replace(binned, foreground=Foreground(expected, parts))

    @property
    def covariance(self) -> np.ndarray | None:
        """Covariance of the noise of neighbours; None if there is none, or only a number."""
        return self.arcs.noise_covariance

    @property
    def raised(self) -> float:
        """Factor by which correlations raise the variance of structures larger than a pixel."""
        return self.arcs.noise_correlation

    @cached_property
    def beyond_field(self) -> float:
        """
        Twice the log likelihood of the pixels beyond the field, where there is no light of the source.

        With it, evidences of fits to fields of different sizes can be compared.
        """
        if self.field.sum() == np.count_nonzero(self.arcs.weights):
            return 0.0
        covariance, raised = self.covariance, 1.0 if self.covariance is not None else self.raised
        return _dark(self.arcs, covariance, raised) - _dark(self.arcs.masked(~self.field), covariance, raised)

    @cached_property
    def cut(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest rectangle that holds the field."""
        rows, columns = (np.flatnonzero(self.field.any(axis=axis)) for axis in (1, 0))
        return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    # What follows is within this rectangle

    @cached_property
    def part(self) -> Observation:
        """
        The arcs in the field.

        The PSF is cut where it reaches further than half of the field: the wings beyond, which would scatter
        light from one side of the field to the other, matter little, and cost time.
        """
        part = self.arcs.masked(~self.field)[self.cut]
        if part.psf is None:
            return part
        reach = part.psf_oversampling * (max(part.shape) // 2)
        inner = tuple(slice(max(n // 2 - reach, 0), n // 2 + reach + 1) for n in part.psf.shape)
        core = part.psf[inner]
        if core.shape == part.psf.shape:
            return part
        return part.with_psf(
            core / core.sum(), oversampling=part.psf_oversampling, includes_pixel=part.psf_includes_pixel
        )

    @cached_property
    def weights(self) -> np.ndarray:
        """One over the variance, raised by correlations, of structures larger than a pixel."""
        return self._tolerated(self.part.weights / self.raised)

    @cached_property
    def whitener(self) -> Whitener | None:
        """The operator that makes the noise white; None without a `covariance`."""
        return None if self.covariance is None else Whitener(self.part.weights > 0, self.covariance)

    @property
    def pixel_weights(self) -> np.ndarray:
        """Weights that go with `whitener`: one over the variance of single pixels if there is one."""
        return self.weights if self.covariance is None else self._tolerated(self.part.weights)

    def _tolerated(self, weights):
        if not self.tolerance or not self.bright.any():
            return weights
        added = self.tolerance * np.quantile(self.part.data[self.bright], _BRIGHT)
        return weights / (1 + weights * added**2)

    @property
    def bright(self) -> np.ndarray:
        """Pixels with light of the source."""
        return self.part.bright

    @cached_property
    def light(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions x and y, in arcsec, and brightness, 0 or more, of the pixels with light of the source."""
        x, y = np.broadcast_arrays(*self.part.grid.centers_arcsec())
        return x[self.bright], y[self.bright], np.maximum(self.part.data[self.bright], 0.0)

    @property
    def others(self) -> np.ndarray | None:
        """Images that may be added to the arcs, shape (K, ny, nx)."""
        return None if self.foreground is None else self.foreground.parts[:, *self.cut]

    @property
    def signal(self) -> float:
        """Square of the total signal-to-noise ratio of the light of the source."""
        return float(self.part.data[self.bright] ** 2 @ self.weights[self.bright])


def _dark(observation, covariance, raised):
    """Return twice the log likelihood of an image without light."""
    used = observation.weights > 0
    weights = observation.weights[used] / raised
    scaled = np.zeros(used.shape)
    scaled[used] = np.sqrt(weights) * observation.data[used]
    constant = float(np.sum(np.log(weights / (2 * np.pi))))
    if covariance is not None:
        whitener = Whitener(used, covariance)
        scaled, constant = whitener.forward(scaled), constant + 2 * whitener.log_det
    return constant - float(np.vdot(scaled, scaled))


def _together(images, factor):
    """Return sums over ``factor`` x ``factor`` pixels of images (..., ny, nx)."""
    ny, nx = (n // factor for n in images.shape[-2:])
    return images.reshape(*images.shape[:-2], ny, factor, nx, factor).sum((-3, -1))


def _images(given):
    if isinstance(given, SersicFit):
        return given.component_images()
    if isinstance(given, NDData):
        given = given.data
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "iuf":
        raise TypeError(
            "foreground must be a SersicFit, a ForegroundFit, or an image of each part of the foreground, "
            f"of shape (K, ny, nx); got {given!r:.80}"
        )
    if given.ndim not in (2, 3):
        raise ValueError(f"foreground must have the shape (K, ny, nx) or (ny, nx); got {given.shape}")
    return given.reshape(-1, *given.shape[-2:]).astype(np.float64)
