"""How other codes name lens profiles and their parameters, as data on the classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from astropy import units as u


def same(take: Callable, names: list[str]) -> dict[str, float]:
    """Read parameters that have the same name and meaning in both codes."""
    return {name: take(name) for name in names}


@dataclass(frozen=True)
class Naming:
    """The name of a profile in another code, and what its parameters are called there.

    Parameters
    ----------
    name : str
        Name of the profile.
    write : callable, optional
        Maps our parameters but the centre (floats in arcsec and radian, by name) to those of the other code,
        or raises a ValueError if the lens has no counterpart there. None for a name that is only read.
    read : callable, optional
        The inverse: gets a function that returns a parameter by its name there, and the names of ours. None
        for a name that is only written.
    constants : mapping, optional
        Parameters there that have one value in this profile.
    center : (str, str), optional
        Names of the centre; None if it cannot be chosen and is (0, 0).
    """

    name: str
    write: Callable[[Mapping[str, float]], dict[str, float]] | None = dict
    read: Callable[[Callable, list[str]], dict[str, float]] | None = same
    constants: Mapping[str, float] = field(default_factory=dict)
    center: tuple[str, str] | None = ("center_x", "center_y")


def polar(first: str, second: str, strength: str, angle: str, order: int) -> tuple[Callable, Callable]:
    """Return how to write and read first + i second as strength exp(i order angle)."""

    def write(values):
        a, b = values[first], values[second]
        return {strength: math.hypot(a, b), angle: math.atan2(b, a) / order}

    def read(take, _):
        size, turn = take(strength), order * take(angle)
        return {first: size * math.cos(turn), second: size * math.sin(turn)}

    return write, read


def multipole(order: int) -> tuple[Naming, Naming]:
    """Return the names of a multipole in lenstronomy: of a round lens, and of an ellipse along its x axis."""
    write, read = polar("a", "b", "a_m", "phi_m", order)

    def common(values):
        radius = {"r_E": values["r_E"]} if "r_E" in values else {}
        return write(values) | radius

    def write_round(values):
        if values["q"] != 1:
            raise ValueError("is that of a round lens")
        given = common(values)
        return given | {"phi_m": given["phi_m"] + values["phi"]}

    def write_ellipse(values):
        if values["phi"] != 0:
            raise ValueError("has the major axis of its ellipse along x")
        return common(values) | {"q": values["q"]}

    def read_round(take, names):
        return read(take, names) | {"r_E": take("r_E", 1.0)}

    def read_ellipse(take, names):
        return read_round(take, names) | {"q": take("q")}

    constants = {"m": order}
    return (
        Naming("MULTIPOLE", write_round, read_round, constants),
        Naming("MULTIPOLE_ELL", write_ellipse, read_ellipse, constants),
    )


def write_pjaffe(values: Mapping[str, float]) -> dict[str, float]:
    """Return lenstronomy's parameters of a round, cored `DPIE`."""
    core, trunc = values["r_core"], values["r_trunc"]
    if values["q"] != 1 or core == 0:
        raise ValueError("is round and has a core")
    return {"sigma0": values["theta_E"] * (trunc - core) / (2 * core * trunc), "Ra": core, "Rs": trunc}


def read_pjaffe(take: Callable, _) -> dict[str, float]:
    """Return the parameters of a `DPIE`, the inverse of `write_pjaffe`."""
    core, trunc = sorted((take("Ra"), take("Rs")))
    return {"theta_E": 2 * take("sigma0") * core * trunc / (trunc - core), "r_core": core, "r_trunc": trunc}


def build(cls: Any, values: Mapping[str, float]):
    """Return a profile with parameters given as floats in arcsec and radian; it keeps angles in degrees."""
    own = {p.name: p.to_public(values[p.name]) for p in cls._schema if p.name in values}
    return cls(
        **{
            p.name: own[p.name].to(u.deg) if p.kind == "angle" else own[p.name]
            for p in cls._schema
            if p.name in own
        }
    )


def find(profiles: Mapping[str, type], code: str, name: str, given: Mapping[str, float], what: str):
    """Return the class of a profile of another code (``"_coolest"`` or ``"_lenstronomy"``), and its naming.

    ``given`` are its parameters there; ``what`` is what an error calls the name.
    """
    known = [(cls, naming) for cls in profiles.values() for naming in vars(cls).get(code, ()) if naming.read]
    named = [(cls, naming) for cls, naming in known if naming.name == name]
    found = [(c, w) for c, w in named if all(given.get(k) == v for k, v in w.constants.items())]
    if found:
        return found[0]
    if named:
        (key,) = named[0][1].constants
        values = ", ".join(str(naming.constants[key]) for _, naming in named)
        raise ValueError(f"{key} of {name} must be among {values}; got {given.get(key)!r}")
    names = dict.fromkeys(naming.name for _, naming in known)
    raise ValueError(f"{what} must be among {', '.join(names)}; got {name!r}")


def written(part, code: str, title: str):
    """Return the first naming of another code that fits a profile, and the parameters there."""
    values = part.values()
    x, y = values.pop("x"), values.pop("y")
    error = f"{title} has no profile for {type(part).__name__}"
    for naming in getattr(part, code):
        if naming.write is None:
            continue
        if naming.center is None and (x or y):
            error = f"{title}'s {naming.name} has its centre at (0, 0)"
            continue
        try:
            return naming, naming.write(values)
        except ValueError as reason:
            error = f"{title}'s {naming.name} {reason}"
    raise ValueError(f"{error}; got {part!r}")
