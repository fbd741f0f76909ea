"""What the command line reads, looked at before anything slow is loaded: a mistake answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["add_input", "check_inputs", "fits_file", "fits_or_extension", "json_file", "network", "present"]

# How a FITS file begins, and one that is compressed by gzip, bzip2, xz or zip.
_BEGINNINGS = (b"SIMPLE", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK")
# A name with one of these endings is a file and not an extension.
_ENDINGS = (".fits", ".fit", ".fts", ".gz", ".fz")


def add_input(group, *names: str, check: Callable, **options) -> None:
    """Add an argument for one input or several; ``check(input, options)`` refuses what cannot be read."""
    dest = group.add_argument(*names, **options).dest
    group.set_defaults(inputs={**(group.get_default("inputs") or {}), dest: check})


def check_inputs(options: argparse.Namespace) -> None:
    """Refuse inputs that are not there or are of another kind."""
    for dest, check in getattr(options, "inputs", {}).items():
        for value in _flat(getattr(options, dest)):
            check(value, options)


def _flat(value) -> Iterator:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def present(path: str | Path, _: argparse.Namespace) -> None:
    """Refuse a file or directory that is not there."""
    Path(path).stat()


def fits_file(path: str | Path, _: argparse.Namespace | None) -> None:
    """Refuse what does not begin as a FITS file does."""
    with open(path, "rb") as file:
        beginning = file.read(6)
    if not beginning.startswith(_BEGINNINGS):
        from lenssuper.exceptions import FileFormatError

        reason = "it does not begin with SIMPLE" if beginning else "it is empty"
        raise FileFormatError(f"{path} cannot be read as a FITS image: {reason}")


def json_file(path: str | Path, _: argparse.Namespace) -> None:
    """Refuse what is not JSON."""
    from lenssuper._utils.jsonfile import read_json

    read_json(path)


def fits_or_extension(text: str, options: argparse.Namespace) -> None:
    """Refuse what has the name of a file and is none; anything else may be an extension of the image."""
    path = Path(text)
    if path.suffix.lower() == ".reg":
        present(path, options)
    elif path.is_file() or path.suffix.lower() in _ENDINGS:
        fits_file(path, options)


def network(name: str, options: argparse.Namespace) -> None:
    """Refuse a network that is neither a file nor one of the package, or was trained for another factor."""
    if name.endswith(".safetensors"):
        present(name, options)
        return
    from lenssuper.networks.pretrained import check_factor

    check_factor(name, options.factor)
