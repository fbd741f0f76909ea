"""Whether the compiled kernels are there."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

__all__ = ["check_built"]


def check_built(package: Path) -> None:
    """Raise an error that says what to do if the package in a directory has not been built.

    Raises
    ------
    ImportError
        If it is the source of a package that was not installed from there.
    """
    kernels = package / "operators" / "cubicsplines"
    if not any(kernels.with_name(kernels.name + suffix).exists() for suffix in EXTENSION_SUFFIXES):
        raise ImportError(
            f'the compiled kernels of lenssuper are missing in {package}: run "pip install -e ." in '
            f"{package.parent}, or start Python in another directory to use an installed lenssuper"
        )
