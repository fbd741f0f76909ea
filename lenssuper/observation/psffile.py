"""PSFs in FITS files: how fine they are, whether they contain the pixel, and where their centre is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from lenssuper._utils.files import reading
from lenssuper._utils.units import to_arcsec
from lenssuper._utils.warn import warn
from lenssuper.exceptions import FileFormatError, ObservationError
from lenssuper.observation.layouts import Part, listed, parts_of
from lenssuper.observation.opening import open_fits

__all__ = ["PsfArray", "PsfOptions", "psf_of", "read_psf", "read_psf_part"]

# Cards with the side of a sample in arcsec, and with the number of samples per pixel of the detector.
_SCALE_CARDS, _SAMPLE_CARDS = ("PIXELSCL", "PIXSCALE", "PIXELSCA"), ("DET_SAMP", "OVERSAMP")
# Extensions of STPSF (formerly WebbPSF): the first two are finer than the detector and do not contain its
# pixel.
_OPTICAL, _DETECTOR = ("OVERDIST", "OVERSAMP"), ("DET_DIST", "DET_SAMP")
# A number of samples per pixel this close to an integer is one: 0.2 per cent of the width.
_WHOLE = 2e-3
# Distance of the centre from the middle, in pixels, from which it is spoken of.
_OFF_CENTRE = 0.3
_MAX_OVERSAMPLING = 16


@dataclass(frozen=True)
class PsfOptions:
    """
    What a user says of a PSF file, because it does not say it itself.

    Attributes
    ----------
    ext : str or int, optional
        The extension with the PSF.
    scale : `~astropy.units.Quantity`, optional
        Side of a sample, an angle; it need not divide the pixel.
    oversampling : int, optional
        Samples per pixel of the image.
    includes_pixel : bool, optional
        Whether it contains the averaging over a pixel, as that of a star does.
    recentre : bool, optional
        Whether to move its centre to the middle.
    position : (float, float), optional
        Column and row, from 0, at which to evaluate a PSF that varies over the image (PSFEx).
    """

    ext: str | int | None = None
    scale: u.Quantity | None = None
    oversampling: int | None = None
    includes_pixel: bool | None = None
    recentre: bool = False
    position: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class PsfArray:
    """
    A PSF that an observation can take.

    Attributes
    ----------
    values : ndarray, shape (odd, odd)
        Of sum one.
    oversampling : int
    includes_pixel : bool
    found : tuple of str
        What the file says, and what was done.
    """

    values: np.ndarray
    oversampling: int
    includes_pixel: bool
    found: tuple[str, ...] = ()


def read_psf(
    psf: np.ndarray | str | os.PathLike, pixel_side: float | None, options: PsfOptions | None = None
) -> PsfArray:
    """
    Read a PSF from a file, or take an array; parameters as for `psf_of`.

    Raises
    ------
    FileFormatError
        If the file holds no PSF, or several.
    ObservationError
        If its samples are coarser than the pixels, or too fine.
    """
    options = options or PsfOptions()
    if isinstance(psf, (str, os.PathLike)):
        with open_fits(psf) as hdus, reading(psf, "a FITS image"):
            return psf_of(hdus, os.fspath(psf), pixel_side, options)
    return _finished(np.array(psf, dtype=np.float64), None, "", True, pixel_side, options)


def psf_of(
    hdus: fits.HDUList, name: str, pixel_side: float | None, options: PsfOptions | None = None
) -> PsfArray:
    """
    Find the PSF in an open file.

    Parameters
    ----------
    hdus : HDUList
    name : str
        Of the file.
    pixel_side : float or None
        Side of a pixel of the image that it is for, in arcsec.
    options : PsfOptions, optional
    """
    options = options or PsfOptions()
    model = next(
        (hdu for hdu in hdus if "PSF_SAMP" in hdu.header and isinstance(hdu, fits.BinTableHDU)), None
    )
    if model is not None:
        return _psfex(model, options)
    parts = [part for part in parts_of(hdus) if len(part.shape) == 2]
    if options.ext is not None:
        wanted = str(options.ext).upper()
        parts = [part for part in parts if wanted in (part.hdu.name, str(part.index))]
    found = [part for part in parts if part.role == "psf"] or parts
    found = sorted(found, key=lambda part: part.rank)
    if not found:
        raise FileFormatError(f"{name} holds no image of a PSF")
    if found[0].role != "psf" and len(found) > 1:
        raise FileFormatError(
            f"{name} holds {len(found)} images, and none is named as the PSF: choose one with psf_ext=, "
            f"of {listed(found)}"
        )
    own = {key: hdus[0].header[key] for key in ("PSFOVERS", "PSFPIXEL") if key in hdus[0].header}
    psf = read_psf_part(found[0], pixel_side, options, own)
    return replace(psf, found=(f"PSF from {found[0].label} of {os.path.basename(name)}", *psf.found))


def read_psf_part(part: Part, pixel_side: float | None, options: PsfOptions, own: Mapping) -> PsfArray:
    """
    Read a PSF from an image of a file, with what its header says and what the user says.

    Parameters
    ----------
    part : Part
    pixel_side : float or None
        Side of a pixel of the image that it is for, in arcsec.
    options : PsfOptions
    own : mapping
        The cards PSFOVERS and PSFPIXEL of a file of lenssuper's own.
    """
    values = np.asarray(part[:, :], dtype=np.float64)
    ratio, why = _stated_sampling(part, pixel_side, own)
    includes = own.get("PSFPIXEL", part.hdu.name not in _OPTICAL)
    return _finished(values, ratio, why, bool(includes), pixel_side, options)


def _stated_sampling(part, pixel_side, own):
    """Samples per pixel as the file says, and how it says it; None if it does not."""
    if "PSFOVERS" in own:
        return float(own["PSFOVERS"]), f"PSFOVERS = {own['PSFOVERS']}"
    header = part.hdu.header
    card = next((card for card in _SCALE_CARDS if card in header), None)
    side = None if card is None else float(header[card])
    if side is None and "CTYPE1" in header:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(header)
        if wcs.has_celestial:
            matrix = wcs.celestial.pixel_scale_matrix
            side, card = float(np.sqrt(abs(np.linalg.det(matrix)))) * 3600, "its WCS"
    if side is not None and pixel_side is not None and side > 0:
        return pixel_side / side, f"{card}: samples of {side:.5g} arcsec"
    if part.hdu.name in _DETECTOR:
        return 1.0, f"{part.hdu.name} has the pixels of the detector"
    card = next((card for card in _SAMPLE_CARDS if card in header), None)
    return (None, "") if card is None else (float(header[card]), f"{card} = {header[card]}")


def _finished(values, ratio, why, includes, pixel_side, options):
    """Apply what the user says, and bring the samples to a whole number per pixel and the centre to one."""
    found = []
    asked = _asked_sampling(pixel_side, options)
    if asked is not None:
        if ratio is not None and abs(asked / ratio - 1) > _WHOLE:
            _warn(
                f"the PSF is taken with {asked:.4g} samples per pixel, as given; its file says "
                f"{ratio:.4g} ({why})"
            )
        ratio, why = asked, "as given"
    if options.includes_pixel is not None:
        includes = options.includes_pixel
    values = _odd(values)
    ratio = 1.0 if ratio is None else ratio
    if not 0 < ratio <= _MAX_OVERSAMPLING:
        raise ObservationError(
            f"the PSF must have up to {_MAX_OVERSAMPLING} samples per pixel; got {ratio:.4g} ({why})"
        )
    oversampling = max(1, round(ratio))
    if abs(ratio / oversampling - 1) > _WHOLE:
        oversampling = int(np.ceil(ratio))
        total = values.sum()
        values = _resampled(values, ratio / oversampling)
        values *= total / values.sum()
        found.append(f"the PSF has {ratio:.4g} samples per pixel ({why}): resampled to {oversampling}")
    elif why:
        kind = "contains the pixel" if includes else "is optical"
        samples = "one sample" if oversampling == 1 else f"{oversampling} samples"
        found.append(f"the PSF has {samples} per pixel ({why}) and {kind}")
    values, said = _centred(values, oversampling, options.recentre)
    return PsfArray(values, oversampling, includes, (*found, *said))


def _asked_sampling(pixel_side, options):
    if options.scale is not None and options.oversampling is not None:
        raise ObservationError(
            "psf_scale and psf_oversampling both say how fine the PSF is; give one of them"
        )
    if options.scale is None:
        return None if options.oversampling is None else float(options.oversampling)
    if pixel_side is None:
        raise ObservationError("psf_scale= needs the pixels of the image: it has no WCS; give pixel_scale=")
    side = to_arcsec(options.scale, "psf_scale")
    if not side > 0:
        raise ObservationError(f"psf_scale must be positive; got {options.scale}")
    return pixel_side / side


def _odd(values):
    """Give a PSF with odd sides, whose middle is where it is centred: between samples, or on one."""
    if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all() or not values.sum() > 0:
        return values  # the observation says what is wrong
    for axis, n in enumerate(values.shape):
        if n % 2:
            continue
        centre = _centre(values)[axis]
        if abs(centre - n // 2) < abs(centre - (n - 1) / 2):  # on the sample behind the middle
            values = np.delete(values, 0, axis)
        else:
            shift = np.zeros(2)
            shift[axis] = 0.5
            padding = [(0, 0), (0, 0)]
            padding[axis] = (0, 1)
            values = ndimage.shift(np.pad(values, padding), shift, order=5)
    return values


def _resampled(values, step):
    """Sample a PSF anew at steps of so many of its samples, from its middle."""
    half = [int((n // 2) / step) for n in values.shape]
    at = [n // 2 + step * np.arange(-reach, reach + 1) for n, reach in zip(values.shape, half, strict=True)]
    return ndimage.map_coordinates(values, np.meshgrid(*at, indexing="ij"), order=5)


def _centre(values):
    """Row and column of the centre: the mean position within a Gaussian window that follows it."""
    sides = np.indices(values.shape)
    smooth = ndimage.gaussian_filter(values, 1.0)
    centre = np.array(np.unravel_index(np.argmax(smooth), values.shape), dtype=float)
    area = np.count_nonzero(smooth > smooth.max() / 2)
    width = max(1.0, np.sqrt(area / np.pi))
    for _ in range(10):
        r2 = sum((side - c) ** 2 for side, c in zip(sides, centre, strict=True))
        weight = np.clip(values, 0, None) * np.exp(-r2 / (2 * width**2))
        centre = centre + 2 * np.array(
            [(weight * (s - c)).sum() / weight.sum() for s, c in zip(sides, centre, strict=True)]
        )
    return centre


def _centred(values, oversampling, recentre):
    if values.ndim != 2 or not np.isfinite(values).all() or not values.sum() > 0:
        return values, ()
    middle = np.array([n // 2 for n in values.shape])
    off = (_centre(values) - middle) / oversampling
    if recentre:
        return ndimage.shift(values, -off * oversampling, order=5), (
            f"moved the PSF by {-off[1]:.2f} columns and {-off[0]:.2f} rows of the image to its middle",
        )
    if np.hypot(*off) > _OFF_CENTRE:
        text = (
            f"the centre of the PSF is {off[1]:+.2f} columns and {off[0]:+.2f} rows from its middle, in "
            "pixels of the image, by which everything is shifted; center_psf=True moves it"
        )
        _warn(text)
        return values, (text.split(";")[0],)
    return values, ()


def _psfex(hdu, options):
    """
    Evaluate a PSF of PSFEx, which contains the pixel, where the lens is.

    It is a polynomial in the position (Bertin 2011, ASP Conf. 442, 435): its terms come with the power of the
    first coordinate growing fastest.
    """
    header = hdu.header
    planes = np.asarray(hdu.data["PSF_MASK"][0], dtype=np.float64)
    degree = int(header.get("POLDEG1", 0)) if header.get("POLNAXIS", 0) else 0
    at, found = [0.0, 0.0], []
    names = [str(header.get(f"POLNAME{axis}", "_IMAGE")) for axis in (1, 2)]
    if degree and not all("_IMAGE" in name for name in names):
        raise FileFormatError(
            f"the PSF of PSFEx must vary with the position in X_IMAGE and Y_IMAGE; got {' and '.join(names)}"
        )
    if header.get("POLNAXIS", 0) == 2 and options.position is not None:
        at = [
            (options.position[axis] + 1 - float(header[f"POLZERO{axis + 1}"]))
            / float(header[f"POLSCAL{axis + 1}"])
            for axis in (0, 1)
        ]
    elif degree:
        found.append("the PSF varies over the image, and is that of the middle of the stars it was made of")
    terms = [at[0] ** i * at[1] ** j for j in range(degree + 1) for i in range(degree + 1 - j)]
    if planes.ndim != 3 or header.get("POLNAXIS", 0) not in (0, 2) or len(terms) != len(planes):
        raise FileFormatError(
            f"the PSF of PSFEx must be a polynomial in two coordinates; it has {planes.shape} samples and "
            f"{len(terms)} terms"
        )
    values = np.tensordot(terms, planes, 1)
    if values.sum() > 0:
        values /= values.sum()
    step = float(header["PSF_SAMP"])
    psf = _finished(values, 1 / step, f"PSF_SAMP = {step:g}", True, None, options)
    return replace(psf, found=("PSF of PSFEx", *found, *psf.found))


def _warn(text):
    warn(text)
