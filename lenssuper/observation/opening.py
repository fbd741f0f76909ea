"""FITS files opened with all that is wrong with them said in words."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from astropy.io import fits

from lenssuper._utils.files import reading
from lenssuper._utils.fitssize import refuse_absurd, refuse_too_large
from lenssuper._utils.warn import warn
from lenssuper.exceptions import FileFormatError

__all__ = ["open_fits", "without_wcs"]

# What astropy only warns of when it opens a damaged file.
_DAMAGE = ("File may have been truncated", "Error validating header")
# Of a header that no program has written.
_NO_HEADER = ("non-ASCII characters are present", "Verification reported errors")
# Cards of a WCS and of what belongs to one, which do not hold for a cutout.
_WCS_CARD = re.compile(
    r"(WCSAXES|WCSNAME|C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA|RDER|SYER)\d+|(CD|PC)\d+_\d+|P[VS]\d+_\d+|LONPOLE|LATPOLE"
    r"|RADE(SYS|CSYS)|RADECSYS|EQUINOX)[A-Z]?"
    r"|[AB]P?_(\d+_\d+|ORDER|DMAX)|(CPDIS|CPERR|CQDIS|D2IMDIS|D2IMERR|DP|DQ|D2IM)\d.*|LT[VM]\d(_\d)?|MJDREF[IF]?"
)


@contextmanager
def open_fits(path: str | os.PathLike) -> Iterator[fits.HDUList]:
    """Open a FITS file with all its headers; numbers that are scaled become floats, and BLANK NaN."""
    name = os.fspath(path)
    # Damage is looked for in the warnings afterwards: an error raised inside astropy leaves the file open.
    with ExitStack() as own:
        with reading(name, "a FITS image"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                refuse_absurd(name)
                hdus = own.enter_context(fits.open(name, memmap=False, uint=False))
                len(hdus)  # reads all headers
                refuse_too_large(hdus, name)
                edited = _is_edited(hdus, name)
            for warning in caught:
                if str(warning.message).startswith(_DAMAGE + (_NO_HEADER if edited else ())):
                    raise FileFormatError(f"{name} is damaged: {warning.message}")
        if edited:
            warn(f"{name} was changed after lenssuper wrote it: its checksums are not those of what it holds")
        yield hdus


def _is_edited(hdus, name):
    """
    Tell damage of a file of lenssuper's own, which is an error, from editing.

    All parts of it have checksums when it is written. Another program that writes it again may leave those of
    the first header, and drops the others or counts them anew; damage leaves all of them, and one is wrong.
    """
    expected = hdus[0].header.get("LSNEXT")
    if not isinstance(expected, int):
        return False
    whole = all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
    if whole and len(hdus) - 1 < expected:
        raise FileFormatError(f"{name} is truncated: it has {len(hdus) - 1} extensions of {expected}")
    if not whole and len(hdus) - 1 == 0 < expected:
        raise FileFormatError(f"{name} is truncated: it has none of {expected} extensions")
    corrupt = [hdu.name for hdu in hdus if not hdu.verify_datasum()]
    if corrupt and whole:
        raise FileFormatError(
            f"{name} is corrupt: the checksum of {', '.join(corrupt)} is wrong; if you changed it "
            "yourself, write it with new cards CHECKSUM and DATASUM, or without them"
        )
    return bool(corrupt) or not all(hdu.verify_checksum() for hdu in hdus)


def without_wcs(header: fits.Header) -> fits.Header:
    """Give a header without the cards of a WCS, all of them and of any kind."""
    kept = header.copy(strip=True)
    for key in {key for key in kept if _WCS_CARD.fullmatch(key)}:
        kept.remove(key, remove_all=True)
    return kept
