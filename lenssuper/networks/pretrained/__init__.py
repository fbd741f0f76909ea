"""Networks that come with the package: where their files are."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path

from safetensors import safe_open

__all__ = ["ALIASES", "NAMES", "check_factor", "path_of"]

NAMES = ("space",)
"""Names of the networks, each that of its file."""

ALIASES = {"euclid": "space", "hst": "space", "jwst": "space"}
"""Older names, one for each telescope whose sampling and PSFs the one network was trained on."""


def path_of(name: str) -> Path:
    """Return the path of the weights of a network by its name or an alias."""
    if name not in (*NAMES, *ALIASES):
        raise ValueError(
            f"name must be one of {', '.join(NAMES)} (also known as {', '.join(ALIASES)}); got {name!r}"
        )
    with as_file(files(__name__) / f"{ALIASES.get(name, name)}.safetensors") as path:
        return path


def check_factor(name: str, factor: int) -> None:
    """Refuse a factor that a network was not trained for."""
    with safe_open(path_of(name), framework="numpy") as file:  # which needs no torch
        trained = json.loads(file.metadata()["lenssuper"])["card"]["data"]["factor"]
    if factor != trained:
        raise ValueError(f"factor must be {trained}, for which {name!r} was trained; got {factor}")
