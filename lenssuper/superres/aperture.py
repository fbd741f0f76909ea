"""The ellipse in the source plane in which a galaxy is measured, and what is measured in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

from lenssuper._utils.units import arcsec
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel

if TYPE_CHECKING:
    from lenssuper.operators import OverlapOperator

__all__ = ["SourceAperture", "find_aperture", "smoothed_source"]

# The galaxy is the group of pixels with most light in the smoothed source, so many standard deviations of the
# noise bright, and of this share of the peak.
_SIGMAS, _SHARE = 2.0, 0.005
# Least number of images of a source pixel that is measured.
_SEEN = 0.5
_DARK = "the source has no light to measure: it is not positive in the pixels that are seen"
# Images nearer than this, in pixels of the observation, to the middle of the lens of an isothermal profile
# are not counted apart.
_APART = 0.5


def find_aperture(model: ForwardModel, source: np.ndarray) -> np.ndarray:
    """
    Return the pixels of the Kron ellipse of a source, array of bool (ny, nx).

    It is that of SExtractor's AUTO magnitudes (Kron 1980, ApJS 43, 305; Bertin & Arnouts 1996, A&AS 117,
    393), 2.5 Kron radii large, by photutils, for the brightest galaxy of the smoothed source (see
    `smoothed_source`). What else is uncertain than the noise, and the size of the pixels, play no part.
    """
    from photutils.segmentation import SegmentationImage, SourceCatalog

    seen = model.lensing.coverage >= _SEEN
    if not (source[seen] > 0).any():
        raise ValueError(_DARK)
    galaxy = _brightest(*smoothed_source(model, source, seen))
    ellipse = np.atleast_1d(SourceCatalog(source, SegmentationImage(galaxy.astype(int))).kron_aperture)[0]
    inside = None if ellipse is None else ellipse.to_mask(method="center").to_image(source.shape)
    chosen = galaxy if inside is None else inside > 0
    return chosen & seen


def smoothed_source(
    model: ForwardModel, source: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""
    Return a source averaged over its resolution element, and the standard deviation that noise gives it.

    The resolution is that of the mean magnification of the source's light, :math:`\mathrm{FWHM} /
    \sqrt\mu`, and the average is over a Gaussian of this FWHM, among the pixels that are seen. Light of
    brightness s in a patch as large as the PSF or larger is measured with the weight :math:`\sum_i w_i
    \sum_j A_{ij}` by the data, with their weights w and the model A, j being pixels of the patch. That of a
    Gaussian of standard deviation :math:`\sigma` pixels has the area :math:`4\pi\sigma^2`.
    """
    light = np.where(seen, np.maximum(source, 0.0), 0.0)
    lensing = cast("OverlapOperator", model.lensing)
    magnification = float(np.sum(light * lensing.magnification) / light.sum())
    fwhm = model.observation.psf_fwhm_arcsec / np.sqrt(magnification)
    width = fwhm / (np.sqrt(8 * np.log(2)) * model.source_grid.side_arcsec)

    def average(values):
        return ndimage.gaussian_filter(np.where(seen, values, 0.0), width, mode="constant")

    share = np.maximum(average(np.ones(source.shape)), np.finfo(float).tiny)
    weight = 4 * np.pi * width**2 * average(model.adjoint(model.weights))
    weight = weight / model.observation.noise_correlation
    std = 1 / np.sqrt(np.maximum(weight, np.finfo(float).tiny))
    return np.where(seen, average(source) / share, 0.0), np.where(seen, std, np.inf)


def _brightest(smooth, std):
    """Return the pixels of the galaxy with most light in a smoothed source."""
    certain = float(np.max(smooth - _SIGMAS * std))
    limits = [np.maximum(_SHARE * certain, _SIGMAS * std)] if certain > 0 else []
    for limit in [*limits, _SHARE * smooth.max()]:
        labels, n = ndimage.label(smooth > limit, np.ones((3, 3)))
        if n:
            break
    else:
        raise ValueError(_DARK)
    fluxes = np.bincount(labels.ravel(), weights=smooth.ravel(), minlength=n + 1)
    return labels == 1 + np.argmax(fluxes[1:])


@dataclass(frozen=True, eq=False)
class SourceAperture:
    """
    Pixels of the source plane in which a source is measured, the same for every source.

    Attributes
    ----------
    inside : ndarray of bool, shape of the source grid
    model : ForwardModel
        The lens and the grids; its data play no part.
    center : (float, float)
        Position in the source plane, in arcsec; its images by the lens are measured one by one.
    """

    inside: np.ndarray
    model: ForwardModel
    center: tuple[float, float]

    @property
    def grid(self):
        """Pixels in the source plane."""
        return self.model.source_grid

    @cached_property
    def images(self) -> np.ndarray:
        """Positions (n, 2) in arcsec of the images of `center` in the lensed field, as they arrive."""
        lens, field = self.model.lens, self.model.lensing.image_grid
        x, y = lens.image_positions(*arcsec(np.array(self.center)), grid=field)
        points = np.stack([x.value, y.value], axis=1)
        near = [np.hypot(*(points - np.array(each)).T) for each in lens.centers_arcsec()]
        side = self.model.observation.grid.side_arcsec
        return points[np.min(near, axis=0) > _APART * side] if near else points

    @cached_property
    def image_magnifications(self) -> np.ndarray:
        """
        Magnification of each source pixel in each image, shape (n images, ny, nx); their sum is the total.

        A pixel of the image plane belongs to the nearest image of `center` of its own parity, the sign of
        det A, or to the nearest of all if there is none.
        """
        lensing = self.model.lensing
        x, y = np.broadcast_arrays(*lensing.image_grid.centers_arcsec())
        flipped, of_images = _parity(self.model.lens, x, y), _parity(self.model.lens, *self.images.T)
        distances = np.stack([np.hypot(x - a, y - b) for a, b in self.images])
        other = flipped[None] != of_images[:, None, None]
        far = np.where(other, distances.max() + distances, distances)
        nearest = np.argmin(far, axis=0)
        share = lensing.image_grid.area_arcsec2 / self.grid.area_arcsec2
        parts = [lensing.matrix.T @ (nearest == k).ravel().astype(float) for k in range(len(self.images))]
        return share * np.reshape(parts, (-1, *self.grid.shape))

    def measure(
        self,
        sources: np.ndarray,
        others: Sequence[tuple[SourceAperture, SourceAperture]] = (),
        shares: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """
        Measure sources (n, ny, nx); return arrays of n numbers in arcsec and radian, by name.

        ``flux`` is the sum over pixels in units of the data's pixels, ``image_flux`` that of all images, and
        ``aperture_share`` what the flux is of that of all pixels that are seen.
        ``others`` are the aperture with other lenses, one standard deviation to either side, and ``shares``
        (n, number of pairs) by how many the lens of each source is changed.
        """
        light = np.where(self.inside, sources, 0.0)
        share = self.grid.area_arcsec2 / self.model.observation.grid.area_arcsec2
        flux = light.sum(axis=(1, 2))

        def flux_with(maps):
            """Return the flux that maps of the magnification of each aperture give, (n, ...)."""
            found = np.tensordot(light, maps(self), ((1, 2), (-2, -1)))
            for k, pair in enumerate(others):
                plus, minus = map(maps, pair)
                if plus.shape == minus.shape == maps(self).shape:
                    change = np.tensordot(light, plus - minus, ((1, 2), (-2, -1))) / 2
                    found = found + (shares[:, k] * change.T).T
            return found

        lensed = flux_with(lambda each: each.model.lensing.magnification)
        shapes = np.array([self._shape(each) for each in light])
        radius, q, phi, x, y = shapes.T
        found = {
            "flux": share * flux,
            "half_light_radius": radius,
            "axis_ratio": q,
            "phi": phi,
            "x": x,
            "y": y,
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            everything = np.where(self.model.lensing.coverage >= _SEEN, sources, 0.0).sum(axis=(1, 2))
            found |= {"aperture_share": flux / everything}
            found |= {"magnification": lensed / flux, "image_flux": share * lensed}
            for k, each in enumerate(flux_with(lambda each: each.image_magnifications).T, start=1):
                found[f"magnification_{k}"] = each / flux
        return found

    def _shape(self, light):
        """Return half-light radius, axis ratio, position angle and centroid of one source."""
        from photutils.segmentation import SegmentationImage, SourceCatalog

        if not light.sum() > 0:
            return np.full(5, np.nan)
        catalog = SourceCatalog(light, SegmentationImage(self.inside.astype(int)))
        column, row = np.ravel(catalog.centroid)
        q = 1 / float(np.ravel(catalog.elongation.value)[0])
        turn = float(np.ravel(catalog.orientation.to_value("rad"))[0])
        along = self.grid.matrix @ (np.cos(turn), np.sin(turn))
        phi = np.arctan2(along[1], along[0])
        x0, y0 = self.grid.to_offset(column, row)
        return self._half_light(light, float(x0), float(y0), q, phi), q, phi, float(x0), float(y0)

    def _half_light(self, light, x0, y0, q, phi):
        """Return the radius, on the intermediate axis, of the ellipse that holds half of the light."""
        x, y = np.broadcast_arrays(*self.grid.centers_arcsec())
        x, y, values = x[self.inside] - x0, y[self.inside] - y0, light[self.inside]
        a, b = x * np.cos(phi) + y * np.sin(phi), y * np.cos(phi) - x * np.sin(phi)
        radius = np.sqrt(q * a**2 + b**2 / q)
        order = np.argsort(radius)
        # a pixel is half inside of the ellipse through its centre
        within = np.cumsum(values[order]) - values[order] / 2
        first = int(np.argmax(within > 0.5 * values.sum()))
        ends = slice(max(first - 1, 0), first + 1)
        return float(np.interp(0.5 * values.sum(), within[ends], radius[order][ends]))


def _parity(lens: LensModel, x, y):
    """Return whether det A is negative at positions in arcsec."""
    xx, yy, xy = lens.hessian(x, y)
    return (1 - xx) * (1 - yy) - xy**2 < 0
