"""A cutout around a lens, with everything that belongs to it, from an image in memory or a mosaic on disk."""

from __future__ import annotations

import copy
import os
from contextlib import ExitStack, contextmanager

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, InverseVariance, NDData, NoOverlapError, StdDevUncertainty
from astropy.wcs import WCS

from lenssuper._utils.files import reading
from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import FileFormatError, ObservationError

__all__ = ["cut_out"]

# Extensions in which the standard deviation, the inverse variance, the mask and the PSF are looked for: those
# of CCDData, of the pipelines of HST and JWST, and of drizzled images.
_DEVIATION, _INVERSE = ("UNCERT", "ERR", "RMS"), ("IVM",)
_MASK, _PSF = ("MASK",), ("PSFIMAGE", "PSF")


def cut_out(
    image: NDData | str | os.PathLike,
    center: SkyCoord | tuple[float, float] | None = None,
    size: u.Quantity | None = None,
    *,
    unit: u.UnitBase | None = None,
) -> CCDData:
    """
    Cut a square out of an image, with its uncertainty, mask, PSF and WCS.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or path
        An image with a celestial WCS, or a FITS file. Of a file, only what is cut out is read: the image is
        in the extension SCI or else the first that holds one, the standard deviation in UNCERT, ERR or RMS
        (or the inverse variance in IVM), the mask in MASK (not 0 = do not use), and the PSF in PSFIMAGE or
        PSF.
    center : `~astropy.coordinates.SkyCoord` or tuple of float, optional
        Where the lens is, on the sky or as column and row (from 0). By default the whole image is taken.
    size : `~astropy.units.Quantity`, optional
        Side of the square, an angle. The number of pixels is rounded up to an odd one, so that the centre is
        within half a pixel of the middle.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the data of a file, instead of what BUNIT says.

    Returns
    -------
    CCDData
        With the pixels beyond the edge of the image masked.

    Raises
    ------
    ObservationError
        If the square does not overlap the image, or the image has no WCS to tell how large it is.
    FileFormatError
        If the file cannot be read as a FITS image.
    """
    if (center is None) != (size is None):
        raise ValueError("center and size must be given together; got only one of them")
    with _layers(image, unit) as layers:
        wcs, shape = layers["wcs"], layers["data"].shape
        if center is None:
            middle = tuple((n - 1) / 2 for n in shape[::-1])
            window = Cutout2D(np.broadcast_to(0.0, shape), middle, shape, wcs=wcs, copy=True)
        else:
            window = _window(shape, center, _pixels(size, wcs), wcs)
        data = _part(layers["data"], window, np.nan, float)
        outside = ~_part(np.broadcast_to(True, shape), window, False, bool)
        mask = outside if layers["mask"] is None else outside | _part(layers["mask"], window, True, bool)
        uncertainty = layers["uncertainty"]
        if uncertainty is not None:
            kind, values = uncertainty
            uncertainty = kind(_part(values, window, np.nan, float))
        return CCDData(
            data,
            unit=layers["unit"],
            uncertainty=uncertainty,
            mask=mask,
            wcs=window.wcs,
            meta=layers["meta"],
            psf=layers["psf"],
        )


def _pixels(size, wcs):
    """The number of pixels along the side of the square."""
    if wcs is None:
        raise ObservationError("image must have a WCS, so that size is known in pixels")
    scale = np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix))) * u.Unit(wcs.wcs.cunit[0])
    side = to_arcsec(size, "size")
    if not side > 0:
        raise ValueError(f"size must be positive; got {size}")
    return 2 * int(np.ceil(side / scale.to_value(u.arcsec) / 2 - 0.5)) + 1


def _window(shape, center, pixels, wcs):
    """The slices of a square of so many pixels, by a cutout of nothing."""
    if isinstance(center, SkyCoord):
        if not wcs.has_celestial:
            raise ObservationError("image has no celestial WCS: give center as column and row")
        place = tuple(float(c) for c in wcs.world_to_pixel(center))
    else:
        place = tuple(float(c) for c in center)
        if len(place) != 2 or not np.all(np.isfinite(place)):
            raise ValueError(f"center must be a SkyCoord, or column and row; got {center}")
    try:
        if not np.all(np.isfinite(place)):  # on the other side of the sky
            raise NoOverlapError
        return Cutout2D(np.broadcast_to(0.0, shape), place, pixels, wcs=wcs, mode="partial", copy=True)
    except NoOverlapError:
        raise ObservationError(
            f"center, {center!r:.100}, is outside of the image of {shape} pixels: nothing of it is cut out"
        ) from None


def _part(values, window, fill, kind):
    part = np.full(window.shape, fill, dtype=kind)
    part[window.slices_cutout] = np.asarray(values[window.slices_original]).astype(kind)
    return part


@contextmanager
def _layers(image, unit):
    """What an image consists of; of a file, as sections that are read when they are sliced."""
    if isinstance(image, NDData):
        mask = image.mask
        uncertainty = image.uncertainty
        yield {
            "data": np.asanyarray(image.data),
            "unit": image.unit or u.dimensionless_unscaled,
            "uncertainty": None if uncertainty is None else (type(uncertainty), uncertainty.array),
            "mask": None if mask is None else np.broadcast_to(np.asarray(mask, dtype=bool), image.data.shape),
            "wcs": image.wcs,
            "meta": copy.deepcopy(image.meta),
            "psf": None if image.psf is None else np.array(image.psf),
        }
        return
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(
            f"image must be an NDData, such as a CCDData, or the name of a FITS file; got {image!r:.80}"
        )
    with ExitStack() as stack:
        with reading(image, "a FITS image"):
            hdus = stack.enter_context(fits.open(image, memmap=True))
            layers = _read_layers(hdus, unit)
        if layers is None:
            raise FileFormatError(f"{image} holds no two-dimensional image")
        yield layers


def _read_layers(hdus, unit):
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] == 2]
    if not images:
        return None
    science = next((hdu for hdu in images if hdu.name == "SCI"), images[0])
    others = {hdu.name: hdu for hdu in images if hdu is not science}

    def find(names):
        return next((others[name] for name in names if name in others), None)

    deviation, inverse, mask, psf = find(_DEVIATION), find(_INVERSE), find(_MASK), find(_PSF)
    uncertainty = None if inverse is None else (InverseVariance, inverse.section)
    if deviation is not None:
        uncertainty = (StdDevUncertainty, deviation.section)
    wcs = WCS(science.header, hdus)
    return {
        "data": science.section,
        "unit": unit or u.Unit(science.header.get("BUNIT", "").strip() or u.dimensionless_unscaled),
        "uncertainty": uncertainty,
        "mask": None if mask is None else mask.section,
        "wcs": wcs if wcs.has_celestial or any(wcs.wcs.cunit) else None,
        "meta": science.header.copy(strip=True),
        "psf": None if psf is None else np.array(psf.data),
    }
