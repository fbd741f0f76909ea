"""Networks that come with the package: where their files are."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["names", "path_of"]


def names() -> list[str]:
    """Give the names of the networks that come with the package."""
    return sorted(file.name[: -len(".safetensors")] for file in _room() if file.name.endswith(".safetensors"))


def path_of(name: str) -> Path:
    """
    Give the path of the weights of a network that comes with the package.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}; got {name!r}")
    with as_file(files(__name__) / f"{name}.safetensors") as path:
        return path


def _room():
    return files(__name__).iterdir()
