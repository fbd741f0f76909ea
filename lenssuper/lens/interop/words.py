"""How other codes name lens profiles and their parameters, as data on the classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from astropy import units as u


def same(take: Callable, names: list[str]) -> dict[str, float]:
    """Read parameters that have the same name and meaning in both codes."""
    return {name: take(name) for name in names}


@dataclass(frozen=True)
class Words:
    """The name of a profile in another code, and what its parameters are called there.

    Parameters
    ----------
    name : str
        Name of the profile.
    write : callable, optional
        Maps our parameters but the centre (floats in arcsec and radian, by name) to those of the other code,
        or raises a ValueError if the lens has no counterpart there. None if the words are only read.
    read : callable, optional
        The inverse: gets a function that takes a parameter by its name there, and the names of ours. None if
        the words are only written.
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


def multipole(order: int) -> tuple[Words, Words]:
    """Return lenstronomy's words for a multipole of a round lens, and of an ellipse along its x axis."""
    write, read = polar("a", "b", "a_m", "phi_m", order)

    def written(values):
        radius = {"r_E": values["r_E"]} if "r_E" in values else {}
        return write(values) | radius

    def write_round(values):
        if values["q"] != 1:
            raise ValueError("is that of a round lens")
        words = written(values)
        return words | {"phi_m": words["phi_m"] + values["phi"]}

    def write_ellipse(values):
        if values["phi"] != 0:
            raise ValueError("has the major axis of its ellipse along x")
        return written(values) | {"q": values["q"]}

    def read_round(take, names):
        return read(take, names) | {"r_E": take("r_E", 1.0)}

    def read_ellipse(take, names):
        return read_round(take, names) | {"q": take("q")}

    constants = {"m": order}
    return (
        Words("MULTIPOLE", write_round, read_round, constants),
        Words("MULTIPOLE_ELL", write_ellipse, read_ellipse, constants),
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


def build(cls: type, values: Mapping[str, float]):
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
    """Return the class and the words of a profile of another code (``"_coolest"`` or ``"_lenstronomy"``).

    ``given`` are its parameters there, and ``what`` says in an error what the name is one of.
    """
    known = [(cls, words) for cls in profiles.values() for words in vars(cls).get(code, ()) if words.read]
    named = [(cls, words) for cls, words in known if words.name == name]
    found = [(c, w) for c, w in named if all(given.get(k) == v for k, v in w.constants.items())]
    if found:
        return found[0]
    if named:
        (key,) = named[0][1].constants
        values = ", ".join(str(words.constants[key]) for _, words in named)
        raise ValueError(f"{key} of {name} must be among {values}; got {given.get(key)!r}")
    names = dict.fromkeys(words.name for _, words in known)
    raise ValueError(f"{what} must be among {', '.join(names)}; got {name!r}")


def written(part, code: str, title: str):
    """Return the first words of another code that fit a profile, and what they call its parameters."""
    values = part.values()
    x, y = values.pop("x"), values.pop("y")
    error = f"{title} has no profile for {type(part).__name__}"
    for words in getattr(part, code):
        if words.write is None:
            continue
        if words.center is None and (x or y):
            error = f"{title}'s {words.name} has its centre at (0, 0)"
            continue
        try:
            return words, words.write(values)
        except ValueError as reason:
            error = f"{title}'s {words.name} {reason}"
    raise ValueError(f"{error}; got {part!r}")
