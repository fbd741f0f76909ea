"""An observed image, checked and unpacked once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, NDData, StdDevUncertainty

from lenssuper._utils.checks import check_count
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError
from lenssuper.observation.grid import PixelGrid, cutout_slices

__all__ = ["Observation"]

# A PSF whose sum is this close to one is taken as normalised: float32 sums are good to about 1e-6.
_PSF_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """An observed image with the weight of every pixel, its PSF and its place on the sky.

    Made by `from_nddata`, which checks it, or `read_observation`. A pixel that is masked, not finite or
    without weight has data 0, weight 0 and mask True, so that it drops out of every sum.

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

    @classmethod
    def from_nddata(
        cls,
        nddata: NDData,
        *,
        grid: PixelGrid | None = None,
        psf_oversampling: int = 1,
        psf_includes_pixel: bool = True,
    ) -> Observation:
        """Check an image and unpack it.

        Parameters
        ----------
        nddata : `~astropy.nddata.NDData`
            Two-dimensional image with an uncertainty of any kind (standard deviation, variance or inverse
            variance), and where there is one a mask (True = do not use), a PSF and a WCS. It is not changed.
        grid : PixelGrid, optional
            Where the pixels are, instead of what the WCS of ``nddata`` says.
        psf_oversampling : int, optional
            Number of PSF samples per pixel of the image, along each axis.
        psf_includes_pixel : bool, optional
            Whether the PSF is effective (contains the pixel) or optical.

        Returns
        -------
        Observation

        Raises
        ------
        ObservationError
            If the image cannot be used; the message says what to do.

        Warns
        -----
        LensSuperWarning
            If the PSF did not sum to one.
        """
        if not isinstance(nddata, NDData):
            raise TypeError(f"an observation must be an astropy NDData, e.g. a CCDData; got {nddata!r:.80}")
        data, unit = _read_data(nddata)
        if grid is None:
            grid = PixelGrid.from_nddata(nddata)
        elif not isinstance(grid, PixelGrid):
            raise TypeError(f"grid must be a PixelGrid; got {grid!r:.80}")
        if grid.shape != data.shape:
            raise ObservationError(f"grid must have the shape of the data, {data.shape}; got {grid.shape}")
        masked = _read_mask(nddata.mask, data.shape)
        weights = _read_weights(nddata.uncertainty, unit, data.shape, masked | ~np.isfinite(data))
        used = weights > 0
        if not used.any():
            raise ObservationError(
                f"no pixel of the observation can be used: of {data.size}, {masked.sum()} are masked, "
                f"{(~np.isfinite(data)).sum()} are not finite, and the rest have no weight"
            )
        if not isinstance(psf_includes_pixel, (bool, np.bool_)):
            raise TypeError(f"psf_includes_pixel must be True or False; got {psf_includes_pixel!r}")
        return cls(
            data=np.where(used, data, 0.0),
            weights=weights,
            mask=~used,
            psf=None if nddata.psf is None else _read_psf(nddata.psf),
            psf_oversampling=check_count(psf_oversampling, "psf_oversampling", 1),
            psf_includes_pixel=bool(psf_includes_pixel),
            grid=grid,
            unit=unit,
            meta=copy.deepcopy(nddata.meta),
        )

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

    def __getitem__(self, item) -> Observation:
        """Cut out part of the image, ``observation[10:40, 5:50]``; PSF and reference point stay."""
        item = cutout_slices(item, self.shape)
        if self.mask[item].all():
            raise ObservationError("no pixel of the cutout can be used: all are masked")
        parts = {name: getattr(self, name)[item].copy() for name in ("data", "weights", "mask")}
        return replace(self, grid=self.grid[item], meta=copy.deepcopy(self.meta), **parts)

    def to_nddata(self) -> CCDData:
        """Pack the observation as an astropy image with standard deviation, mask, PSF and WCS."""
        return CCDData(
            self.data.copy(),
            unit=self.unit,
            uncertainty=StdDevUncertainty(self.sigma),
            mask=self.mask.copy(),
            psf=None if self.psf is None else self.psf.copy(),
            wcs=self.grid.wcs,
            meta=copy.deepcopy(self.meta),
        )


def _read_data(nddata):
    data = np.asarray(nddata.data)
    if data.ndim != 2:
        raise ObservationError(f"an observation must be a two-dimensional image; got shape {data.shape}")
    if data.size == 0 or data.dtype.kind not in "iuf":
        raise ObservationError(f"an observation must hold real numbers; got shape {data.shape}, {data.dtype}")
    unit = u.dimensionless_unscaled if nddata.unit is None else nddata.unit
    if isinstance(unit, u.function.FunctionUnitBase) or unit.is_equivalent(u.mag):
        raise ObservationError(f"an observation must be linear in the flux; got the unit {str(unit)!r}")
    return data.astype(np.float64), unit


def _read_mask(mask, shape):
    mask = np.asarray(False if mask is None else mask)
    if mask.dtype.kind not in "biu":
        raise ObservationError(f"the mask must be boolean (True = do not use); got {mask.dtype}")
    if mask.shape not in ((), shape):
        raise ObservationError(f"the mask must have the shape of the data, {shape}; got {mask.shape}")
    return np.broadcast_to(mask != 0, shape)


# Of what an uncertainty holds: its unit as a power of that of the data, and the power that makes it a weight.
_KINDS = {"std": (1, -2), "var": (2, -1), "ivar": (-2, 1)}


def _read_weights(uncertainty, unit, shape, unused):
    """One over the variance, 0 where it is not known or ``unused`` says so."""
    if uncertainty is None or uncertainty.array is None:
        raise ObservationError(
            "the observation has no uncertainty, and every pixel needs its noise: "
            "add one with nddata.uncertainty = astropy.nddata.StdDevUncertainty(sigma), "
            "where sigma is an array like the data"
        )
    if uncertainty.uncertainty_type not in _KINDS:
        raise ObservationError(
            "the uncertainty must be a StdDevUncertainty, VarianceUncertainty or InverseVariance; "
            f"got {type(uncertainty).__name__}"
        )
    power, to_weight = _KINDS[uncertainty.uncertainty_type]
    values = np.ma.filled(np.ma.array(uncertainty.array, dtype=np.float64), np.nan)
    if values.shape not in ((), shape):
        raise ObservationError(
            f"the uncertainty must have the shape of the data, {shape}; got {values.shape}"
        )
    if uncertainty.unit is not None:
        values = values * uncertainty.unit.to(unit**power)  # astropy has seen to it that they agree
    values = np.broadcast_to(values, shape)
    unused = unused | np.isnan(values)
    _refuse_values(values < 0, unused, "negative", "<= 0")
    # An infinite sigma is a pixel without weight, and so is an inverse variance of zero.
    with np.errstate(all="ignore"):
        weights = values**to_weight
    if to_weight > 0:
        _refuse_values(weights == np.inf, unused, "infinite", "== numpy.inf")
    else:
        _refuse_values(weights == np.inf, unused, "zero", "<= 0")
    return np.where(unused, 0.0, weights)


def _refuse_values(bad, unused, what, condition):
    count = np.count_nonzero(bad & ~unused)
    if count:
        raise ObservationError(
            f"the uncertainty is {what} in {count} pixels that are not masked; if they are bad, mask them: "
            f"bad = nddata.uncertainty.array {condition}; "
            "nddata.mask = bad if nddata.mask is None else nddata.mask | bad"
        )


def _read_psf(psf):
    psf = np.asarray(psf)
    if psf.ndim != 2 or psf.dtype.kind not in "iuf":
        raise ObservationError(f"the psf must be a two-dimensional array; got shape {psf.shape}, {psf.dtype}")
    if psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ObservationError(
            "the psf must have an odd number of rows and of columns, so that its centre is a pixel; "
            f"got {psf.shape}. If its peak is on pixel (n // 2, n // 2) of an even axis drop the first one, "
            "psf[1:, 1:]; if it is centred between pixels move it, "
            "scipy.ndimage.shift(numpy.pad(psf, ((0, 1), (0, 1))), 0.5)"
        )
    psf = psf.astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(psf))
    if bad:
        raise ObservationError(f"the psf must be finite; got {bad} pixels that are NaN or infinite")
    total = psf.sum()
    if not total > 0:
        raise ObservationError(f"the psf must have a positive sum; got {total:.6g}")
    if abs(total - 1) > _PSF_TOLERANCE:
        warn(f"the psf sums to {total:.6g}; it is normalised to one")
    return psf / total
