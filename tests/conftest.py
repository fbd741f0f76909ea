"""What every test shares: a plotting backend that needs no screen, and the versions in the header."""

from __future__ import annotations

import os

# Before anything imports matplotlib: a test never opens a window.
os.environ.setdefault("MPLBACKEND", "Agg")

try:
    from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS
except ImportError:
    PYTEST_HEADER_MODULES, TESTED_VERSIONS = {}, {}


def pytest_configure(config):
    """Name the versions that matter in pytest's header."""
    from lenssuper import __version__

    config.option.astropy_header = True
    PYTEST_HEADER_MODULES.clear()
    for name in ("numpy", "scipy", "astropy", "numba", "torch", "lenstronomy", "shapely"):
        PYTEST_HEADER_MODULES[name] = name
    TESTED_VERSIONS["lenssuper"] = __version__
