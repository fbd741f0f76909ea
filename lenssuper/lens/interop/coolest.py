"""COOLEST templates (Galan et al. 2023, JOSS 8, 5567): the mass profiles of their lensing entities.

Lengths are in arcsec, x to the right (along the columns) and y up, Einstein radii on the intermediate axis,
as here; position angles are in degrees, counter-clockwise from +y, in (-90, 90].
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from copy import deepcopy
from itertools import groupby
from typing import Any

from astropy import units as u

from lenssuper._utils.jsonfile import read_json
from lenssuper._utils.units import to_number
from lenssuper.exceptions import FileFormatError
from lenssuper.lens.interop.naming import build, find, written

# What a template must have to be loaded: no pixels, no noise, no PSF, and a pixel scale that stands for none.
_NO_PIXELS: dict[str, Any] = {
    "fits_file": {"path": None},
    "field_of_view_x": [0, 0],
    "field_of_view_y": [0, 0],
}
_NO_PIXELS |= {"num_pix_x": 0, "num_pix_y": 0}
_UNKNOWN = {
    "coordinates_origin": {"ra": "00h00m00s", "dec": "+00d00m00s"},
    "observation": {"pixels": _NO_PIXELS, "noise": {"type": None}},
    "instrument": {"pixel_size": 1.0, "psf": {"type": None}},
}
# Shares of a normal distribution one standard deviation below and above its mean.
_PERCENTILES = {"percentile_16th": -1, "percentile_84th": 1}


def to_coolest(parts, z_lens: float | None) -> dict[str, Any]:
    """Return a template with some profiles in it; observation and instrument are there, and empty."""
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
    template = {"standard": "COOLEST", "mode": "MAP", "lensing_entities": entities, "meta": {}}
    return template | deepcopy(_UNKNOWN)


def from_coolest(profiles: Mapping[str, type], template: Mapping[str, Any] | str | os.PathLike) -> list:
    """Return all mass profiles of a template, given by its content or its path."""
    content = template if isinstance(template, Mapping) else _load(template)
    entities = content.get("lensing_entities")
    if content.get("standard", "COOLEST") != "COOLEST" or not isinstance(entities, list):
        raise FileFormatError('a COOLEST template has "standard": "COOLEST" and a list "lensing_entities"')
    found, planes = [], set()
    for entity in entities:
        massive = entity.get("mass_model") or [] if isinstance(entity, Mapping) else None
        if not isinstance(massive, list):
            raise FileFormatError(f'a lensing entity must have a list "mass_model"; got {entity!r:.80}')
        found += massive
        if massive and entity.get("redshift") is not None:
            planes.add(_number(entity["redshift"], "the redshift of a lensing entity"))
    if len(planes) > 1:
        raise ValueError(f"the mass profiles must lie in one lens plane; got redshifts {sorted(planes)}")
    parts = [_read_profile(profiles, profile) for profile in found]
    if not parts:
        raise FileFormatError("no lensing entity of the COOLEST template has a mass profile")
    return parts


def posterior_of(part, errors: Mapping[str, u.Quantity | float]) -> dict[str, Any]:
    """Return the parameters of a profile as COOLEST has them, with the percentiles that their errors give."""
    naming, theirs = written(part, "_coolest", "COOLEST")
    parameters = _write_profile(naming, theirs, part.values())["parameters"]
    names = {"center_x": "x", "center_y": "y"}
    for name, entry in parameters.items():
        error = errors.get(names.get(name, name))
        if error is None:  # a shear: the errors of strength and angle are not those of its components
            continue
        error = float(u.Quantity(error, u.deg if name == "phi" else None).value)
        value = entry["point_estimate"]["value"]
        entry["posterior_stats"] = {"mean": value, "median": value}
        entry["posterior_stats"] |= {key: value + sign * error for key, sign in _PERCENTILES.items()}
    return parameters


def _write_profile(naming, given, values):
    if naming.center:
        given |= {naming.center[0]: values["x"], naming.center[1]: values["y"]}
    given = {k: _from_north(v) if k.startswith("phi") else v for k, v in given.items()}
    parameters = {k: {"point_estimate": {"value": v}} for k, v in given.items()}
    return {"type": naming.name, "parameters": parameters}


def _read_profile(profiles, profile):
    kind = profile.get("type") if isinstance(profile, Mapping) else None
    cls, naming = find(profiles, "_coolest", kind, {}, "COOLEST profiles")

    def take(key):
        try:
            value = profile["parameters"][key]["point_estimate"]["value"]
        except (KeyError, TypeError):
            value = None
        if value is None:
            raise FileFormatError(f"the COOLEST profile {kind} has no point estimate of {key}")
        value = _number(value, f"{key} of {kind}")
        return math.radians((value + 90) % 180) if key.startswith("phi") else value

    own = naming.read(take, [p.name for p in cls._schema if p.name not in "xy"])
    if naming.center:
        own["x"], own["y"] = map(take, naming.center)
    return build(cls, own)


def _number(value, what):
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FileFormatError(f"{what} must be a number; got {value!r:.80}")
    return float(to_number(float(value), what))


def _from_north(angle):
    """Degrees from +y, in (-90, 90], of radians from +x."""
    degrees = (math.degrees(angle) - 90) % 180
    return degrees - 180 if degrees > 90 else degrees


def _load(path):
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{path} is not a COOLEST template: it holds no JSON object")
    return content
