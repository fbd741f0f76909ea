"""A catalogue of lenses: which files, and what is known of the lens in each."""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from lenssuper.exceptions import FileFormatError
from lenssuper.lens import SIE, ExternalShear, LensModel

__all__ = ["Entry", "read_catalogue"]

# Columns of the lens's parameters, and of the position of a cutout, and the unit each must be convertible to.
_LENS = {"theta_E": u.arcsec, "q": u.one, "phi": u.deg, "x": u.arcsec, "y": u.arcsec}
_SHEAR = ("gamma1", "gamma2")
_PLACE = {"ra": u.deg, "dec": u.deg, "size": u.arcsec}
# Columns that tell of the noise of an image that has no noise map, as `lenssuper.prepare` takes them.
_NOISE = ("exposure_time", "gain")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Endings added to a name for some of its files, and names of files that belong to no lens.
_ENDINGS, _RESERVED = ("_lens", "_light"), ("index", "settings")


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
    rough : bool
        Whether nothing is known of the lens but about how large its Einstein radius is.
    center : `~astropy.coordinates.SkyCoord` or None
        Where the lens is in a larger image; None for a file that holds the cutout.
    size : `~astropy.units.Quantity` or None
        Side of what is cut out there.
    psf : str
        A FITS file with the PSF, or empty for the one that is with the observation.
    noise : mapping
        What is known of the noise of an image without a noise map, for `~lenssuper.prepare`.
    """

    name: str
    file: str
    lens: dict
    problem: str = ""
    rough: bool = False
    center: SkyCoord | None = None
    size: u.Quantity | None = None
    psf: str = ""
    noise: Mapping[str, u.Quantity] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Number made from the name, for the seed."""
        return zlib.crc32(self.name.encode())


def read_catalogue(catalogue: str | os.PathLike | Table) -> list[Entry]:
    """
    Read a catalogue of lenses.

    Parameters
    ----------
    catalogue : path or `~astropy.table.Table`
        A table, or a file that astropy reads as one (ECSV, FITS, VOTable). Columns:

        * ``file``: the observation, a FITS file. A relative path is relative to the catalogue's directory.
        * ``name``, optional: letters, digits and ``. _ + -``; by default the file's name without its ending.
        * ``lens``: a JSON file with a lens model, or instead of it
        * ``theta_E``, ``q``, ``phi``, ``x``, ``y``, ``gamma1``, ``gamma2``: the parameters of an
          `~lenssuper.SIE` and an `~lenssuper.ExternalShear`, angles with a unit. All but ``theta_E`` may be
          left out; a lens fit then takes it as no more than a rough radius.
        * ``ra``, ``dec`` and ``size``, optional, angles with a unit: where the lens is in ``file``, a larger
          image, and how large a square to cut out.
        * ``psf``, optional: a FITS file with the PSF, instead of the one in ``file``.
        * ``exposure_time``, ``gain``, optional, with a unit: as for `~lenssuper.prepare`.

    Returns
    -------
    list of Entry

    Raises
    ------
    FileFormatError
        If the file is not a table.
    ValueError
        If a column is missing or has the wrong unit, or two lenses would have the same files.
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
    given = [name for name in _PLACE if name in table.colnames]
    if given and len(given) < len(_PLACE):
        raise ValueError(f"ra, dec and size must be given together; the catalogue has {' and '.join(given)}")
    _check_units(table)
    entries = [_entry(row, table.colnames, base) for row in table]
    _check_names([entry.name for entry in entries])
    return entries


def _check_names(names):
    """Refuse names whose output files would collide."""
    once = set(names)
    if len(once) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"names must be unique in a catalogue; got more than once: {', '.join(twice[:5])}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a name must consist of letters, digits and . _ + -; got {name!r}")
        if name in _RESERVED:
            raise ValueError(
                f"a lens cannot be named {' or '.join(_RESERVED)}: the results have files of these names"
            )
        for ending in _ENDINGS:
            if name + ending in once:
                raise ValueError(f"{name} and {name + ending} would share a file: rename one of them")


def _read(path):
    try:
        return QTable.read(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # astropy's readers raise errors of any kind
        raise FileFormatError(f"{path} cannot be read as a table: {error}") from error


def _check_units(table):
    for name in _NOISE:
        if name in table.colnames and table[name].unit is None:
            raise ValueError(f"column {name!r} must have a unit")
    for name, unit in (_LENS | _PLACE).items():
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
        return Entry(
            name,
            os.fspath(file),
            _lens(row, columns, base).to_dict(),
            rough="lens" not in columns and {*_LENS, *_SHEAR} & set(columns) == {"theta_E"},
            **_image(row, columns, base),
        )
    except (ValueError, TypeError, OSError) as error:
        return Entry(name, os.fspath(file), {}, f"{type(error).__name__}: {error}")


def _image(row, columns, base):
    """Return the fields of an entry that describe its image."""
    known = {"noise": {name: row[name] for name in _NOISE if name in columns}}
    if "psf" in columns:
        known["psf"] = os.fspath(base / str(row["psf"]))
    if "ra" in columns:
        known.update(center=SkyCoord(row["ra"], row["dec"]), size=row["size"])
    return known


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
