"""Data sets of lenses, simulated or observed, read one lens at a time."""

from __future__ import annotations

import json
import operator
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from astropy.io import fits

from lenssuper.exceptions import FileFormatError, LensSuperWarning
from lenssuper.simulate._lensfiles import ENDINGS, LensItem, read_lens

__all__ = ["LensDataset", "read_dataset"]

SPLITS = ("train", "validation", "test")
SETTINGS_FILE = "dataset.json"
FORMAT, VERSION = "lenssuper data set", 1

_TRUTH, _LENS, _OBSERVED = ENDINGS


class LensDataset(Sequence):
    """
    A sequence of lenses that stay in their files until they are asked for.

    Made by `read_dataset`. ``dataset[3]`` reads one lens; ``dataset[10:20]`` and ``dataset[[4, 7, 1]]`` are
    data sets that read nothing. It can be sent to other processes.

    Attributes
    ----------
    path : Path
        The directory or file.
    settings : mapping
        How the set was simulated; empty for other lenses.
    """

    def __init__(
        self, path: Path, members: Iterable[tuple[Path, str]], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.path = path
        self.settings = {} if settings is None else dict(settings)
        self._members = tuple(members)
        self._shapes: tuple | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, item) -> LensItem | LensDataset:
        if isinstance(item, slice):
            return LensDataset(self.path, self._members[item], self.settings)
        if isinstance(item, Sequence) and not isinstance(item, str):
            return LensDataset(self.path, [self._members[self._place(i)] for i in item], self.settings)
        return read_lens(*self._members[self._place(item)])

    def __repr__(self) -> str:
        return f"LensDataset({str(self.path)!r}): {len(self)} lenses"

    @property
    def names(self) -> list[str]:
        """The name of each lens."""
        return [name for _, name in self._members]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each observation, from the headers alone."""
        if self._shapes is None:
            self._shapes = tuple(_shape_of(where / f"{name}{_OBSERVED}") for where, name in self._members)
        return list(self._shapes)

    def _place(self, item):
        try:
            index = operator.index(item)
        except TypeError:
            raise TypeError(
                f"lenses are chosen by an integer, a slice or a list of integers; got {item!r:.80}"
            ) from None
        if not -len(self) <= index < len(self):
            raise IndexError(f"the index must be below {len(self)}, the number of lenses; got {index}")
        return index


def read_dataset(directory: str | os.PathLike, split: str | None = None) -> LensDataset:
    """
    Open a data set.

    Parameters
    ----------
    directory : str or path-like
        What `write_dataset` wrote, or any directory of observations: FITS files, each with its lens beside
        it, ``ring.fits`` and ``ring_lens.json`` (of `LensModel.write`, or COOLEST). They come in the order of
        their names, numbers in them by value.
    split : {"train", "validation", "test"}, optional
        Which part of a simulated set; by default all of it, in this order.

    Returns
    -------
    LensDataset
        A sequence of `LensItem`. A lens is checked when it is read.

    Raises
    ------
    NotADirectoryError
        If there is no such directory.
    FileNotFoundError
        If there is no observation in it, or one without lens.
    FileFormatError
        If its ``dataset.json`` is not one.
    ValueError
        If there is no such part.

    Warns
    -----
    LensSuperWarning
        If the simulated set is not finished.
    """
    path = Path(directory)
    if not path.is_dir():
        raise NotADirectoryError(f"directory must be that of a data set; got {os.fspath(directory)!r}")
    content = read_settings(path)
    splits = [] if content is None else content["splits"]
    if split is not None and split not in splits:
        have = f"it has {', '.join(splits)}" if splits else "it is not divided"
        raise ValueError(f"split must be a part of the data set {path}; got {split!r}, and {have}")
    chosen = splits if split is None else [split]
    members = [
        (folder, name)
        for folder in ([path / part for part in chosen] or [path])
        for name in _observations(folder)
    ]
    if not members:
        raise FileNotFoundError(
            f"{path} holds no lens{f' in {split}' if split else ''}: there must be FITS files, each with its "
            f"lens beside it, as ring{_OBSERVED} and ring{_LENS}"
        )
    if content is not None:
        _warn_if_unfinished(path, content, split, len(members))
    return LensDataset(path, members, None if content is None else content["settings"])


def read_settings(directory: Path) -> dict[str, Any] | None:
    """Give what ``dataset.json`` says; None if there is none."""
    path = directory / SETTINGS_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f'"format" must be {FORMAT!r}')
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']}, and known is {VERSION}")
        for key in ("n", "splits", "settings"):
            content[key]
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} does not describe a data set of lenssuper: {error}") from error
    return content


def split_of(n: int, split: Mapping[str, float]) -> list[str]:
    """
    Divide the numbers 0 to n - 1 among the parts of a set.

    Each goes to the part that has the least of its share so far, so that all shares are right to within one
    lens whatever n, and no lens changes its part when a set grows.
    """
    counts = dict.fromkeys(split, 0)
    parts = []
    for i in range(n):
        part = max(counts, key=lambda name: round(split[name] * (i + 1) - counts[name], 9))
        counts[part] += 1
        parts.append(part)
    return parts


def _warn_if_unfinished(path, content, split, found):
    parts = split_of(content["n"], content["splits"]) if content["splits"] else []
    expected = content["n"] if split is None else Counter(parts)[split]
    if found < expected:
        warnings.warn(
            f"{path} is not finished: {found} of {expected} lenses are there; the command that began it goes "
            "on where it stopped",
            LensSuperWarning,
            stacklevel=3,
        )


def _observations(folder):
    """The names of the lenses in a folder; a missing lens model is an error now rather than later."""
    if not folder.is_dir():
        return []
    names = [
        file.name.removesuffix(_OBSERVED)
        for file in folder.glob(f"*{_OBSERVED}")
        if not file.name.startswith(".") and not file.name.endswith(_TRUTH) and file.is_file()
    ]
    for name in sorted(names):
        if not (folder / f"{name}{_LENS}").is_file():
            raise FileNotFoundError(
                f"{folder / name}{_OBSERVED} has no lens: {name}{_LENS} must be beside it, written by "
                "lens.write(...) or in the format of COOLEST"
            )
    return sorted(names, key=_natural)


def _natural(name):
    """Sort key: digits by their value."""
    parts, digits = [], ""
    for character in name + "\0":
        if character.isdecimal():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        parts.append((1, 0, character))
    return parts


def _shape_of(path):
    try:
        with fits.open(path) as hdus:
            shape = next(hdu.shape for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 0)
    except (OSError, ValueError, TypeError, fits.VerifyError, StopIteration) as error:
        raise FileFormatError(f"{path} cannot be read as a FITS image: {error}") from error
    return tuple(shape)
