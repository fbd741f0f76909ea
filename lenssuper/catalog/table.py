"""A catalogue of lenses: which files, and what is known of the lens in each."""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from lenssuper.exceptions import FileFormatError
from lenssuper.lens import SIE, ExternalShear, LensModel

__all__ = ["Entry", "read_catalogue"]

# Columns of the lens's parameters, and the unit each must be convertible to.
_LENS = {"theta_E": u.arcsec, "q": u.one, "phi": u.deg, "x": u.arcsec, "y": u.arcsec}
_SHEAR = ("gamma1", "gamma2")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Entry:
    """
    One line of a catalogue.

    Attributes
    ----------
    name : str
        What its files are called.
    file : str
        The observation, a FITS file.
    lens : dict
        The lens as `~lenssuper.LensModel.to_dict` gives it; empty if it could not be read.
    problem : str
        What is wrong with the line; it is reported with the lens, and the others go on.
    """

    name: str
    file: str
    lens: dict
    problem: str = ""

    @property
    def number(self) -> int:
        """A number that belongs to the name, for seeds and for shards."""
        return zlib.crc32(self.name.encode())


def read_catalogue(catalogue: str | os.PathLike | Table) -> list[Entry]:
    """
    Read which lenses there are.

    Parameters
    ----------
    catalogue : path or `~astropy.table.Table`
        A table, or a file that astropy reads as one (ECSV, FITS, VOTable). Columns:

        * ``file``: the observation, a FITS file. A relative path is relative to the catalogue's directory.
        * ``name``, optional: letters, digits and ``. _ + -``; by default the file's name without its ending.
        * ``lens``: a JSON file with a lens model, or instead of it
        * ``theta_E``, ``q``, ``phi``, ``x``, ``y``, ``gamma1``, ``gamma2``: the parameters of an
          `~lenssuper.SIE` and an `~lenssuper.ExternalShear`, angles with a unit. All but ``theta_E`` may be
          left out.

    Returns
    -------
    list of Entry

    Raises
    ------
    FileFormatError
        If the file is not a table.
    ValueError
        If a column is missing or has the wrong unit, or a name is there twice.
    """
    base = Path()
    if isinstance(catalogue, (str, os.PathLike)):
        base = Path(catalogue).absolute().parent
        catalogue = _read(catalogue)
    elif not isinstance(catalogue, Table):
        raise TypeError(f"catalogue must be a table or the name of a file; got {catalogue!r:.80}")
    table = QTable(catalogue)
    if "file" not in table.colnames:
        raise ValueError(
            f"the catalogue must have a column 'file'; it has {', '.join(table.colnames) or 'none'}"
        )
    if "lens" not in table.colnames and "theta_E" not in table.colnames:
        raise ValueError(
            "the catalogue must have a column 'lens' (JSON files) or 'theta_E' (and q, phi, ...)"
        )
    _check_units(table)
    entries = [_entry(row, table.colnames, base) for row in table]
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"names must be unique in a catalogue; there more than once: {', '.join(twice[:5])}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a name must consist of letters, digits and . _ + -; got {name!r}")
    return entries


def _read(path):
    try:
        return QTable.read(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # astropy's readers raise what they like
        raise FileFormatError(f"{path} cannot be read as a table: {error}") from error


def _check_units(table):
    for name, unit in _LENS.items():
        if name not in table.colnames:
            continue
        given = table[name].unit
        if unit is not u.one and given is None:
            raise ValueError(f"column {name!r} must have a unit, such as {unit}")
        if given is not None and not given.is_equivalent(unit):
            raise ValueError(f"column {name!r} must have a unit like {unit}; got {given}")


def _entry(row, columns, base):
    file = base / str(row["file"])
    name = str(row["name"]) if "name" in columns else file.name.removesuffix(".gz").removesuffix(".fits")
    try:
        lens = _lens(row, columns, base).to_dict()
    except (ValueError, TypeError, OSError) as error:
        return Entry(name, os.fspath(file), {}, f"{type(error).__name__}: {error}")
    return Entry(name, os.fspath(file), lens)


def _lens(row, columns, base):
    if "lens" in columns:
        return LensModel.read(base / str(row["lens"]))
    values = {name: row[name] for name in _LENS if name in columns}
    if any(np.ma.is_masked(value) for value in values.values()):
        raise ValueError("a parameter of the lens is missing")
    if "q" in values:
        values["q"] = float(values["q"])
    lens = SIE(**{"q": 1.0, "phi": 0 * u.deg, **values})
    shear = {name: float(row[name]) for name in _SHEAR if name in columns}
    return lens + ExternalShear(**{"gamma1": 0.0, "gamma2": 0.0, **shear}) if any(shear.values()) else lens
