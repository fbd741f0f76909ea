"""Units of images as archives write them, which is often not how the FITS standard has them."""

from __future__ import annotations

import re
import warnings

from astropy import units as u
from astropy.units import UnitBase

__all__ = ["read_unit"]

# Words of BUNIT, in any case, and how astropy writes them. A word ends where no letter follows.
_WORDS = (
    (r"electrons?|elec|e-|e(?=/s)", "electron"),
    (r"counts?|cts|ct", "ct"),
    (r"cps", "ct/s"),
    (r"adus?", "adu"),
    (r"dns?", "DN"),
    (r"photons?", "photon"),
    (r"nanomagg(?:y|ies)|nmgy", "nmgy"),
    (r"magg(?:y|ies)", "mgy"),
    (r"n(?:ano)?jansk(?:y|ys)|njy", "nJy"),
    (r"(?:micro|mu)jansk(?:y|ys)|(?:micro|mu|u)jy", "uJy"),
    (r"jansk(?:y|ys)", "Jy"),
    (r"ergs?", "erg"),
    (r"sec(?:onds?)?|s", "s"),
    (r"sr|steradians?", "sr"),
    (r"angstroms?|ang", "Angstrom"),
    (r"pixels?|pix", "pixel"),
)
_SPELLINGS = [
    (re.compile(rf"(?<![A-Za-z0-9.])(?:{word})(?![A-Za-z])", re.IGNORECASE), unit) for word, unit in _WORDS
]
# Words for a number without a unit; of a prefix in capitals the case is lost, and only one makes sense.
_NONE = {"", "unitless", "none", "dimensionless", "relative", "n/a", "na", "-"}
_CAPITALS = {"MJY": "MJy", "JY": "Jy"}


def read_unit(text: str | UnitBase) -> UnitBase | None:
    """Read a unit as the header of an image has it (BUNIT); None if it is not known."""
    if isinstance(text, UnitBase):
        return text
    text = str(text).strip()
    if text.casefold() in _NONE:
        return u.dimensionless_unscaled
    plain = text
    for spelling, unit in _SPELLINGS:
        plain = spelling.sub(unit, plain)
    for capitals, unit in _CAPITALS.items():
        plain = re.sub(rf"(?<![A-Za-z]){capitals}(?![A-Za-z])", unit, plain)
    if "erg" in plain:  # among these an A is no ampere
        plain = re.sub(r"(?<![A-Za-z])A(?![A-Za-z])", "Angstrom", plain)
    for candidate in (plain, text):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several slashes
            try:
                return u.Unit(candidate)
            except (ValueError, TypeError):
                pass
    return None
