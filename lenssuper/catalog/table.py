"""A catalogue of lenses: which files, and what is known of the lens in each."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from lenssuper._utils.jsonfile import read_json
from lenssuper._utils.text import said_by
from lenssuper.catalog.coolest import is_template, template_files
from lenssuper.exceptions import FileFormatError
from lenssuper.lens import SIE, ExternalShear, LensModel

__all__ = ["Entry", "read_catalogue"]

# Columns of the lens's parameters, and of the position of a cutout, and the unit each must be convertible to.
_LENS = {"theta_E": u.arcsec, "q": u.one, "phi": u.deg, "x": u.arcsec, "y": u.arcsec}
_SHEAR = ("gamma1", "gamma2")
_POSITION = {"ra": u.deg, "dec": u.deg, "size": u.arcsec}
# Columns on the noise of an image that has no noise map, as `lenssuper.prepare` takes them.
_NOISE = ("exposure_time", "gain")
# Columns that tell what the files of image and PSF do not say of themselves.
_REDSHIFTS = ("z_lens", "z_source")
_READING = ("ext", "unit", "noise", "weight", "mask", "mask_bits", "pixel_scale")
_PSF = ("psf_ext", "psf_scale", "psf_oversampling")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Longest name, in characters: the endings of its files must fit into the 255 bytes of most systems.
_LONGEST = 200
# Endings added to a name for some of its files, and names of files that belong to no lens.
_ENDINGS, _RESERVED = ("_lens", "_light", "_substructure", "_coolest"), ("index", "settings")
# Hours or degrees, minutes and seconds: 10h00m28.6s, +02d12m21s, 10:00:28.6, 10 00 28.6.
_SEXAGESIMAL = re.compile(r"([+-]?)(\d+)\s*([hd:° ])\s*(\d+)\s*[m:' ]\s*(\d+(?:\.\d*)?)\s*[s\"]?")


@dataclass(frozen=True)
class Entry:
    """
    One row of a catalogue.

    Attributes
    ----------
    name : str
        What its files are called.
    file : str
        The observation, a FITS file or a COOLEST template.
    lens : dict
        The lens as `~lenssuper.LensModel.to_dict` gives it; empty if it could not be read, or is that of the
        template.
    problem : str
        What is wrong with the row; it is reported with the lens, and the others are done.
    rough : bool
        Whether nothing is known of the lens but about how large its Einstein radius is.
    center : `~astropy.coordinates.SkyCoord` or (float, float) or None
        Where the lens is in a larger image; two numbers are right ascension and declination, ICRS degrees.
        None for a file that holds the cutout.
    redshifts : (float, float) or None
        Of lens and source.
    size : `~astropy.units.Quantity` or None
        Side of what is cut out there.
    psf : str
        A FITS file with the PSF, or empty for the one that is with the observation.
    noise : mapping
        What is known of the noise of an image without a noise map, for `~lenssuper.prepare`.
    reading : mapping
        What the file does not say of itself, for `~lenssuper.observation.reader.Reading`.
    psf_options : mapping
        What the file of the PSF does not say, for `~lenssuper.observation.psffile.PsfOptions`.
    """

    name: str
    file: str
    lens: dict
    problem: str = ""
    rough: bool = False
    center: SkyCoord | tuple[float, float] | None = None
    size: u.Quantity | None = None
    psf: str = ""
    noise: Mapping[str, u.Quantity] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)
    psf_options: Mapping[str, Any] = field(default_factory=dict)
    redshifts: tuple[float, float] | None = None

    @property
    def position(self) -> SkyCoord | None:
        """The ``center`` as a position on the sky."""
        # made only where it is used: that takes a hundred times longer than all the rest of an entry
        return SkyCoord(*self.center, unit=u.deg) if isinstance(self.center, tuple) else self.center

    @property
    def number(self) -> int:
        """Number made from the name, for the seed."""
        return zlib.crc32(self.name.encode())

    @property
    def is_template(self) -> bool:
        """Whether the observation is in a COOLEST template."""
        return self.file.endswith(".json")

    def files(self) -> list[str]:
        """The files that are read for it; those of a template that cannot be read are not known."""
        files = [self.file]
        if self.is_template:
            with suppress(OSError, ValueError):
                files = [os.fspath(path) for path in template_files(self.file)]
        maps = [self.reading[name] for name in ("noise", "weight", "mask") if name in self.reading]
        return [*files, *filter(os.path.isfile, maps), *([self.psf] if self.psf else [])]

    def lens_model(self) -> LensModel:
        """The lens of the catalogue, or of the template."""
        if self.is_template and not self.lens:
            return LensModel.read(self.file)
        return LensModel.from_dict(self.lens)

    @property
    def known(self) -> str:
        """All that the catalogue says, but for the names of files, as text that changes when it does."""
        given = (*self.noise.items(), *self.reading.items(), *self.psf_options.items())
        numbers = {name: str(value) for name, value in given}
        if self.redshifts is not None:
            numbers |= dict(zip(_REDSHIFTS, map(str, self.redshifts), strict=True))
        center = self.center
        if isinstance(center, SkyCoord):
            center = (float(center.icrs.ra.deg), float(center.icrs.dec.deg))
        return json.dumps([self.lens, self.problem, self.rough, center, str(self.size), numbers])


def read_catalogue(catalogue: str | os.PathLike | Table) -> list[Entry]:
    """
    Read a catalogue of lenses.

    Parameters
    ----------
    catalogue : path or `~astropy.table.Table`
        A table, a file that astropy reads as one (ECSV, FITS, VOTable), or a directory of COOLEST templates.
        Columns:

        * ``file``: the observation, a FITS file, or a COOLEST template (``.json``) that names one and holds
          the lens. A relative path is relative to the catalogue's directory.
        * ``name``, optional: letters, digits and ``. _ + -``; by default the file's name without its ending.
        * ``lens``: a JSON file with a lens model, or instead of it
        * ``theta_E``, ``q``, ``phi``, ``x``, ``y``, ``gamma1``, ``gamma2``: the parameters of an
          `~lenssuper.SIE` and an `~lenssuper.ExternalShear`, angles with a unit. All but ``theta_E`` may be
          left out; a lens fit then takes it as no more than a rough radius.
        * ``ra``, ``dec`` and ``size``, optional, angles with a unit: where the lens is in ``file``, a larger
          image, and how large a square to cut out. ``ra`` and ``dec`` may be text, ``10:00:28.6`` (hours) or
          ``10h00m28.6s``, and ``-2:12:21`` or ``-2d12m21s``.
        * ``psf``, optional: a FITS file with the PSF, instead of the one in ``file``.
        * ``exposure_time``, ``gain``, optional, with a unit: as for `~lenssuper.prepare`.
        * ``z_lens``, ``z_source``, optional: redshifts, for masses of substructure.
        * ``noise``, ``weight``, ``mask``, optional: maps in files of their own, or the names of extensions.
        * ``ext``, ``unit``, ``mask_bits``, ``pixel_scale``, ``psf_ext``, ``psf_scale``, ``psf_oversampling``,
          optional: what the files do not say of themselves, see `~lenssuper.observation.reader.Reading`.

    Returns
    -------
    list of Entry
        A row that cannot be used has its ``problem``.

    Raises
    ------
    FileFormatError
        If the file is not a table, or the directory holds no template.
    ValueError
        If a column is missing or has the wrong unit, or two lenses would have the same files.
    """
    base = Path()
    if isinstance(catalogue, (str, os.PathLike)):
        base = Path(catalogue).absolute()
        base, catalogue = (base, _templates(base)) if base.is_dir() else (base.parent, _read(catalogue))
    elif not isinstance(catalogue, Table):
        raise TypeError(f"catalogue must be a table or the name of a file; got {catalogue!r:.80}")
    table = QTable(catalogue)
    columns = set(table.colnames)
    if "file" not in columns:
        raise ValueError(
            f"the catalogue must have a column 'file'; it has {', '.join(table.colnames) or 'none'}"
        )
    files = _texts(table["file"])
    if not columns & {"lens", "theta_E"} and not all(file.endswith(".json") for file in files):
        raise ValueError(
            "the catalogue must have a column 'lens' (JSON files) or 'theta_E' (and q, phi, ...)"
        )
    given = [name for name in _POSITION if name in columns]
    if given and len(given) < len(_POSITION):
        raise ValueError(f"ra, dec and size must be given together; the catalogue has {' and '.join(given)}")
    _check_units(table)
    names = _texts(table["name"]) if "name" in columns else [_stem(file) for file in files]
    _check_names(names)
    rows = _rows(table)
    return [_entry(name, file, row, base) for name, file, row in zip(names, files, rows, strict=True)]


def _templates(directory):
    files = sorted(path.name for path in directory.glob("*.json") if is_template(path))
    if not files:
        raise FileFormatError(f"{directory} is a directory without COOLEST templates (*.json): no catalogue")
    return Table({"file": files})


def _read(path):
    try:
        return QTable.read(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # astropy's readers raise errors of any kind
        raise FileFormatError(f"{path} cannot be read as a table: {error}") from error


def _stem(file):
    return re.sub(r"(\.fits)?(\.gz|\.fz)?$|\.json$", "", os.path.basename(file))


def _check_names(names):
    """Check that no lens's files are another's."""
    once = set(names)
    if len(once) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"names must be unique in a catalogue; there more than once: {', '.join(twice[:5])}")
    for name in names:
        for ending in _ENDINGS:
            if name + ending in once:
                raise ValueError(f"{name} and {name + ending} would share a file: rename one of them")


def _check_units(table):
    for name in _NOISE:
        if name in table.colnames and table[name].unit is None:
            raise ValueError(f"column {name!r} must have a unit")
    for name, unit in (_LENS | _POSITION).items():
        if name not in table.colnames or (name in ("ra", "dec") and table[name].dtype.kind in "US"):
            continue
        given = table[name].unit
        if unit is not u.one and given is None:
            raise ValueError(f"column {name!r} must have a unit, such as {unit}")
        if given is not None and not given.is_equivalent(unit):
            raise ValueError(f"column {name!r} must have a unit like {unit}; got {given}")


def _texts(column):
    """The column as text, empty where it is masked."""
    masked = np.broadcast_to(getattr(column, "mask", False), len(column))
    return ["" if hidden else str(value) for value, hidden in zip(column, masked, strict=True)]


def _numbers(column, unit):
    """The column as floats in a unit, NaN where it is masked."""
    if np.any(getattr(column, "mask", False)):
        column = column.astype(float).filled(np.nan)
    values = column.to_value(unit) if isinstance(column, u.Quantity) else np.asarray(column, dtype=float)
    return np.asarray(values, dtype=float).tolist()


def _rows(table):
    """What each row says besides its files: numbers in the units of this file, texts, and quantities."""
    columns = {}
    for name in table.colnames:
        if name in ("lens", "psf") or (name in ("ra", "dec") and table[name].dtype.kind in "US"):
            columns[name] = _texts(table[name])
        elif name in _LENS | _POSITION:
            columns[name] = _numbers(table[name], (_LENS | _POSITION)[name])
        elif name in (*_SHEAR, *_REDSHIFTS):
            columns[name] = _numbers(table[name], u.one)
        elif name in _NOISE:
            columns[name] = [value * table[name].unit for value in _numbers(table[name], table[name].unit)]
        elif name in _READING + _PSF:
            columns[name] = [_plain(value) for value in table[name]]
    if not columns:
        return [{}] * len(table)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value):
    """A cell as a quantity, a number or text; None if it is empty."""
    if np.ma.is_masked(value) or str(value).strip() == "":
        return None
    return value if isinstance(value, u.Quantity) else np.asarray(value).item()


def _entry(name, file, row, base):
    path = os.fspath(base / file)
    safe, problem = _safe(name)
    lens, known, rough = {}, {}, set(row) & {"lens", *_LENS, *_SHEAR} == {"theta_E"}
    try:
        if problem or not file:
            raise ValueError(problem or "the name of the file is missing")
        lens = _lens(row, base)
        known = _image(row, base)
    except (ValueError, TypeError, OSError) as error:
        problem = said_by(error)
    return Entry(safe, path, {} if problem else lens, problem, rough=rough, **known)


def _safe(name):
    """A name that files can have, and what is wrong with the given one."""
    if not _NAME.fullmatch(name):
        problem = f"a name must consist of letters, digits and . _ + -; got {name!r:.80}"
    elif len(name) > _LONGEST:
        problem = f"a name must have at most {_LONGEST} characters; got {len(name)}, {name[:20]}..."
    elif name in _RESERVED:
        problem = f"a lens cannot be named {' or '.join(_RESERVED)}: the results have files of these names"
    else:
        return name, ""
    safe = re.sub(r"[^A-Za-z0-9+-]+", "_", name)[:60]
    return f"lens-{safe}-{zlib.crc32(name.encode()):08x}", problem + "; give it another in a column 'name'"


def _image(row, base):
    """What is known of the image besides the lens in it."""
    noise = {name: row[name] for name in _NOISE if name in row and not np.isnan(row[name].value)}
    known: dict[str, Any] = {"noise": noise}
    reading = {name: row[name] for name in _READING if row.get(name) is not None}
    for name in {"noise", "weight", "mask"} & set(reading):
        path = base / str(reading[name])
        reading[name] = os.fspath(path) if path.is_file() else str(reading[name])
    known["reading"] = reading
    known["psf_options"] = {
        name.removeprefix("psf_"): row[name] for name in _PSF if row.get(name) is not None
    }
    redshifts = tuple(row.get(name, np.nan) for name in _REDSHIFTS)
    if np.isfinite(redshifts).all():
        known["redshifts"] = redshifts
    if row.get("psf"):
        known["psf"] = os.fspath(base / row["psf"])
    if "ra" in row:
        ra, dec = _degrees(row["ra"], "ra"), _degrees(row["dec"], "dec")
        if not (0 <= abs(ra) <= 360 and abs(dec) <= 90 and row["size"] > 0):
            raise ValueError(
                f"ra, dec and size must be a position and a positive angle; got {ra}, {dec} deg "
                f"and {row['size']} arcsec"
            )
        known.update(center=(ra, dec), size=row["size"] * u.arcsec)
    return known


def _degrees(value, name):
    """Degrees of a number of degrees, or of a sexagesimal text, which without letters is hours for ra."""
    if isinstance(value, float):
        return value
    match = _SEXAGESIMAL.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{name} must be an angle with a unit, or read like 10:00:28.6; got {value!r}")
    sign, whole, separator, minutes, seconds = match.groups()
    if int(minutes) > 59 or float(seconds) >= 60:
        raise ValueError(f"minutes and seconds of {name} must be below 60; got {value!r}")
    hours = separator == "h" or (separator in ": " and name == "ra")
    degrees = (int(whole) + int(minutes) / 60 + float(seconds) / 3600) * (15 if hours else 1)
    return -degrees if sign == "-" else degrees


_SHAPE = SIE(theta_E=1 * u.arcsec, q=1.0, phi=0 * u.deg)
_BARE, _SHEARED = (lens.to_dict() for lens in (_SHAPE, _SHAPE + ExternalShear(gamma1=0.0, gamma2=0.0)))


def _lens(row, base):
    """The lens of a row as a dictionary; empty for that of a COOLEST template."""
    if "lens" in row:
        return _lens_of_file(base / row["lens"])
    values = {name: row[name] for name in _LENS if name in row}
    shear = {name: row[name] for name in _SHEAR if name in row}
    if not values:
        return {}
    if not all(map(math.isfinite, (*values.values(), *shear.values()))):
        raise ValueError("a parameter of the lens is missing or not finite")
    if not (values["theta_E"] > 0 and 0 < values.get("q", 1.0) <= 1):  # the class says what is wrong
        SIE(**{"q": 1.0, "phi": 0 * u.deg, **{name: value * _LENS[name] for name, value in values.items()}})
    # Written down without making the lens, which would take most of the time of a long catalogue.
    content = deepcopy(_SHEARED if any(shear.values()) else _BARE)
    texts = {k: v if k == "q" else f"{v!r} {_LENS[k]}" for k, v in values.items()}
    content["components"][0].update(texts)
    if any(shear.values()):
        content["components"][1].update(shear)
    return content


def _lens_of_file(path):
    content = read_json(path)
    if isinstance(content, Mapping) and content.get("format") == _BARE["format"]:  # checked when it is used
        return {name: content.get(name) for name in _BARE}
    return LensModel.read(path).to_dict()
