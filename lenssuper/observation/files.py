"""Observations as FITS files, in the layout of astropy's CCDData."""

from __future__ import annotations

import os
import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData

from lenssuper._utils.checks import check_kind
from lenssuper._utils.files import atomic_write, reading
from lenssuper._utils.warn import warn
from lenssuper.exceptions import FileFormatError, ObservationError
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.image import Observation

__all__ = [
    "DAMAGE",
    "fits_header",
    "observation_as",
    "read_ccddata",
    "read_observation",
    "sums_agree",
    "write_observation",
]

# Cards that a written observation has beside those of the CCDData layout.
_CARDS = {
    "LSNEXT": "number of extensions of this file",
    "LSGRID": "offsets are counted from CRVAL",
    "PSFOVERS": "PSF samples per pixel",
    "PSFPIXEL": "whether the PSF contains the pixel",
}


def write_observation(observation: Observation, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write an observation as a FITS file in the layout of `~astropy.nddata.CCDData`.

    PRIMARY holds the data, UNCERT the standard deviation, MASK the mask (1 = do not use) and PSFIMAGE the
    PSF. The file is complete under its name or not there, however the writing ends.

    Parameters
    ----------
    observation : Observation
        What to write.
    path : str or path-like
        Name of the file.
    overwrite : bool, optional
        Whether a file of that name may be replaced.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is not set.

    Warns
    -----
    LensSuperWarning
        If an entry of ``meta`` does not fit in a FITS header.
    """
    check_kind(observation, "observation", Observation)
    nddata = observation.to_nddata()
    nddata.meta = fits_header(observation.meta)
    hdus = nddata.to_hdu()
    values = (len(hdus) - 1, True, observation.psf_oversampling, observation.psf_includes_pixel)
    for (key, comment), value in zip(_CARDS.items(), values, strict=True):
        hdus[0].header[key] = (value, comment)
    with atomic_write(path, overwrite=overwrite) as beside:
        hdus.writeto(beside, checksum=True)


def read_observation(
    path: str | os.PathLike,
    *,
    unit: u.UnitBase | None = None,
    grid: PixelGrid | None = None,
    reference: SkyCoord | None = None,
    psf_oversampling: int | None = None,
    psf_includes_pixel: bool | None = None,
    noise_correlation: float | np.ndarray | None = None,
) -> Observation:
    """Read an observation from a FITS file in the layout of `~astropy.nddata.CCDData`.

    Parameters
    ----------
    path : str or path-like
        File with the image, and extensions UNCERT, MASK and PSFIMAGE.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the data, instead of what BUNIT says; by default, without BUNIT the data have no unit.
    grid : PixelGrid, optional
        Where the pixels are, instead of what the WCS of the file says.
    psf_oversampling, psf_includes_pixel : optional
        As in `Observation.from_nddata`; by default what the file says, else 1 and True.
    reference, noise_correlation : optional
        As in `Observation.from_nddata`.

    Returns
    -------
    Observation

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or not a FITS image.
    ObservationError
        If what it holds cannot be used.
    """
    path = os.fspath(path)
    nddata, cards = read_ccddata(path, unit)
    try:
        given = {
            "psf_oversampling": psf_oversampling,
            "psf_includes_pixel": psf_includes_pixel,
            "noise_correlation": noise_correlation,
            "grid": grid,
            "reference": reference,
        }
        return observation_as(
            nddata, cards, **{name: value for name, value in given.items() if value is not None}
        )
    except ObservationError as error:
        raise ObservationError(f"{path}: {error}") from error


def observation_as(nddata, cards, **given):
    """
    An observation whose pixels and PSF are what the cards of a file say.

    ``given`` are arguments of `Observation.from_nddata` that the cards do not decide.
    """
    said = {
        "psf_oversampling": cards.get("PSFOVERS", 1),
        "psf_includes_pixel": cards.get("PSFPIXEL", True),
    }
    if not given.keys() & {"grid", "reference"} and cards.get("LSGRID") and nddata.wcs is not None:
        said["grid"] = PixelGrid.from_own_wcs(nddata.wcs, nddata.shape)
    return Observation.from_nddata(nddata, **(said | given))


# What astropy only warns of when it opens a damaged file.
DAMAGE = ("File may have been truncated", "Error validating header")


def read_ccddata(path, unit):
    """What a FITS file holds, if it is whole, and the cards of lenssuper in it."""
    with reading(path, "a FITS image"):
        cards, bunit = _check_file(path)
        if unit is None and not bunit.strip():
            unit = u.dimensionless_unscaled
        nddata = CCDData.read(path, format="fits", unit=unit)
    for key in (*_CARDS, "CHECKSUM", "DATASUM"):
        nddata.meta.remove(key, ignore_missing=True)
    return nddata, cards


def _check_file(path):
    """The cards of lenssuper in a FITS file that is whole, and the unit of its first image."""
    # Damage is looked for in the warnings afterwards: an error raised inside astropy leaves the file open.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fits.open(path) as hdus:
            extensions = len(hdus) - 1  # reads all headers
            header = hdus[0].header
            images = [hdu.header for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 0]
            cards = {key: header[key] for key in _CARDS if key in header}
            # Only own files are held to their count and sums, which others carry stale.
            corrupt = [hdu.name for hdu in hdus if "LSNEXT" in cards and not sums_agree(hdu)]
    for warning in caught:
        if str(warning.message).startswith(DAMAGE):
            raise FileFormatError(f"{path} is damaged: {warning.message}")
    if extensions < cards.get("LSNEXT", 0):
        raise FileFormatError(f"{path} is truncated: it has {extensions} extensions of {cards['LSNEXT']}")
    if corrupt:
        raise FileFormatError(f"{path} is corrupt: the checksum of {', '.join(corrupt)} is wrong")
    if not images:
        raise FileFormatError(f"{path} holds no image")
    return cards, str(images[0].get("BUNIT", header.get("BUNIT", "")))


def sums_agree(hdu):
    """Whether the checksums of a part of a file are those of what it holds."""
    return hdu.verify_datasum() and hdu.verify_checksum()


def fits_header(meta):
    """A FITS header of a mapping; entries that do not fit are named in a warning."""
    if isinstance(meta, fits.Header):
        return meta.copy()
    header, left_out = fits.Header(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # long keywords become HIERARCH cards
        for key, value in meta.items():
            try:
                card = fits.Card(key, value)
                card.verify("exception")
                str(card)  # the length shows only here
                header.append(card)
            except (ValueError, TypeError, fits.VerifyError):
                left_out.append(key)
    if left_out:
        warn(f"these entries of meta do not fit in a FITS header and are not written: {left_out}")
    return header
