"""Headers of FITS files that claim more than the file can hold."""

from __future__ import annotations

import math
import os

from astropy.io import fits

from lenssuper.exceptions import FileFormatError

__all__ = ["refuse_absurd", "refuse_too_large"]

# First bytes of files compressed as a whole: gzip, bzip2, xz, zip.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")
# By how much data become smaller at most when they are compressed; deflate reaches 1032 where all is zero.
_SMALLER = 1100
# The most axes that an image can have, and the size of a block of a file in bytes.
_AXES, _BLOCK = 999, 2880


def refuse_too_large(hdus: fits.HDUList, path: str | os.PathLike) -> None:
    """
    Refuse a file with a header that claims more data than the file can hold, before memory is asked for.

    Raises
    ------
    FileFormatError
        If one does; the message names the file, the extension and both sizes.
    """
    held = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(6)
    factor = _SMALLER if start.startswith(_COMPRESSED) else 1
    for hdu in hdus:
        packed = isinstance(hdu, fits.CompImageHDU)
        claimed = _claimed(hdu.header)
        if claimed > held * (_SMALLER if packed else factor):
            raise FileFormatError(
                f"{os.fspath(path)} is truncated or damaged: the header of {hdu.name or 'its start'} "
                f"claims {claimed / 1e6:.6g} MB of data, and the file has {held / 1e6:.3g} MB"
            )


def refuse_absurd(path: str | os.PathLike) -> None:
    """
    Refuse a file with a header that claims more axes than FITS has, or less than no data.

    Over either astropy would not come to an end.

    Raises
    ------
    FileFormatError
    """
    with open(path, "rb") as file:
        while file.read(8).startswith((b"SIMPLE", b"XTENSION")):
            file.seek(-8, os.SEEK_CUR)
            try:
                header = fits.Header.fromfile(file)
                axes = header.get("NAXIS", 0)
            except (OSError, ValueError, fits.VerifyError):  # the reader says what is wrong
                return
            if isinstance(axes, int) and axes > _AXES:
                raise FileFormatError(f"{os.fspath(path)} is damaged: a header of it claims {axes} axes")
            claimed = _claimed(header)
            if claimed < 0:
                raise FileFormatError(f"{os.fspath(path)} is damaged: a header of it claims {claimed} bytes")
            file.seek(-(-claimed // _BLOCK) * _BLOCK, os.SEEK_CUR)


def _claimed(header):
    """Number of bytes of the data that a header describes."""
    try:
        axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header.get("NAXIS", 0)))]
        groups, extra = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
        bits = abs(int(header.get("BITPIX", 8)))
    except (KeyError, TypeError, ValueError):  # the reader says what is wrong
        return 0
    if axes and axes[0] == 0:  # random groups
        axes = axes[1:]
    return bits // 8 * groups * (extra + math.prod(axes)) if axes else 0
