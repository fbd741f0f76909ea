"""The version of this package."""

from __future__ import annotations

__all__ = ["__version__"]

try:
    from lenssuper._version import version as __version__
except ImportError:  # the file is written when the package is built or installed
    import importlib.metadata

    try:
        __version__ = importlib.metadata.version("lenssuper")
    except importlib.metadata.PackageNotFoundError:
        __version__ = "0+unknown"
