"""Which image in a FITS file is what: the conventions of surveys, and the rules to choose by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from astropy.io import fits

from lenssuper.exceptions import FileFormatError

__all__ = ["NOISE", "Part", "listed", "of_science", "parts_of", "science_of"]

# Names of extensions and what they hold, the one to prefer first. They stand alone, or behind a band,
# detector or quadrant (VIS_RMS, NIR_Y_BGSUB, DET11.SCI, 1-1-E.RMS), or before it (SCI_F150W).
_NAMES = {
    "image": ("SCI", "IMAGE", "BGSUB", "SCIENCE", "DATA"),
    # CCDData; HST and JWST; Euclid; others
    "std": ("UNCERT", "ERR", "ERROR", "RMS", "SIGMA", "NOISE", "NOISE_MAP", "STD", "STDDEV", "UNC"),
    "var": ("VARIANCE", "VAR"),  # Rubin, HSC; others
    # drizzle; Legacy Surveys; DES; KiDS
    "ivar": ("IVM", "IVAR", "INVVAR", "WGT", "WHT", "WEIGHT", "WEI", "WT"),
    "mask": ("MASK", "DQ", "FLAG", "FLG", "MSK", "FLAGS", "MASKBITS", "BPM"),
    "exposure": ("EXP", "EXPOSURE", "EXPMAP", "NEXP", "COVERAGE", "TIME"),
    "psf": ("PSFIMAGE", "PSF", "PSF_DATA", "OVERDIST", "OVERSAMP", "DET_DIST", "DET_SAMP"),
    # parts of the variance, maps of pixels' areas, and a result's or another program's model
    "other": (
        "VAR_POISSON",
        "VAR_RNOISE",
        "VAR_FLAT",
        "CON",
        "CTX",
        "AREA",
        "LENSLIGHT",
        "MODEL",
        "PSF_MODEL",
    ),
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}
_ORDER = {name: number for number, name in enumerate(_ROLES)}
_ENDS = "|".join(sorted((name for name in _ROLES if "_" not in name), key=len, reverse=True))
_BEHIND, _BEFORE = re.compile(rf"(.+)[._]({_ENDS})"), re.compile(rf"({_ENDS})[._](.+)")
# Cards that say it where the extension has no name (Legacy Surveys), and the band that it is of.
_KIND_CARDS, _BAND_CARDS = ("IMTYPE", "IMAGETYP"), ("BAND", "FILTER")
# What astropy's CCDData says of its uncertainty.
_UTYPES = {"StdDevUncertainty": "std", "VarianceUncertainty": "var", "InverseVariance": "ivar"}
NOISE = ("std", "var", "ivar")
_EXT = re.compile(r"(?P<name>[^,:]+)(,(?P<ver>\d+))?(:(?P<plane>\d+))?")


@dataclass(frozen=True)
class Part:
    """
    An image in a FITS file.

    Attributes
    ----------
    hdu : HDU
    index : int
        Number of the extension, 0 for PRIMARY.
    role : str
        What it holds by its name: "image", "std", "var", "ivar", "mask", "exposure", "psf", "other", or ""
        if the name says nothing.
    rank : int
        By which one of several with the same role is preferred.
    group : str
        Band or detector that it is of, by its name.
    plane : int or None
        Which plane of a cube.
    """

    hdu: fits.ImageHDU
    index: int
    role: str
    rank: int
    group: str
    plane: int | None = None

    @property
    def label(self) -> str:
        """The name of the extension as ``--ext`` takes it."""
        name = self.hdu.name or str(self.index)
        version = f",{self.hdu.ver}" if "EXTVER" in self.hdu.header else ""
        return name + version + ("" if self.plane is None else f":{self.plane}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns; of a cube the planes before, if it has more than one."""
        shape = self.hdu.shape
        return shape[-2:] if self.plane is not None or all(n == 1 for n in shape[:-2]) else shape

    def __getitem__(self, window):
        """Read a part of the image, in the byte order of this machine."""
        extra = len(self.hdu.shape) - 2
        front = (0,) * extra if self.plane is None else (*(0,) * (extra - 1), self.plane)
        values = self.hdu.section[(*front, *window)]
        return values.astype(values.dtype.newbyteorder("="))


def parts_of(hdus: fits.HDUList) -> list[Part]:
    """Find the images of a file and what each is by its name; cubes are among them."""
    parts = []
    for index, hdu in enumerate(hdus):
        if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2 and hdu.shape and 0 not in hdu.shape:
            parts.append(Part(hdu, index, *_role(hdu)))
    return parts


def _role(hdu):
    """Role, rank and group of an image."""
    name, group = hdu.name.strip().upper(), ""
    if name not in _ROLES:
        for text in (str(hdu.header.get(card, "")).strip().upper() for card in _KIND_CARDS):
            if text in _ROLES and text not in ("EXP", "TIME"):
                name = text
                group = next((str(hdu.header[c]) for c in _BAND_CARDS if c in hdu.header), "")
    if name not in _ROLES:
        if behind := _BEHIND.fullmatch(name):
            group, name = behind.groups()
        elif before := _BEFORE.fullmatch(name):
            name, group = before.groups()
    role = _ROLES.get(name, "")
    if role in NOISE and "UTYPE" in hdu.header:
        role = _UTYPES.get(str(hdu.header["UTYPE"]).strip(), "other")
    return role, _ORDER.get(name, len(_ORDER)), group


def listed(parts: Iterable[Part]) -> str:
    """List images with their sizes, for messages."""
    return ", ".join(f"{part.label} ({' x '.join(map(str, part.shape))})" for part in parts) or "none"


def science_of(
    parts: list[Part], ext: str | int | None, name: str, holds: Callable[[Part], bool] | None = None
) -> Part:
    """
    Choose the image to work on.

    Parameters
    ----------
    parts : list of Part
    ext : str or int, optional
        What the user asks for: name or number of an extension, ``NAME,VER`` for the one of several with a
        name, ``NAME:PLANE`` for a plane of a cube (from 0); or the band that it is of.
    name : str
        Of the file.
    holds : callable, optional
        Says of a part whether it has the position in it that is to be cut out; of two chips only one has.
    """
    if not parts:
        raise FileFormatError(f"{name} holds no image")
    if ext is not None:
        chosen = _asked_for(parts, ext, name)
    else:
        found = [part for part in parts if part.role == "image"] or [part for part in parts if not part.role]
        if any(part.hdu.name in ("UNCERT", "MASK") for part in parts):  # the layout of CCDData: the first
            found = found[:1]
        if len(found) > 1 and holds is not None:
            found = [part for part in found if holds(part)] or found
        if len(found) != 1:
            several = f"{len(found)} images" if found else "no image that its name says is one"
            raise FileFormatError(
                f"{name} holds {several}: choose one by name or number with ext=, of {listed(found or parts)}"
            )
        chosen = found[0]
    if len(chosen.shape) > 2:
        *_, planes, _, _ = chosen.shape
        raise FileFormatError(
            f"{name} holds a cube in {chosen.label}, of {planes} planes: choose one with ext=, from "
            f"{chosen.label}:0 to {chosen.label}:{planes - 1}"
        )
    return chosen


def _asked_for(parts, ext, name):
    match = _EXT.fullmatch(str(ext).strip())
    found = []
    if match:
        wanted, version, plane = match["name"].upper(), match["ver"], match["plane"]
        plane = None if plane is None else int(plane)
        by_name = [part for part in parts if part.hdu.name == wanted or str(part.index) == wanted]
        by_band = [part for part in parts if part.group.upper() == wanted and part.role == "image"]
        found = [part for part in by_name or by_band if version in (None, str(part.hdu.ver))]
    if len(found) != 1:
        what = "several images" if found else "no image"
        raise FileFormatError(
            f"{str(ext)!r}, chosen with ext=, is {what} in {name}; it has {listed(found or parts)}"
        )
    (part,) = found
    if plane is None:
        return part
    if len(part.shape) != 3 or not plane < part.shape[0]:
        raise FileFormatError(f"{part.label} in {name} has no plane {plane}; its shape is {part.shape}")
    return replace(part, plane=plane)


def of_science(parts: list[Part], science: Part, roles: Iterable[str]) -> Part | None:
    """Find the map that goes with an image: of its detector or band, if the file has several."""
    found = [part for part in parts if part.role in roles and part.index != science.index]
    several = sum(part.role == "image" for part in parts) > 1
    same = [part for part in found if part.group == science.group and part.hdu.ver == science.hdu.ver]
    if not several:
        same = same or found
    if "psf" not in roles:
        same = [part for part in same if science.hdu.shape == part.hdu.shape or science.shape == part.shape]
    best = min(same, key=lambda part: part.rank, default=None)
    if best is None or best.shape == science.shape or "psf" in roles:
        return best
    return replace(best, plane=science.plane)  # of a cube
