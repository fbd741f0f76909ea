"""The ellipse in the source plane in which a galaxy is measured, and what is measured in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from lenssuper._utils.units import arcsec
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel

__all__ = ["SourceAperture", "find_aperture"]

# The galaxy is the group of pixels so many standard deviations bright that has most light; where these are
# not known, of this share of the peak.
_SIGMAS, _SHARE = 3.0, 0.02
# Least number of images of a source pixel that is measured.
_SEEN = 0.5
# Images nearer than this, in pixels of the observation, to the middle of the lens of an isothermal profile
# are not counted apart.
_APART = 0.5


def find_aperture(source: np.ndarray, std: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """
    Return the pixels of the Kron ellipse of a source, array of bool (ny, nx).

    It is that of SExtractor's AUTO magnitudes (Kron 1980, ApJS 43, 305; Bertin & Arnouts 1996, A&AS 117,
    393), 2.5 Kron radii large, by photutils, for the brightest group of significant pixels.
    """
    from photutils.segmentation import SegmentationImage, SourceCatalog

    known = np.isfinite(std) & (std > 0)
    limit = np.where(known, _SIGMAS * std, _SHARE * source.max())
    labels, n = ndimage.label(source > limit, np.ones((3, 3)))
    if n == 0:
        labels, n = ndimage.label(source > _SHARE * source.max(), np.ones((3, 3)))
    if n == 0:
        raise ValueError("the source has no light to measure: it is not positive in any pixel")
    fluxes = np.bincount(labels.ravel(), weights=source.ravel(), minlength=n + 1)
    galaxy = labels == 1 + np.argmax(fluxes[1:])
    ellipse = np.atleast_1d(SourceCatalog(source, SegmentationImage(galaxy.astype(int))).kron_aperture)[0]
    inside = None if ellipse is None else ellipse.to_mask(method="center").to_image(source.shape)
    chosen = galaxy if inside is None else inside > 0
    return chosen & (coverage >= _SEEN)


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

        ``flux`` is the sum over pixels in units of the data's pixels, ``image_flux`` that of all images.
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
