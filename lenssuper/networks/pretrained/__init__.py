"""Networks that come with the package: where their files are."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["NAMES", "path_of"]

# One network for all: it was trained on the sampling and the PSFs of each, as the operators that it is given
# tell it of both.
_FILES = {"euclid": "space", "hst": "space", "jwst": "space"}

NAMES = tuple(_FILES)
"""What `path_of` knows."""


def path_of(name: str) -> Path:
    """
    Give the path of the weights of a network that comes with the package.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in _FILES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}; got {name!r}")
    with as_file(files(__name__) / f"{_FILES[name]}.safetensors") as path:
        return path
