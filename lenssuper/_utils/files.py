"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Write a file beside its place and move it there when it is complete.

    The block gets the name of a temporary file in the same directory, with the same suffixes, and writes it.
    When the block ends, the file is on the disk and takes the name ``path`` in one step; when it raises or is
    interrupted, ``path`` is as it was and the temporary file is gone.

    Parameters
    ----------
    path : str or path-like
        Where the file is to be. A symbolic link is followed.
    overwrite : bool, optional
        Whether ``path`` may be replaced.

    Yields
    ------
    pathlib.Path
        The file to write.

    Raises
    ------
    FileExistsError
        If ``path`` is there and ``overwrite`` is not set.
    FileNotFoundError
        If the directory is not there.
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
