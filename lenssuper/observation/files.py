"""Observations as FITS files, in the layout of astropy's CCDData."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData

from lenssuper._utils.files import atomic_write
from lenssuper._utils.files import reading as named
from lenssuper._utils.warn import warn
from lenssuper.exceptions import FileFormatError
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.image import Observation
from lenssuper.observation.nddata import OWN_CARDS
from lenssuper.observation.opening import without_wcs
from lenssuper.observation.pixelarrays import are_images
from lenssuper.observation.reader import Reading, open_image

__all__ = ["fits_header", "read_ccddata", "read_observation", "write_observation"]

# Name of the extension with the errors of the light in front
_LIGHT_ERRORS = "LIGHTERR"


def write_observation(observation: Observation, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write an observation as a FITS file in the layout of `~astropy.nddata.CCDData`.

    PRIMARY holds the data, UNCERT the standard deviation, MASK the mask (1 = do not use), PSFIMAGE the PSF
    and LIGHTERR, where there are any, the `Observation.light_errors`. The file is complete under its name or
    not there, however the writing ends.

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
    if not isinstance(observation, Observation):
        raise TypeError(f"observation must be an Observation; got {observation!r:.80}")
    nddata = observation.to_nddata()
    cards = {key: nddata.meta[key] for key in OWN_CARDS if key in nddata.meta}
    nddata.meta = without_wcs(fits_header(observation.meta))
    hdus = nddata.to_hdu()
    if observation.light_errors is not None:
        hdus.append(fits.ImageHDU(observation.light_errors.astype(np.float32), name=_LIGHT_ERRORS))
    for key, value in {"LSNEXT": len(hdus) - 1, **cards}.items():
        hdus[0].header[key] = (value, OWN_CARDS[key])
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
    reading: Reading | None = None,
) -> Observation:
    """Read an observation from a FITS file, of `write_observation` or in the layout of a survey.

    Parameters
    ----------
    path : str or path-like
        File with the image, its noise, and where there are any flags and a PSF, in extensions named as
        `~astropy.nddata.CCDData` does it (UNCERT, MASK and PSFIMAGE) or as surveys do.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the data, instead of what BUNIT says; by default, without BUNIT the data have no unit.
    grid : PixelGrid, optional
        Where the pixels are, instead of what the WCS of the file says.
    psf_oversampling, psf_includes_pixel : optional
        As in `Observation.from_nddata`; by default what the file says, else 1 and True.
    reference, noise_correlation : optional
        As in `Observation.from_nddata`.
    reading : `~lenssuper.observation.reader.Reading`, optional
        Which extension or file is what, where names do not say it.

    Returns
    -------
    Observation

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or not a FITS image, or holds several images.
    ObservationError
        If what it holds cannot be used.
    """
    path = os.fspath(path)
    reading = reading or Reading()
    if unit is not None:
        reading = replace(reading, unit=unit)
    psf = replace(
        reading.psf,
        oversampling=psf_oversampling if psf_oversampling is not None else reading.psf.oversampling,
        includes_pixel=psf_includes_pixel if psf_includes_pixel is not None else reading.psf.includes_pixel,
    )
    nddata = read_ccddata(path, replace(reading, psf=psf))
    with named(path, "an observation"):
        observation = Observation.from_nddata(
            nddata, grid=grid, reference=reference, noise_correlation=noise_correlation
        )
    return replace(observation, light_errors=_light_errors_in(path, observation.shape))


def _light_errors_in(path, shape):
    """Return the images (n, ny, nx) of the errors of the light in front in a file; None if it has none."""
    with fits.open(path, memmap=False) as hdus:  # its headers were checked before
        if _LIGHT_ERRORS not in hdus:
            return None
        images = np.asarray(hdus[_LIGHT_ERRORS].data, dtype=np.float64)
    if not are_images(images, shape):
        raise FileFormatError(
            f"{path}: {_LIGHT_ERRORS} must hold finite images of the shape of the data, {shape}"
        )
    return images


def read_ccddata(path: str | os.PathLike, reading: Reading | None = None) -> CCDData:
    """Read what a FITS file holds, if it is whole; cards of lenssuper's own are in its meta."""
    with open_image(path, reading) as layers:
        ccd, found = layers.whole()
    ccd.meta.update({key: (layers.cards[key], OWN_CARDS[key]) for key in layers.cards if key != "LSNEXT"})
    if "LSNEXT" not in layers.cards:  # of a file of lenssuper's own, all is known
        for sentence in (*layers.found, *found):
            ccd.meta.add_history(f"lenssuper read: {sentence}")
    return ccd


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
