"""Which bits of a map of flags make a pixel unfit, by instrument and survey."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from astropy.io import fits
from astropy.nddata.bitmask import bitfield_to_boolean_mask, extend_bit_flag_map, interpret_bit_flags

__all__ = ["flags_of", "unfit_pixels"]

# Names and values of flags. HST: the instruments' data handbooks; JWST: stcal's dqflags; DES: despyfits;
# KiDS, of one band: kids.strw.leidenuniv.nl/DR1/masking.php; Legacy Surveys: legacysurvey.org/dr10/bitmasks.
_HST = {
    "SOFTERR": 1,
    "DATALOST": 2,
    "DETECTORPROB": 4,
    "DATAMASKED": 8,
    "HOTPIX": 16,
    "UNSTABLE": 32,
    "WARMPIX": 64,
    "BADBIAS": 128,
    "SATPIXEL": 256,
    "BADFLAT": 512,
    "TRAP": 1024,
    "ATODSAT": 2048,
    "CR_DRIZZLE": 4096,
    "CRMASK": 8192,
    "GHOST": 16384,
}
_JWST = {"DO_NOT_USE": 1, "SATURATED": 2, "JUMP_DET": 4, "DROPOUT": 8, "OUTLIER": 16, "PERSISTENCE": 32}
_DES = {
    "BPM": 1,
    "SATURATE": 2,
    "INTERP": 4,
    "BADAMP": 8,
    "CRAY": 16,
    "STAR": 32,
    "TRAIL": 64,
    "EDGEBLEED": 128,
    "SSXTALK": 256,
    "EDGE": 512,
    "STREAK": 1024,
    "SUSPECT": 2048,
    "FIXED": 4096,
    "NEAREDGE": 8192,
    "TAPEBUMP": 16384,
}
_KIDS = {
    "READOUT_SPIKE": 1,
    "SATURATION": 2,
    "DIFFRACTION_SPIKE": 4,
    "PRIMARY_HALO": 8,
    "SECONDARY_HALO": 16,
    "TERTIARY_HALO": 32,
    "BAD_PIXEL": 64,
    "MANUAL": 128,
}
_LEGACY = {
    "NPRIMARY": 1 << 0,
    "BRIGHT": 1 << 1,
    "SATUR_G": 1 << 2,
    "SATUR_R": 1 << 3,
    "SATUR_Z": 1 << 4,
    "ALLMASK_G": 1 << 5,
    "ALLMASK_R": 1 << 6,
    "ALLMASK_Z": 1 << 7,
    "WISEM1": 1 << 8,
    "WISEM2": 1 << 9,
    "BAILOUT": 1 << 10,
    "MEDIUM": 1 << 11,
    "GALAXY": 1 << 12,
    "CLUSTER": 1 << 13,
    "SATUR_I": 1 << 14,
    "ALLMASK_I": 1 << 15,
}
# Flags of pixels that are fit for use all the same: light was found there, or what was wrong was put right.
# Of HST they are those that its own pipeline drizzles.
_HARMLESS = {
    "HST": {"UNSTABLE", "WARMPIX"},
    "DES": {"STAR", "SUSPECT", "FIXED", "NEAREDGE", "TAPEBUMP"},
    # the wide and faint reflections of stars, which are sky within a cutout
    "KiDS": {"SECONDARY_HALO", "TERTIARY_HALO"},
    # of neighbouring bricks, of another telescope, or near a star or galaxy of the catalogue
    "Legacy Surveys": {"NPRIMARY", "WISEM1", "WISEM2", "BAILOUT", "MEDIUM", "GALAXY", "CLUSTER"},
    "planes": {
        "DETECTED",
        "DETECTED_NEGATIVE",
        "NOT_DEBLENDED",
        "BRIGHT_OBJECT",
        "CROSSTALK",
        "CLIPPED",
        "REJECTED",
        "SENSOR_EDGE",
        "INEXACT_PSF",
        "INJECTED",
        "INJECTED_CORE",
        "FAKE",
    },
}
# The cards that name the planes of a mask of the pipelines of Rubin and HSC: MP_BAD = 0 and so on.
_PLANE = "MP_"


def flags_of(*headers: Mapping) -> tuple[str, dict[str, int], set[str]]:
    """
    Give what the headers of an image and of its map of flags say of the flags.

    Returns
    -------
    whose : str
        The instrument or survey; empty if none is known, and every flag then makes a pixel unfit.
    names : dict of str to int
        Values of the flags.
    unfit : set of str
        The flags of pixels that are not to be used.
    """
    name = re.split(r"[._]", str(headers[-1].get("EXTNAME", "")).strip().upper())
    planes = {
        key[len(_PLANE) :]: 1 << int(value)
        for header in (headers if "MASK" in name else headers[-1:])
        for key, value in header.items()
        if key.startswith(_PLANE)
    }
    if planes:
        return "the cards MP_*", planes, set(planes) - _HARMLESS["planes"]
    said = {key: str(header[key]).strip().upper() for key in _CARDS for header in headers if key in header}
    kind = str(headers[-1].get("IMTYPE", "")).strip().upper()
    if "MASKBITS" in (kind, *name):
        return "the Legacy Surveys", _LEGACY, set(_LEGACY) - _HARMLESS["Legacy Surveys"]
    product = str(headers[-1].get("PRODCATG", "")).strip().upper()  # in files of ESO's archive
    if said.get("INSTRUME") == "OMEGACAM" and ("MSK" in name or product.startswith("ANCILLARY.MASK")):
        return "KiDS", _KIDS, set(_KIDS) - _HARMLESS["KiDS"]
    if "DQ" not in name and "MSK" not in name:  # a plain mask
        return "", {}, set()
    if said.get("TELESCOP") == "JWST":
        return "JWST", _JWST, {"DO_NOT_USE"}  # the pipeline sets it wherever another flag is fatal
    if said.get("TELESCOP") == "HST" or said.get("INSTRUME") in ("ACS", "WFC3"):
        return "HST", _HST, set(_HST) - _HARMLESS["HST"]
    if said.get("INSTRUME") == "DECAM":
        return "DES", _DES, set(_DES) - _HARMLESS["DES"]
    return "", {}, set()


_CARDS = ("TELESCOP", "INSTRUME")


def unfit_pixels(
    values: np.ndarray, headers: tuple[fits.Header, ...], bits: str | int | None = None
) -> np.ndarray:
    """
    Find the pixels whose flags say that they are not to be used.

    Parameters
    ----------
    values : array
        Map of flags.
    headers : tuple of `~astropy.io.fits.Header`
        Those of the image and of the map.
    bits : str or int, optional
        Flags that make a pixel unfit, instead of those of the instrument: a sum of values, or names and
        values as in ``"SAT,CR"`` or ``"1,4"``; with a ``~`` in front, all but these.

    Returns
    -------
    ndarray of bool
    """
    values = np.asarray(values)
    values = np.nan_to_num(values).astype(np.int64) if values.dtype.kind == "f" else values
    if values.dtype.kind not in "iu":
        return values.astype(bool)
    _, names, unfit = flags_of(*headers)
    if bits is not None:
        flags = bits_of(bits, names)
    elif not names:
        return values != 0
    else:
        flags = sum(names[name] for name in unfit)
    return bitfield_to_boolean_mask(values, ignore_flags=flags, flip_bits=True)


def bits_of(bits: str | int, names: Mapping[str, int]) -> int:
    """Give the sum of flags that are asked for by name or value."""
    text = str(bits).strip()
    try:
        flags = extend_bit_flag_map("Flags", **names) if names else None
        return interpret_bit_flags(int(text) if text.isdigit() else text, flag_name_map=flags)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        known = ", ".join(f"{name} = {value}" for name, value in names.items()) or "values, such as 1,4"
        raise ValueError(f"mask_bits must be flags of the mask ({known}); got {bits!r}: {error}") from None
