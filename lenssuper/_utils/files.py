"""Files that are written whole or not at all, and never over anything but a regular file."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["LEFTOVER", "atomic_write", "check_output", "check_room", "reading", "unfinished"]

# Name of a file that is being written; the rest of it is the end of the final name.
LEFTOVER = re.compile(r"\.[0-9a-f]{12}\.(?P<name>.*)")
# Of a name, what the temporary one keeps: 60 characters of at most 4 bytes are within the usual 255 bytes.
_KEPT = 60
# Without so much room not even a small result can be written.
_ROOM = 2**20


@contextmanager
def reading(path: str | os.PathLike, what: str) -> Iterator[None]:
    """
    Give every error of the block the name of the file, unless it cannot be opened.

    Whatever a library raises on a damaged file becomes a FileFormatError; ``what`` describes the expected
    contents in its message: "a FITS image". An ObservationError stays one.
    """
    name = os.fspath(path)
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, ImportError):
        raise
    except Exception as error:  # a damaged header raises KeyError, AttributeError and more
        # not at the top: output files are checked before astropy is loaded, so that a mistake answers at once
        from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError

        if isinstance(error, LensSuperWarning):
            raise
        if not isinstance(error, FileFormatError | ObservationError):
            raise FileFormatError(f"{name} cannot be read as {what}: {_reason(error)}") from error
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}", shell=f"{name}: {error.shell}") from error


def _reason(error):
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, AttributeError | IndexError | TypeError):
        return f"a part of it is missing or of the wrong kind ({error})"
    return str(error) or type(error).__name__


@contextmanager
def atomic_write(path: str | os.PathLike, *, overwrite: bool = False, stream: bool = False) -> Iterator[Path]:
    """
    Write a file under a temporary name beside ``path``, and rename it when it is complete.

    The block writes the file whose name it gets, in the same directory and with the same suffixes. When the
    block ends, the file is on the disk and takes the name ``path`` in one step; when it raises or is
    interrupted, ``path`` is as it was and the temporary file is gone. A symbolic link is followed. An
    existing file is replaced only with ``overwrite``, and only if it is a regular file. With ``stream``, text
    may also go to a pipe or a terminal, ``/dev/stdout`` for instance, which is written to and not replaced.
    """
    if _check_kind(path, stream):
        with tempfile.TemporaryDirectory() as directory:
            beside = Path(directory) / (Path(path).name[-_KEPT:] or "stream")
            yield beside
            with open(path, "wb") as target:
                target.write(beside.read_bytes())
        return
    path = Path(os.path.realpath(path))
    if not overwrite:
        _refuse_existing(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    beside = path.with_name(f".{secrets.token_hex(6)}.{unfinished(path)}")
    try:
        yield beside
        _flush(beside)
        _check_kind(path, False)  # something may have appeared while the block was writing
        if not overwrite:
            _refuse_existing(path)
        os.replace(beside, path)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    with suppress(OSError):  # not every system can open a directory
        _flush(path.parent)


def check_output(
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    stream: bool = False,
    inputs: Iterable[str | os.PathLike] = (),
) -> None:
    """Refuse an output that `atomic_write` could not write, or that is one of the inputs, before the work.

    ``inputs`` are files that must stay as they are; those that do not exist are skipped.
    """
    path = Path(path)
    if _check_kind(path, stream):
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    for other in inputs:
        with suppress(OSError):
            if os.path.samefile(target, other):
                raise ValueError(f"{path} is an input, and must not be overwritten: choose another output")
    if not overwrite and target.exists():
        raise FileExistsError(f"{path} exists; add --overwrite to replace it")
    longest = _longest_name(target.parent)
    if len(os.fsencode(target.name)) > longest:
        raise OSError(f"the name {path.name[:30]}... is too long: at most {longest} bytes are possible here")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the directory {path.parent} cannot be written to")
    if shutil.disk_usage(target.parent).free < _ROOM:
        raise OSError(f"the disk is full: less than 1 MiB is free in {path.parent}")


def check_room(directory: str | os.PathLike, needed: float, what: str) -> None:
    """Refuse to begin on what needs more bytes than are free, in a directory that is there."""
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise OSError(
            f"{what} need {needed / 1e9:.3g} GB or more, and {free / 1e9:.3g} GB are free in "
            f"{os.fspath(directory)}"
        )


def unfinished(path: Path) -> str:
    """End of the name that a file has while it is being written, the ``name`` of `LEFTOVER`."""
    return path.name[-_KEPT:]


def _check_kind(path, stream):
    """Whether an output is a stream that is written to and not replaced; refuse whatever else is no file."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # nothing is there
        return False
    if stat.S_ISREG(mode):
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{os.fspath(path)} is a directory")
    if stream and (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return True
    raise OSError(f"{os.fspath(path)} is a pipe or a device, and not a regular file: it is not replaced")


def _longest_name(directory):
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows
        return 255


def _refuse_existing(path):
    if path.exists():
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")


def _flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
