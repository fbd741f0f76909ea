"""An observed image, checked and unpacked once, which knows its noise and where it has light."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, NDData, StdDevUncertainty

from lenssuper._utils.checks import check_count, check_kind
from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.observation.grid import PixelGrid, cutout_slices
from lenssuper.observation.nddata import (
    noise_of,
    own_cards,
    read_data,
    read_mask,
    read_weights,
    split_meta,
    warn_of_a_mask_of_all,
)
from lenssuper.observation.noise import (
    binned_covariance,
    bright_pixels,
    check_correlation,
    measure_covariance,
)
from lenssuper.observation.pixelarrays import like, like_each, pixel_arrays
from lenssuper.observation.psf import check_psf, fwhm_in_pixels, psf_of_larger_pixels

__all__ = ["Observation"]


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """An observed image with the weight of every pixel, its PSF, its noise and its position on the sky.

    Made by `from_nddata`, which checks it, or `read_observation`. A pixel that is masked, not finite or
    without weight has data 0, weight 0 and mask True, so that it drops out of every sum. The covariance of
    the noise and the pixels with light are found when they are first needed, and kept; what is masked in an
    observation or cut out of it keeps what was found in the whole image, where there is more sky.

    Attributes
    ----------
    data : (ny, nx) ndarray
        Surface brightness per pixel in `unit`, float64.
    weights : (ny, nx) ndarray
        One over the variance, float64; 0 where `mask` is set.
    mask : (ny, nx) ndarray of bool
        Pixels that are not used.
    psf : (odd, odd) ndarray or None
        Point spread function of sum one, float64.
    psf_oversampling : int
        Number of PSF samples per pixel of the image, along each axis.
    psf_includes_pixel : bool
        Whether the PSF contains the averaging over a pixel (a star as the pixels see it) or is optical.
    grid : PixelGrid
        Where the pixels are.
    unit : `~astropy.units.UnitBase`
        Unit of the data.
    meta : mapping
        Metadata of the input.
    noise_given : float, ndarray or None
        What was given as ``noise_correlation``; None if the correlation is measured.
    light_errors : (n, ny, nx) ndarray or None
        Images by which light in front that was subtracted may be wrong, one error bar of 68% each, in
        `unit`; error bars of `~lenssuper.SuperResolver` contain them. Files of lenssuper keep them, an NDData
        does not.
    """

    data: np.ndarray
    weights: np.ndarray
    mask: np.ndarray
    psf: np.ndarray | None
    psf_oversampling: int
    psf_includes_pixel: bool
    grid: PixelGrid
    unit: u.UnitBase = u.dimensionless_unscaled
    meta: Mapping = field(default_factory=dict)
    noise_given: float | np.ndarray | None = None
    light_errors: np.ndarray | None = None
    # The observation whose noise this one has, in pixels of which so many are along the side of one of these
    _noise_of: Observation | None = None
    _bins: int = 1
    # The observation whose light this one shows, and the part of it that this is
    _light_of: tuple[Observation, tuple[slice, slice]] | None = None

    @classmethod
    def from_nddata(
        cls,
        nddata: NDData,
        *,
        psf_oversampling: int | None = None,
        psf_includes_pixel: bool | None = None,
        noise_correlation: float | np.ndarray | None = None,
        grid: PixelGrid | None = None,
        reference: SkyCoord | u.Quantity | None = None,
    ) -> Observation:
        """Check an image and unpack it.

        Parameters
        ----------
        nddata : `~astropy.nddata.NDData`
            Two-dimensional image with an uncertainty of any kind (standard deviation, variance or inverse
            variance), and where there is one a mask (True = do not use), a PSF and a WCS. It is not changed.
        psf_oversampling : int, optional
            Number of PSF samples per pixel of the image, along each axis; by default what ``meta`` says in
            the card PSFOVERS, else 1.
        psf_includes_pixel : bool, optional
            Whether the PSF is effective (contains the pixel) or optical; by default what the card PSFPIXEL of
            ``meta`` says, else effective.
        noise_correlation : array of shape (odd, odd) or float, optional
            Covariance of the noise of neighbouring pixels by their distance, in units of their standard
            deviations; by default it is measured in the sky, see `noise_covariance`. A number, at least 1, is
            the factor by which correlations raise the variance of what is larger than a pixel; 1 takes the
            noise of the pixels as independent.
        grid : PixelGrid, optional
            Where the pixels are, instead of what the WCS of ``nddata`` says.
        reference : `~astropy.coordinates.SkyCoord`, optional
            Zero of the offsets, see `PixelGrid.from_wcs`; by default the centre of the image. Images of one
            lens with the same reference share one frame.

        Returns
        -------
        Observation

        Raises
        ------
        ObservationError
            If the image cannot be used; the message says what to do.
        TypeError, ValueError
            If an argument is of the wrong kind or range, or ``grid`` and ``reference`` are both given.

        Warns
        -----
        LensSuperWarning
            If the PSF did not sum to one.
        """
        if not isinstance(nddata, NDData):
            raise TypeError(f"an observation must be an astropy NDData, e.g. a CCDData; got {nddata!r:.80}")
        data, unit = read_data(nddata)
        meta, cards = split_meta(nddata)
        if grid is None and reference is None and cards.get("LSGRID") and nddata.wcs is not None:
            grid = PixelGrid.from_own_wcs(nddata.wcs, data.shape)
        elif grid is None:
            grid = PixelGrid.from_nddata(nddata, reference=reference)
        elif reference is not None:
            raise ValueError("grid has a reference of its own; give grid or reference, not both")
        check_kind(grid, "grid", PixelGrid)
        if grid.shape != data.shape:
            raise ObservationError(f"grid must have the shape of the data, {data.shape}; got {grid.shape}")
        masked = read_mask(nddata.mask, data.shape)
        weights = read_weights(nddata.uncertainty, unit, data.shape, masked | ~np.isfinite(data))
        used = weights > 0
        if not used.any():
            raise ObservationError(
                f"no pixel of the observation can be used: of {data.size}, {masked.sum()} are masked, "
                f"{(~np.isfinite(data)).sum()} are not finite, and the rest have no weight"
            )
        warn_of_a_mask_of_all(masked, data)
        noise_correlation = noise_of(cards) if noise_correlation is None else noise_correlation
        psf_oversampling = cards.get("PSFOVERS", 1) if psf_oversampling is None else psf_oversampling
        psf_includes_pixel = cards.get("PSFPIXEL", True) if psf_includes_pixel is None else psf_includes_pixel
        return cls(
            data=np.where(used, data, 0.0),
            weights=weights,
            mask=~used,
            psf=None if nddata.psf is None else check_psf(nddata.psf),
            psf_oversampling=check_count(psf_oversampling, "psf_oversampling"),
            psf_includes_pixel=bool(check_kind(psf_includes_pixel, "psf_includes_pixel", bool)),
            grid=grid,
            unit=unit,
            meta=meta,
            noise_given=check_correlation(noise_correlation),
        )

    @classmethod
    def of(cls, image: NDData | Observation, *, reference: SkyCoord | None = None) -> Observation:
        """Return an observation as it is; check and unpack an NDData, with offsets from ``reference``."""
        return image if isinstance(image, cls) else cls.from_nddata(image, reference=reference)

    def __repr__(self):
        psf = "none" if self.psf is None else f"{self.psf.shape}"
        used = self.mask.size - np.count_nonzero(self.mask)
        return (
            f"Observation(shape={self.shape}, unit={str(self.unit)!r}, {used} of {self.mask.size} pixels "
            f"used, psf={psf}, grid={self.grid!r})"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns, (ny, nx)."""
        return self.grid.shape

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of every pixel, float64 in `unit`; infinite where it is not used."""
        with np.errstate(divide="ignore"):
            return 1 / np.sqrt(self.weights)

    @cached_property
    def noise_covariance(self) -> np.ndarray | None:
        """
        Covariance of the noise of neighbouring pixels by their distance, in units of their scatter.

        Shape (odd, odd), with the variance of a pixel in the middle; as given, or measured in the sky, see
        `~lenssuper.observation.noise.measure_covariance`. None if a number was given, or if the noise is not
        significantly correlated.
        """
        if self.noise_given is not None:
            return self.noise_given if isinstance(self.noise_given, np.ndarray) else None
        if self._noise_of is None:
            return measure_covariance(self.data, self.weights, self.mask)
        covariance = self._noise_of.noise_covariance
        return (
            covariance if covariance is None or self._bins == 1 else binned_covariance(covariance, self._bins)
        )

    @property
    def noise_correlation(self) -> float:
        """Factor by which correlations raise the variance of what is larger than a pixel; 1 without any."""
        if self.noise_covariance is not None:
            return float(self.noise_covariance.sum())
        return 1.0 if self.noise_given is None else float(self.noise_given)

    @property
    def given_or_measured(self) -> float | np.ndarray:
        """How neighbours share their noise, for ``noise_correlation`` of another observation."""
        return self.noise_correlation if self.noise_covariance is None else self.noise_covariance

    @cached_property
    def bright(self) -> np.ndarray:
        """Pixels with light, (ny, nx) of bool, see `~lenssuper.observation.noise.bright_pixels`."""
        if self._light_of is None:
            return bright_pixels(self.data, self.weights, self.mask, self.noise_correlation)
        whole, part = self._light_of
        return whole.bright[part] & ~self.mask

    @cached_property
    def psf_fwhm_arcsec(self) -> float:
        """Full width at half maximum of the PSF as the pixels see it, not less than a pixel."""
        pixels = fwhm_in_pixels(self.psf, self.psf_oversampling, self.psf_includes_pixel)
        return pixels * self.grid.side_arcsec

    # The same image in another way

    def _changed(self, part=np.s_[:, :], **changes) -> Observation:
        """Return a copy with the noise of this one and the light in a part of it."""
        return replace(self, _noise_of=self, _bins=1, _light_of=(self, part), **changes)

    def __getitem__(self, item) -> Observation:
        """Cut out part of the image, ``observation[10:40, 5:50]``; PSF and reference point stay."""
        item = cutout_slices(item, self.shape)
        if self.mask[item].all():
            raise ObservationError("no pixel of the cutout can be used: all are masked")
        parts = {name: getattr(self, name)[item].copy() for name in ("data", "weights", "mask")}
        if self.light_errors is not None:
            parts["light_errors"] = self.light_errors[:, *item].copy()
        return self._changed(item, grid=self.grid[item], meta=copy.deepcopy(self.meta), **parts)

    def masked(self, where: np.ndarray) -> Observation:
        """
        Mask more pixels: those where an array of bool (ny, nx) is True.

        Raises
        ------
        ObservationError
            If no pixel is left.
        """
        where = np.asarray(where)
        if where.dtype != bool:
            raise TypeError(f"where must be an array of bool; got {where.dtype}")
        return self._changed(**pixel_arrays(self.data, self.weights, self.mask | like(where, self, "where")))

    def with_data(self, data: np.ndarray) -> Observation:
        """Replace the surface brightness, (ny, nx) in `unit`; the noise stays."""
        pixels = pixel_arrays(like(data, self, "data"), self.weights, self.mask)
        return replace(self, **pixels, _noise_of=self, _bins=1, _light_of=None)

    def with_weights(self, weights: np.ndarray) -> Observation:
        """
        Replace the weights, (ny, nx).

        The covariance of the noise of neighbours is measured again, in the new units; one that was given is
        converted to them, with the median change of the variance.
        """
        pixels = pixel_arrays(self.data, like(weights, self, "weights"), self.mask)
        given = self.noise_given
        if isinstance(given, np.ndarray):
            used = ~(self.mask | pixels["mask"])
            given = given * np.median(pixels["weights"][used] / self.weights[used])
        return replace(self, **pixels, noise_given=given, _noise_of=None, _bins=1, _light_of=None)

    def without(
        self, light: np.ndarray, variance: np.ndarray | float = 0.0, errors: np.ndarray | None = None
    ) -> Observation:
        """
        Subtract the light of what is in front.

        The noise is measured in what is left, where there is more sky, unless pixels were masked or cut off
        before.

        Parameters
        ----------
        light : array, shape (ny, nx)
            In `unit`; pixels where it is not finite are masked.
        variance : array, shape (ny, nx), or float, optional
            Of ``light``; it is added to that of the data.
        errors : array, shape (n, ny, nx), optional
            Images by which ``light`` may be wrong, one error bar of 68% each: the `light_errors` of what is
            left.
        """
        data = self.data - like(light, self, "light")
        pixels = pixel_arrays(data, self.weights / (1 + self.weights * variance), self.mask)
        whole = self
        while whole._noise_of is not None:
            whole = whole._noise_of
        source = None if np.array_equal(whole.mask, self.mask) else self
        errors = self.light_errors if errors is None else like_each(errors, self, "errors")
        return replace(self, **pixels, light_errors=errors, _noise_of=source, _bins=1, _light_of=None)

    def binned(self, factor: int) -> Observation:
        """
        Average ``factor`` x ``factor`` pixels into one, weighted by their noise.

        Rows and columns that do not fill a pixel are left out. The PSF is roughly that of the larger pixels,
        and contains them.
        """
        factor = check_count(factor, "factor")
        if factor == 1:
            return self
        grid = self.grid.binned(factor)
        ny, nx = grid.shape

        def summed(image):
            cut = image[..., : ny * factor, : nx * factor]
            return cut.reshape(*image.shape[:-2], ny, factor, nx, factor).sum((-3, -1))

        weights = summed(self.weights)

        def averaged(image):
            return summed(self.weights * image) / np.where(weights > 0, weights, 1)

        return replace(
            self,
            **pixel_arrays(averaged(self.data), weights, weights == 0),
            light_errors=None if self.light_errors is None else averaged(self.light_errors),
            psf=psf_of_larger_pixels(self.psf, factor * self.psf_oversampling),
            psf_oversampling=1,
            psf_includes_pixel=True,
            grid=grid,
            noise_given=None if isinstance(self.noise_given, np.ndarray) else self.noise_given,
            _noise_of=self,
            _bins=factor,
            _light_of=None,
        )

    def with_psf(self, psf: np.ndarray, *, oversampling: int = 1, includes_pixel: bool = True) -> Observation:
        """Replace the PSF; parameters as in `from_nddata`."""
        return self._changed(
            psf=check_psf(psf),
            psf_oversampling=check_count(oversampling, "oversampling"),
            psf_includes_pixel=bool(check_kind(includes_pixel, "includes_pixel", bool)),
        )

    def recentred(self, reference: SkyCoord) -> Observation:
        """Count offsets from another position on the sky; the pixels stay where they are."""
        return self._changed(grid=PixelGrid.from_wcs(self.grid.wcs, self.shape, reference=reference))

    def moved_by(self, offset: u.Quantity) -> Observation:
        """Move the pixels by an offset (x, y), which corrects the WCS of one of several images."""
        return self._changed(grid=self.grid.moved_by(to_arcsec(offset, "offset")))

    def to_nddata(self) -> CCDData:
        """
        Pack the observation as an astropy image with standard deviation, mask, PSF and WCS.

        What an NDData cannot say of the PSF and of the zero of the offsets is in cards of ``meta``, which
        `from_nddata` understands.
        """
        meta: Any = copy.deepcopy(self.meta)
        sampling = self.psf_oversampling, self.psf_includes_pixel
        meta.update(own_cards(self.psf, *sampling, self.sigma, self.noise_given))
        return CCDData(
            self.data.copy(),
            unit=self.unit,
            uncertainty=StdDevUncertainty(self.sigma),
            mask=self.mask.copy(),
            psf=None if self.psf is None else self.psf.copy(),
            wcs=self.grid.wcs,
            meta=meta,
        )
