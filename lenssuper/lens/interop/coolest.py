"""COOLEST templates (Galan et al. 2023, JOSS 8, 5567): the mass profiles of their lensing entities.

Lengths are in arcsec, x to the right (along the columns) and y up, Einstein radii on the intermediate axis,
as here; position angles are in degrees, counter-clockwise from +y, in (-90, 90].
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from lenssuper._utils.files import reading
from lenssuper._utils.units import to_number
from lenssuper.exceptions import FileFormatError
from lenssuper.lens.interop.naming import build, find, written


def to_coolest(parts, z_lens: float | None) -> dict[str, Any]:
    """Return a template with some profiles in it; all but the lens is left to the caller to add."""
    entities = []
    chosen = [(*written(part, "_coolest", "COOLEST"), part.values()) for part in parts]
    # a profile without a centre is a field, not a galaxy
    for is_field, group in groupby(chosen, key=lambda found: found[0].center is None):
        entity: dict[str, Any] = {
            "type": "MassField" if is_field else "Galaxy",
            "name": "external shear" if is_field else "lens galaxy",
            "redshift": None if z_lens is None else to_number(z_lens, "z_lens"),
            "mass_model": [_write_profile(*found) for found in group],
        }
        if not is_field:
            entity["light_model"] = []
        entities.append(entity)
    return {"standard": "COOLEST", "mode": "MAP", "lensing_entities": entities, "meta": {}}


def from_coolest(profiles: Mapping[str, type], template: Mapping[str, Any] | str | Path) -> list:
    """Return all mass profiles of a template, given by its content or its path."""
    if not isinstance(template, Mapping):
        template = _load(template)
    entities = template.get("lensing_entities")
    if template.get("standard", "COOLEST") != "COOLEST" or not isinstance(entities, list):
        raise FileFormatError('a COOLEST template has "standard": "COOLEST" and a list "lensing_entities"')
    massive = [entity for entity in entities if entity.get("mass_model")]
    planes = {entity["redshift"] for entity in massive if entity.get("redshift") is not None}
    if len(planes) > 1:
        raise ValueError(f"the mass profiles must lie in one lens plane; got redshifts {sorted(planes)}")
    parts = [_read_profile(profiles, profile) for entity in massive for profile in entity["mass_model"]]
    if not parts:
        raise FileFormatError("no lensing entity of the COOLEST template has a mass profile")
    return parts


def _write_profile(naming, given, values):
    if naming.center:
        given |= {naming.center[0]: values["x"], naming.center[1]: values["y"]}
    given = {k: _from_north(v) if k.startswith("phi") else v for k, v in given.items()}
    parameters = {k: {"point_estimate": {"value": v}} for k, v in given.items()}
    return {"type": naming.name, "parameters": parameters}


def _read_profile(profiles, profile):
    kind = profile.get("type")
    cls, naming = find(profiles, "_coolest", kind, {}, "COOLEST profiles")

    def take(key):
        try:
            value = profile["parameters"][key]["point_estimate"]["value"]
        except (KeyError, TypeError):
            value = None
        if value is None:
            raise FileFormatError(f"the COOLEST profile {kind} has no point estimate of {key}")
        value = to_number(value, f"{key} of {kind}")
        return math.radians((value + 90) % 180) if key.startswith("phi") else value

    own = naming.read(take, [p.name for p in cls._schema if p.name not in "xy"])
    if naming.center:
        own["x"], own["y"] = map(take, naming.center)
    return build(cls, own)


def _from_north(angle):
    """Degrees from +y, in (-90, 90], of radians from +x."""
    degrees = (math.degrees(angle) - 90) % 180
    return degrees - 180 if degrees > 90 else degrees


def _load(path):
    with reading(path, "a JSON file"):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{path} is not a COOLEST template: it holds no JSON object")
    return content
