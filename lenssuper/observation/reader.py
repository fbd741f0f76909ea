"""The reader of images in FITS files: science, noise, mask, unit, PSF and WCS, and which is what."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from lenssuper._utils.files import reading as named
from lenssuper._utils.warn import warn
from lenssuper.exceptions import FileFormatError, ObservationError
from lenssuper.observation.bits import flags_of, unfit_pixels
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.layers import Layers, side_of
from lenssuper.observation.layouts import NOISE, listed, of_science, parts_of, science_of
from lenssuper.observation.nddata import OWN_CARDS
from lenssuper.observation.opening import open_fits, without_wcs
from lenssuper.observation.psffile import PsfOptions, read_psf_part
from lenssuper.observation.regionfile import is_region_file, unfit_in_regions
from lenssuper.observation.units import read_unit

__all__ = ["Reading", "open_image"]

_KINDS = {"std": StdDevUncertainty, "var": VarianceUncertainty, "ivar": InverseVariance}
_WORDS = {"std": "standard deviation", "var": "variance", "ivar": "inverse variance (weight)"}
_POWERS = {"std": 1, "var": 2, "ivar": -2}
_STRUCTURE = ("EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT", "XTENSION", "CHECKSUM", "DATASUM", "UTYPE", "BUNIT")


@dataclass(frozen=True)
class Reading:
    """
    What a user says of a file, because it does not say it itself or says it wrong.

    Attributes
    ----------
    ext : str or int, optional
        The image: name or number of its extension, ``"SCI,2"`` for the second of that name, ``"SCI:0"`` for
        the first plane of a cube, or a band. By default it is found by its name.
    unit : `~astropy.units.UnitBase` or str, optional
        Unit of the data, instead of BUNIT.
    noise, weight : path or str, optional
        Map of the standard deviation (or of what its name says), or of the inverse variance: a file, or an
        extension of the image's file; ``noise="none"`` leaves that of the file unused.
    mask : path or str, optional
        Map of pixels not to use, or of flags, besides that of the file: a file, or an extension; or a file
        ``*.reg`` of regions, as DS9 saves them.
    mask_bits : str or int, optional
        Which flags make a pixel unfit, by name or value: ``"SAT,CR"``, ``"1,4"``; ``"~64"`` is all but 64.
    pixel_scale : `~astropy.units.Quantity`, optional
        Side of a pixel of an image without WCS.
    psf : PsfOptions, optional
        What is said of the PSF in the file.
    """

    ext: str | int | None = None
    unit: u.UnitBase | str | None = None
    noise: str | os.PathLike | None = None
    weight: str | os.PathLike | None = None
    mask: str | os.PathLike | None = None
    mask_bits: str | int | None = None
    pixel_scale: u.Quantity | None = None
    psf: PsfOptions = field(default_factory=PsfOptions)

    def __post_init__(self) -> None:
        if self.pixel_scale is not None:
            PixelGrid((1, 1), self.pixel_scale)  # raises now
        if self.unit is not None:
            _unit_asked_for(self.unit)


@contextmanager
def open_image(
    image: NDData | str | os.PathLike, reading: Reading | None = None, position: SkyCoord | None = None
) -> Iterator[Layers]:
    """
    Open an image, in memory or in a FITS file, and find out what is what in it.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or path
    reading : Reading, optional
    position : `~astropy.coordinates.SkyCoord`, optional
        What is to be cut out; it chooses between two chips.

    Yields
    ------
    Layers
    """
    reading = reading or Reading()
    if isinstance(image, NDData):
        yield _layers_of_nddata(image, reading)
        return
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(
            f"image must be an NDData, such as a CCDData, or the name of a FITS file; got {image!r:.80}"
        )
    with ExitStack() as stack:
        hdus = stack.enter_context(open_fits(image))
        with named(image, "a FITS image"):
            layers = _layers_of_file(hdus, os.fspath(image), reading, position, stack)
        yield layers


def _layers_of_nddata(image, reading):
    for name in ("ext", "noise", "weight", "mask", "mask_bits"):
        if getattr(reading, name) is not None:
            raise ObservationError(f"{name} is for the extensions of a file, and image is in memory")
    unit = image.unit if reading.unit is None else _unit_asked_for(reading.unit)
    unit = unit or u.dimensionless_unscaled
    shape = np.shape(image.data)
    noise = image.uncertainty
    if noise is not None and noise.array is not None and noise.uncertainty_type in _KINDS:
        role = noise.uncertainty_type
        values = np.broadcast_to(np.ma.filled(np.ma.array(noise.array, dtype=float), np.nan), shape)
        noise = (_KINDS[role], values, _factor(noise.unit, unit, role, "the uncertainty"))
    elif noise is not None:
        noise = (type(noise), np.broadcast_to(noise.array, shape), 1.0)
    unfit = ()
    if image.mask is not None:
        mask = np.broadcast_to(np.asarray(image.mask, dtype=bool), shape)
        unfit = (lambda window: mask[window],)
    wcs, said = _wcs_or_scale(image.wcs, shape, reading)
    cards = {key: image.meta[key] for key in OWN_CARDS if key in image.meta}
    psf = None if image.psf is None else np.array(image.psf, dtype=np.float64)
    data = np.ma.filled(np.ma.array(image.data, dtype=float), np.nan)
    return Layers(shape, data, unit, wcs, image.meta, "", noise, unfit, None, psf, cards, said)


def _layers_of_file(hdus, name, reading, position, stack):
    parts = parts_of(hdus)
    holds = None if position is None else (lambda part: _holds(part, hdus, position))
    science = science_of(parts, reading.ext, name, holds)
    primary, header = hdus[0].header, science.hdu.header
    meta = header.copy(strip=True)
    if science.index:
        meta.extend(primary.copy(strip=True), unique=True)
    found, used = [], [science]
    unit, label = _unit_of(header, primary, reading, name)
    cards = {key: primary[key] for key in OWN_CARDS if key in primary}
    fits.Header(list(cards.items()))  # raises for an infinite number, which no header can hold
    meta = without_wcs(meta)
    for key in (*OWN_CARDS, *_STRUCTURE):
        meta.remove(key, ignore_missing=True, remove_all=True)
    if label is not None:
        meta["ORIGUNIT"] = (label, "BUNIT of the file, which is not understood")
    found.append(f"image from {science.label}, in {str(unit) or 'no unit'}")
    noise = _noise_of(parts, science, reading, unit, name, stack, found, used)
    unfit = _flags_of(parts, science, reading, name, primary, stack, found, used)
    exposure = of_science(parts, science, ("exposure",))
    if exposure is not None:
        used.append(exposure)
        found.append(f"coverage from {exposure.label}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header, hdus)
    wcs, said = _wcs_or_scale(wcs if _useful(wcs) else None, science.shape, reading)
    found += said
    if is_region_file(reading.mask):
        unfit += (unfit_in_regions(reading.mask, wcs),)
        found.append(f"mask from the regions in {os.fspath(reading.mask)}")
    psf_part = of_science(parts, science, ("psf",))
    psf = None
    if psf_part is not None:
        used.append(psf_part)
        scale = None if wcs is None else side_of(wcs, science.shape)
        psf = read_psf_part(psf_part, scale, reading.psf, cards)
        cards |= {"PSFOVERS": psf.oversampling, "PSFPIXEL": psf.includes_pixel}
        found += [f"PSF from {psf_part.label}", *psf.found]
    unused = [part for part in parts if all(part.index != other.index for other in used)]
    if unused:
        found.append(f"not used: {listed(unused)}")
    return Layers(
        science.shape, science, unit, wcs, meta, name, noise, unfit, exposure,
        None if psf is None else psf.values, cards, tuple(found),
    )  # fmt: skip


def _holds(part, hdus, position):
    """Whether a position on the sky lies in an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(part.hdu.header, hdus).celestial
            column, row = wcs.world_to_pixel(position)
        except Exception:  # without a WCS, or one that does not get there
            return False
    ny, nx = part.shape[-2:]
    return bool(-0.5 <= column <= nx - 0.5 and -0.5 <= row <= ny - 0.5)


def _unit_asked_for(unit):
    known = read_unit(unit)
    if known is None:
        raise ObservationError(f"unit must be one that astropy knows; got {unit!r}")
    return known


def _unit_of(header, primary, reading, name):
    """The unit of the data, and what the file says if it is not understood."""
    if reading.unit is not None:
        return _unit_asked_for(reading.unit), None
    text = str(header.get("BUNIT", primary.get("BUNIT", ""))).strip()
    unit = read_unit(text)
    if unit is not None:
        return unit, None
    warn(f"{name}: the unit {text!r} is not understood; the data are taken without one (unit= gives it)")
    return u.dimensionless_unscaled, text


def _factor(given, unit, role, what):
    """What to multiply a noise map with to have it in the unit of the data."""
    if given is None or unit == u.dimensionless_unscaled or given == unit ** _POWERS[role]:
        return 1.0
    for power in (_POWERS[role], 1) if role != "std" else (1,):  # the unit of a variance may be its root's
        try:
            return float(given.to(unit**power)) ** (_POWERS[role] // power)
        except u.UnitConversionError:
            pass
    if role == "ivar":
        return 1.0  # weights are relative
    raise ObservationError(
        f"{what} is a {_WORDS[role]} in {str(given) or 'no unit'}, which does not convert to the unit of "
        f"the data, {str(unit) or 'none'}: is it a weight map (weight=)? is the unit wrong (unit=)? else do "
        "without it (noise=none)"
    )


def _noise_of(parts, science, reading, unit, name, stack, found, used):
    if reading.noise is not None and reading.weight is not None:
        raise ObservationError("noise and weight are both maps of the noise; give one of them")
    given = reading.weight if reading.noise is None else reading.noise
    if given is not None and str(given).lower() == "none":
        return None
    where = name
    if given is None:
        part = of_science(parts, science, NOISE)
        if part is None:
            _refuse_other_shape(parts, science, name)
            return None
        role = part.role
    else:
        part, where = _map_of(given, parts, science, NOISE, name, stack, "noise")
        role = "ivar" if reading.weight is not None else part.role if part.role in NOISE else "std"
    used.append(part)
    text = part.hdu.header.get("BUNIT")
    factor = _factor(None if text is None else read_unit(text), unit, role, f"{part.label} of {where}")
    label = part.label if where == name else f"{where} ({part.label})"
    found.append(f"noise from {label}, {_WORDS[role]}" + ("" if factor == 1 else f", times {factor:.6g}"))
    return _KINDS[role], part, factor


def _refuse_other_shape(parts, science, name):
    """Raise an error for a noise map of the image that has another shape."""
    for part in parts:
        if part.hdu.name == "UNCERT":
            raise ObservationError(
                f"{part.label} of {name} has {' x '.join(map(str, part.shape))} pixels and the image "
                f"{' x '.join(map(str, science.shape))}: noise= names another map, or none (noise=none)"
            )


def _flags_of(parts, science, reading, name, primary, stack, found, used):
    """What finds the unfit pixels of a window, for each map of flags."""
    maps = [(of_science(parts, science, ("mask",)), name)]
    if reading.mask is not None and not is_region_file(reading.mask):
        maps.append(_map_of(reading.mask, parts, science, ("mask",), name, stack, "mask"))
        if maps[0][0] is not None and maps[1][1] == name:
            maps = maps[1:]  # an extension that is chosen takes the place of the usual one
    unfit = []
    for part, where in maps:
        if part is None:
            continue
        used.append(part)
        headers = (primary, science.hdu.header, part.hdu.header)
        whose, _, flags = flags_of(*headers)
        how = f"flags {', '.join(sorted(flags))} of {whose}" if whose else "not 0 = do not use"
        how = how if reading.mask_bits is None else f"flags {reading.mask_bits}"
        label = part.label if where == name else f"{where} ({part.label})"
        found.append(f"mask from {label}: {how}")

        def unfit_of(window, part=part, headers=headers):
            return unfit_pixels(part[window], headers, reading.mask_bits)

        unfit.append(unfit_of)
    return tuple(unfit)


def _map_of(given, parts, science, roles, name, stack, what):
    """A map in a file of its own, or else in an extension of the image's file."""
    if os.path.isfile(given):
        where = os.fspath(given)
        hdus = stack.enter_context(open_fits(where))
        others = parts_of(hdus)
        found = [part for part in others if part.role in roles] or others
        found = [part for part in found if part.shape == science.shape] or found
        part = min(found, key=lambda part: part.rank, default=None)
        if part is None:
            raise FileFormatError(f"{where} holds no image")
    else:
        where = name
        try:
            part = science_of(parts, os.fspath(given), name)
        except FileFormatError:
            raise FileFormatError(
                f"{given!s:.80}, given as {what}, is neither a file nor an image in {name}, which has "
                f"{listed(parts)}"
            ) from None
    if part.shape != science.shape:
        rule = f"must have the shape of the image, {science.shape}; {part.label} of {where} has {part.shape}"
        raise ObservationError(f"{what} {rule}", shell=f"--{what} {rule}")
    return part, where


def _useful(wcs):
    """Whether a WCS tells where pixels are: on the sky, or by angles."""
    if wcs.has_celestial:
        return True
    return wcs.naxis >= 2 and all(u.Unit(unit).is_equivalent(u.deg) for unit in list(wcs.wcs.cunit)[:2])


def _wcs_or_scale(wcs, shape, reading):
    if wcs is not None and isinstance(wcs, WCS) and wcs.naxis > 2:
        wcs = wcs.celestial if wcs.has_celestial else wcs.sub(2)
    scale = reading.pixel_scale
    if scale is None:
        return wcs, ()
    grid = PixelGrid(shape, scale)
    if wcs is not None:
        side = side_of(wcs, shape)
        if abs(side / grid.side_arcsec - 1) > 0.01:
            raise ObservationError(
                f"pixel_scale is for an image without WCS, and this one has pixels of {side:.6g} arcsec; "
                f"got {scale}"
            )
        return wcs, ()
    return grid.wcs, (f"pixels of {scale}, as given",)
