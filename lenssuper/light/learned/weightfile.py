"""Where the weights are that come with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["shipped"]


def shipped(name: str) -> Path:
    """Path of a file of weights that comes with the package."""
    with as_file(files("lenssuper.light.learned") / "weights" / f"{name}.safetensors") as path:
        return path
