"""Files are written whole or not at all, and what fails while one is read names it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astropy.io.fits import VerifyError

from lenssuper.exceptions import FileFormatError

__all__ = ["atomic_write", "reading"]

# What the readers of FITS, JSON and arrays raise where a file is not what they expect.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, VerifyError)


@contextmanager
def reading(path: str | os.PathLike, what: str, *more: type[Exception]) -> Iterator[None]:
    """
    Raise a FileFormatError that names the file for what fails in the block, unless it cannot be opened.

    ``what`` describes the expected contents in the message: "a FITS image". ``more`` are errors of the
    library at hand, beyond those of Python and of astropy.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*_DAMAGE, *more) as error:
        if not isinstance(error, FileFormatError):
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise FileFormatError(f"{os.fspath(path)} cannot be read as {what}: {reason}") from error
        if os.fspath(path) not in str(error):
            raise FileFormatError(f"{os.fspath(path)}: {error}") from error
        raise


@contextmanager
def atomic_write(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """
    Write a file under a temporary name beside ``path``, and rename it when it is complete.

    The block writes the file whose name it gets, in the same directory and with the same suffixes. When the
    block ends, the file is on the disk and takes the name ``path`` in one step; when it raises or is
    interrupted, ``path`` is as it was and the temporary file is gone. A symbolic link is followed. An
    existing file is replaced only with ``overwrite``.
    """
    path = Path(os.path.realpath(path))
    if not overwrite:
        _refuse_existing(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    beside = path.with_name(f".{secrets.token_hex(6)}.{path.name}")
    try:
        yield beside
        _flush(beside)
        if not overwrite:
            _refuse_existing(path)  # it may have come while the block was writing
        os.replace(beside, path)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    with suppress(OSError):  # not every system can open a directory
        _flush(path.parent)


def _refuse_existing(path):
    if path.exists():
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")


def _flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
