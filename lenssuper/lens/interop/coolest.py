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

from astropy import units as u

from lenssuper._utils.units import to_number
from lenssuper.exceptions import FileFormatError
from lenssuper.lens.base import LensModel
from lenssuper.lens.models import EPL, SIE, SIS, ExternalShear
from lenssuper.lens.profile import CompositeLens


def to_coolest(lens: LensModel, z_lens: float | None) -> dict[str, Any]:
    """Return a template with the lens in it; what is not the lens is left to the one who completes it."""
    entities = []
    for is_field, parts in groupby(lens.components, key=lambda part: isinstance(part, ExternalShear)):
        entity: dict[str, Any] = {
            "type": "MassField" if is_field else "Galaxy",
            "name": "external shear" if is_field else "lens galaxy",
            "redshift": None if z_lens is None else to_number(z_lens, "z_lens"),
            "mass_model": [_write_profile(part) for part in parts],
        }
        if not is_field:
            entity["light_model"] = []
        entities.append(entity)
    return {"standard": "COOLEST", "mode": "MAP", "lensing_entities": entities, "meta": {}}


def from_coolest(template: Mapping[str, Any] | str | Path) -> LensModel:
    """Return the sum of all mass profiles of a template, given by its content or its path."""
    if not isinstance(template, Mapping):
        template = _load(template)
    entities = template.get("lensing_entities")
    if template.get("standard", "COOLEST") != "COOLEST" or not isinstance(entities, list):
        raise FileFormatError('a COOLEST template has "standard": "COOLEST" and a list "lensing_entities"')
    massive = [entity for entity in entities if entity.get("mass_model")]
    planes = {entity["redshift"] for entity in massive if entity.get("redshift") is not None}
    if len(planes) > 1:
        raise ValueError(f"the mass profiles must lie in one lens plane; got redshifts {sorted(planes)}")
    parts = [_read_profile(profile) for entity in massive for profile in entity["mass_model"]]
    if not parts:
        raise FileFormatError("no lensing entity of the COOLEST template has a mass profile")
    return parts[0] if len(parts) == 1 else CompositeLens(parts)


def _write_profile(part):
    v = part.values()
    if isinstance(part, ExternalShear):
        if v["x"] or v["y"]:
            raise ValueError(f"COOLEST puts the origin of a shear at (0, 0); got {part!r}")
        strength, angle = math.hypot(v["gamma1"], v["gamma2"]), math.atan2(v["gamma2"], v["gamma1"]) / 2
        return _profile("ExternalShear", gamma_ext=strength, phi_ext=_from_north(angle))
    centre = {"center_x": v["x"], "center_y": v["y"]}
    if isinstance(part, SIS):
        return _profile("SIE", theta_E=v["theta_E"], q=1.0, phi=0.0, **centre)
    if isinstance(part, SIE | EPL):
        slope = {"gamma": v["gamma"]} if isinstance(part, EPL) else {}
        kind = "PEMD" if slope else "SIE"
        return _profile(kind, **slope, theta_E=v["theta_E"], q=v["q"], phi=_from_north(v["phi"]), **centre)
    raise ValueError(f"COOLEST has no profile for {type(part).__name__}; it has SIE, PEMD and ExternalShear")


def _profile(kind, **values):
    return {"type": kind, "parameters": {k: {"point_estimate": {"value": v}} for k, v in values.items()}}


def _read_profile(profile):
    kind = profile.get("type")
    if kind == "ExternalShear":
        strength, angle = _values(profile, ("gamma_ext", "phi_ext"))
        turn = 2 * _from_x(angle).to_value(u.rad)
        return ExternalShear(gamma1=strength * math.cos(turn), gamma2=strength * math.sin(turn))
    if kind not in ("SIE", "PEMD"):
        raise ValueError(f"COOLEST profiles must be SIE, PEMD or ExternalShear; got {kind!r}")
    theta_E, q, phi, x, y = _values(profile, ("theta_E", "q", "phi", "center_x", "center_y"))
    shape = {"theta_E": theta_E * u.arcsec, "q": q, "phi": _from_x(phi), "x": x * u.arcsec, "y": y * u.arcsec}
    return SIE(**shape) if kind == "SIE" else EPL(gamma=_values(profile, ("gamma",))[0], **shape)


def _values(profile, names):
    values = []
    for name in names:
        try:
            value = profile["parameters"][name]["point_estimate"]["value"]
        except (KeyError, TypeError):
            value = None
        if value is None:
            raise FileFormatError(f"the COOLEST profile {profile['type']} has no point estimate of {name}")
        values.append(to_number(value, f"{name} of {profile['type']}"))
    return values


def _from_north(angle):
    """Degrees from +y, in (-90, 90], of radians from +x."""
    degrees = (math.degrees(angle) - 90) % 180
    return degrees - 180 if degrees > 90 else degrees


def _from_x(degrees):
    return (degrees + 90) % 180 * u.deg


def _load(path):
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, Mapping):
        raise FileFormatError(f"{path} is not a COOLEST template: it holds no JSON object")
    return content
