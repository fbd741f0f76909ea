"""Data sets of lenses, simulated or observed, read one lens at a time."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from lenssuper._utils.files import reading
from lenssuper._utils.warn import warn
from lenssuper.datasets.fitsfiles import FitsFiles, FitsMember, fits_members
from lenssuper.datasets.hdf5files import Hdf5Files, Hdf5Member, hdf5_members
from lenssuper.datasets.items import LensItem
from lenssuper.datasets.selection import select

__all__ = ["LensDataset", "read_dataset"]

SPLITS = ("train", "validation", "test")
LAYOUTS: dict[str, Any] = {"fits": FitsFiles, "hdf5": Hdf5Files}
SETTINGS_FILE = "dataset.json"
FORMAT, VERSION = "lenssuper data set", 1

_HDF5 = (".h5", ".hdf5")


class LensDataset(Sequence):
    """
    A sequence of lenses that stay in their files until they are needed.

    Made by `read_dataset`. ``dataset[3]`` reads one lens; ``dataset[10:20]``, ``dataset[[4, 7, 1]]``, a mask
    of booleans and the sum (``+``) of two sets give data sets without reading anything. It can be pickled.

    Attributes
    ----------
    path : Path
        The directory or file.
    settings : dict
        How the set was simulated; empty for other lenses.
    """

    def __init__(
        self,
        path: Path,
        members: Iterable[FitsMember | Hdf5Member],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.settings = {} if settings is None else dict(settings)
        self._members = tuple(members)
        self._shapes: tuple | None = None

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, item: int) -> LensItem: ...
    @overload
    def __getitem__(self, item: slice | Sequence[int] | np.ndarray) -> LensDataset: ...
    def __getitem__(self, item):
        chosen = select(item, len(self), "lenses")
        if np.ndim(chosen) == 0:
            return self._members[chosen].read()
        return LensDataset(self.path, [self._members[i] for i in chosen], self.settings)

    def __add__(self, other: LensDataset) -> LensDataset:
        """Return the lenses of both sets, one after the other, with the settings that they share."""
        if not isinstance(other, LensDataset):
            return NotImplemented
        shared = {k: v for k, v in self.settings.items() if k in other.settings and other.settings[k] == v}
        return LensDataset(self.path, [*self._members, *other._members], shared)

    def __repr__(self) -> str:
        return f"LensDataset({str(self.path)!r}): {len(self)} lenses"

    @property
    def names(self) -> list[str]:
        """The name of each lens."""
        return [member.name for member in self._members]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each observation, from the headers alone."""
        if self._shapes is None:
            self._shapes = tuple(member.shape() for member in self._members)
        return list(self._shapes)


def read_dataset(path: str | os.PathLike, split: str | None = None) -> LensDataset:
    """
    Open a data set of lenses.

    Parameters
    ----------
    path : str or path-like
        The directory that `write_dataset` wrote to, or one of the HDF5 files in it; or any directory of
        observations: FITS files, each with its lens beside it, ``ring.fits`` and ``ring_lens.json`` (of
        `LensModel.write`, or COOLEST). These come in the order of their names, numbers in them by value.
    split : {"train", "validation", "test"}, optional
        Which part of a simulated set; by default all of it, in this order.

    Returns
    -------
    LensDataset
        A sequence of `LensItem`. A lens is checked when it is read.

    Raises
    ------
    FileNotFoundError
        If there is no such path, no observation in it, or an observation without a lens.
    FileFormatError
        If it is a file, but not of lenses; if ``dataset.json`` does not describe a set.
    ValueError
        If the set has no such part.

    Warns
    -----
    LensSuperWarning
        If the simulated set is not finished.
    """
    path = Path(path)
    content = read_settings(path) if path.is_dir() else None
    splits = [] if content is None else list(content["splits"])
    if split is not None and split not in splits:
        have = f"it has {', '.join(splits)}" if splits else "it is not divided"
        raise ValueError(f"split must be a part of the data set {path}; got {split!r}, and {have}")
    if content is None:
        members = _members_of_any(path)
    else:
        files = LAYOUTS[content["settings"]["layout"]](path)
        chosen = [split] if split else splits or [""]
        members = [member for part in chosen for member in files.members(part)]
    if not members:
        raise FileNotFoundError(
            f"{path} holds no lens{f' in {split}' if split else ''}: there must be FITS files, each with its "
            "lens beside it, as ring.fits and ring_lens.json"
        )
    if content is None:
        return LensDataset(path, members)
    _warn_if_unfinished(path, content, split, len(members))
    return LensDataset(path, members, content["settings"])


def read_settings(directory: Path) -> dict[str, Any] | None:
    """Return the content of ``dataset.json``; None if there is none."""
    path = directory / SETTINGS_FILE
    if not path.is_file():
        return None
    with reading(path, "the description of a data set of lenssuper"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f'"format" must be {FORMAT!r}')
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']}, and known is {VERSION}")
        if content["settings"]["layout"] not in LAYOUTS:
            raise ValueError(f'"layout" must be one of {", ".join(LAYOUTS)}')
        content["n"] + 0, dict(content["splits"])
    return content


def split_of(n: int, split: Mapping[str, float]) -> list[str]:
    """
    Return the part of a set that each of the numbers 0 to n - 1 belongs to.

    Each goes to the part that lacks most of its share so far. So all shares are right to within one lens
    whatever n, and no lens changes its part when a set grows.
    """
    counts = dict.fromkeys(split, 0)
    parts = []
    for i in range(n):
        part = max(counts, key=lambda name: round(split[name] * (i + 1) - counts[name], 9))
        counts[part] += 1
        parts.append(part)
    return parts


def _warn_if_unfinished(path, content, split, found):
    expected = content["n"]
    if split is not None:
        expected = Counter(split_of(expected, content["splits"]))[split]
    if found < expected:
        warn(
            f"{path} is not finished: it has {found} of {expected} lenses; run the command that began it "
            "again for the others"
        )


def _members_of_any(path):
    if path.is_file() and path.suffix in _HDF5:
        return hdf5_members(path)
    if not path.is_dir():
        raise FileNotFoundError(f"path must be the directory or HDF5 file of a data set; got {str(path)!r}")
    return sorted(fits_members(path), key=lambda member: _natural(member.name))


def _natural(name):
    """Return a key that sorts numbers in a name by their value, before letters."""
    parts = re.findall(r"\d+|\D", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
