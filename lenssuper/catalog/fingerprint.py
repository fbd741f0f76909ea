"""What a result was made of: so that it is made again when the catalogue, a file or an option has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lenssuper.catalog.table import Entry

__all__ = ["fingerprint", "is_current"]

_CHUNK = 2**20


def fingerprint(entry: Entry, options: str) -> dict[str, Any]:
    """
    Return what the result of an entry depends on, for its record.

    Returns
    -------
    dict
        ``entry``, a digest of what the catalogue says and of the options, and ``files``: of each file its
        size, the times of its last changes and a digest of its content; None for one that cannot be read.
    """
    return {"entry": _digest_of(entry, options), "files": [_read(path) for path in entry.files()]}


def is_current(entry: Entry, options: str, found: Mapping[str, Any]) -> bool:
    """Whether an earlier `fingerprint` still holds; files are only read where size or times are others."""
    paths, known = entry.files(), found.get("files")
    if found.get("entry") != _digest_of(entry, options) or not isinstance(known, list):
        return False
    return len(paths) == len(known) and all(_same(path, old) for path, old in zip(paths, known, strict=True))


def _same(path, old):
    """Whether a file has the content that it had, also if it has been written, moved or copied since."""
    if old and _stat(path) == old[:3]:
        return True
    new = _read(path)
    if new is None or not old:
        return new is None and not old
    return new[0] == old[0] and new[3] == old[3]


def _digest_of(entry, options):
    return hashlib.sha256(f"{entry.known}\n{options}".encode()).hexdigest()[:32]


def _stat(path):
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read(path):
    known = _stat(path)
    try:
        return known and [*known, _content(os.fspath(path), *known)]
    except OSError:
        return None


@lru_cache(maxsize=1024)  # many lenses share a mosaic
def _content(path, size, changed, status):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:32]
