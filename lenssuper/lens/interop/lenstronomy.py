"""lenstronomy's lists of names and keyword arguments (lengths in arcsec, ellipticities e1 and e2).

Its Einstein radii are on the intermediate axis, its angles counter-clockwise from +x, as here. Where its x
axis is right ascension (east), everything is mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lenssuper._utils.units import to_number
from lenssuper.lens.interop.ellipticity import axis_ratio_and_angle, components
from lenssuper.lens.interop.naming import build, find, written

# What a mirror does to its parameters: these change sign, and these directions phi become pi - phi.
_NEGATED = ("center_x", "ra_0", "e2", "gamma2")
_REFLECTED = ("phi_m", "psi_ext")
# Its profiles that are an EPL and multipoles: the kind of the multipoles, and their orders.
_MULTIPOLES = {
    f"EPL_MULTIPOLE_{name}{kind}": (f"MULTIPOLE{kind}", orders)
    for name, orders in (("M1M3M4", (1, 3, 4)), ("M3M4", (3, 4)))
    for kind in ("", "_ELL")
}


def to_lenstronomy(parts, x_axis: str) -> tuple[list[str], list[dict[str, float]]]:
    """Return the list of names and the list of keyword arguments of some profiles."""
    mirrored = _is_mirrored(x_axis)
    names, kwargs = [], []
    for part in parts:
        naming, given = written(part, "_lenstronomy", "lenstronomy")
        if "q" in given and "phi" in given:
            given["e1"], given["e2"] = components(given.pop("q"), given.pop("phi"))
        values = part.values()
        given |= {**naming.constants, naming.center[0]: values["x"], naming.center[1]: values["y"]}
        names.append(naming.name)
        kwargs.append(_mirror(given) if mirrored else given)
    return names, kwargs


def from_lenstronomy(
    profiles: Mapping[str, type], names: Sequence[str], kwargs: Sequence[Mapping], x_axis: str
) -> list:
    """Return the profiles that the two lists describe."""
    mirrored = _is_mirrored(x_axis)
    if isinstance(names, str) or isinstance(kwargs, Mapping):
        raise TypeError(f"names and kwargs must be lists of equal length; got {names!r} and {kwargs!r}")
    if len(names) != len(kwargs):
        raise ValueError(f"names and kwargs must have one length; got {len(names)} and {len(kwargs)}")
    parts = []
    for name, values in zip(names, kwargs, strict=True):
        given = {key: to_number(value, f"{key} of {name}") for key, value in values.items()}
        singles = _singles(name, given) if name in _MULTIPOLES else [(name, given)]
        parts += [_profile(profiles, single, _mirror(w) if mirrored else w) for single, w in singles]
    return parts


def _profile(profiles, name, given):
    cls, naming = find(profiles, "_lenstronomy", name, given, "names")
    given = {key: value for key, value in given.items() if key not in naming.constants}

    def take(key, *default):
        if key == "q" and key not in given:
            e1, e2 = (_take(given, component, name) for component in ("e1", "e2"))
            given["q"], given["phi"] = axis_ratio_and_angle(e1, e2)
        return _take(given, key, name, *default)

    own = naming.read(take, [p.name for p in cls._schema if p.name not in ("x", "y")])
    own["x"], own["y"] = (take(key, 0.0) for key in naming.center)
    if given:
        raise ValueError(f"{name} has no parameter {next(iter(given))!r}")
    return build(cls, own)


def _singles(name, given):
    """Return the EPL and the multipoles, whose angles are relative to it, that one profile stands for."""
    kind, orders = _MULTIPOLES[name]
    e1, e2, theta_E = (_take(given, key, name) for key in ("e1", "e2", "theta_E"))
    q, phi = axis_ratio_and_angle(e1, e2)
    shared = {key: given.pop(key, 0.0) for key in ("center_x", "center_y")}
    # its circular multipoles are relative to the major axis
    scale = theta_E if kind == "MULTIPOLE_ELL" else theta_E / math.sqrt(q)
    multipoles = []
    for m in orders:
        strength, angle = (_take(given, key, name) for key in (f"a{m}_a", f"delta_phi_m{m}"))
        own = {"m": m, "a_m": strength * scale, "phi_m": phi + angle, "r_E": theta_E}
        multipoles.append((kind, own | shared | ({"q": q} if kind == "MULTIPOLE_ELL" else {})))
    return [("EPL", {**given, "theta_E": theta_E, "e1": e1, "e2": e2, **shared}), *multipoles]


def _mirror(given):
    # adding zero turns -0.0 into 0.0
    mirrored = {key: -value + 0.0 if key in _NEGATED else value for key, value in given.items()}
    return mirrored | {key: math.pi - given[key] for key in _REFLECTED if key in given}


def _take(given, key, name, *default):
    if key not in given and not default:
        raise ValueError(f"{name} needs the parameter {key!r}; got {', '.join(given) or 'none'}")
    return given.pop(key, *default)


def _is_mirrored(x_axis):
    if x_axis not in ("west", "east"):
        raise ValueError(f'x_axis must be "west" (along columns) or "east" (right ascension); got {x_axis!r}')
    return x_axis == "east"
