"""Settings of all tests: a plotting backend without screen, threads, and the versions in the header."""

from __future__ import annotations

import os

# Before anything imports matplotlib: a test never opens a window.
os.environ.setdefault("MPLBACKEND", "Agg")

# Tests that run side by side use all cores already. With more threads than cores, torch's threads wait for
# each other at every small FFT, and some tests take ten times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

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
