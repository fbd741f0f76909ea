"""Lenses in JSON files, lengths and angles as strings with their unit: for people to read and write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from astropy import units as u

from lenssuper._utils.files import atomic_write, reading
from lenssuper._utils.jsonfile import read_json
from lenssuper.exceptions import FileFormatError
from lenssuper.lens.interop.coolest import from_coolest

_FORMAT = "lenssuper lens"
_VERSION = 1


def to_dict(parts) -> dict[str, Any]:
    """Return some profiles as numbers, strings, lists and dictionaries."""
    entries = [
        {"type": type(part).__name__, **{name: _as_text(value) for name, value in part.parameters.items()}}
        for part in parts
    ]
    return {"format": _FORMAT, "version": _VERSION, "components": entries}


def from_dict(profiles: Mapping[str, type], content: Mapping[str, Any]) -> list:
    """Return the profiles of `to_dict`; parameters with a default may be missing."""
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
        raise FileFormatError(f'a lens must be a dictionary with "format": "{_FORMAT}"; got {content!r:.80}')
    if content.get("version") != _VERSION:
        raise FileFormatError(
            f"the lens has format version {content.get('version')!r}; known is {_VERSION}: "
            "update lenssuper if a later one wrote it (pip install --upgrade lenssuper)"
        )
    entries = content.get("components")
    if not isinstance(entries, list) or not entries:
        raise FileFormatError(f'the lens must have a list "components" of profiles; got {entries!r:.80}')
    return [_component(profiles, entry) for entry in entries]


def write(parts, path, overwrite: bool) -> None:
    """Write some profiles as JSON, complete or not at all."""
    text = json.dumps(to_dict(parts), indent=2) + "\n"
    with atomic_write(path, overwrite=overwrite, stream=True) as beside:
        beside.write_text(text, encoding="utf-8")


def read(profiles: Mapping[str, type], path) -> list:
    """Return the profiles in a JSON file of this package, or in a COOLEST template."""
    content = read_json(path)
    if not isinstance(content, Mapping) or (
        content.get("format") != _FORMAT and content.get("standard") != "COOLEST"
    ):
        raise FileFormatError(f'{path} has neither "format": "{_FORMAT}" nor "standard": "COOLEST"')
    with reading(path, "a lens"):
        if content.get("format") == _FORMAT:
            return from_dict(profiles, content)
        return from_coolest(profiles, content)


# What an argument must be in Python, and how it is written in a file.
_QUANTITY = re.compile(r"(?:be a Quantity with|have) (an? [^,]+), e\.g\. ([\d.e+-]+) \* u\.(\w+)")


def _as_text(value):
    return f"{value.value.item()!r} {value.unit.to_string()}" if isinstance(value, u.Quantity) else value


def _component(profiles, entry):
    if not isinstance(entry, Mapping) or entry.get("type") not in profiles:
        known = ", ".join(profiles)
        raise FileFormatError(f'each component must have a "type" among {known}; got {entry!r:.80}')
    given = {name: _as_value(name, value) for name, value in entry.items() if name != "type"}
    try:
        return profiles[entry["type"]](**given)
    except (TypeError, ValueError) as error:
        said = _QUANTITY.sub(r'have \1, e.g. "\2 \3"', str(error))
        raise FileFormatError(f"component {entry['type']}: {said}") from error


def _as_value(name, value):
    if not isinstance(value, str):
        return value
    try:
        return u.Quantity(value)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f'{name} must read like "1.2 arcsec"; got {value!r}') from error
