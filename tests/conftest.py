"""Settings of all tests: a plotting backend without screen, threads, and the versions in the header."""

from __future__ import annotations

import gc
import os
from functools import cache

import pytest

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
    for name in ("numpy", "scipy", "astropy", "torch", "lenstronomy", "shapely"):
        PYTEST_HEADER_MODULES[name] = name
    TESTED_VERSIONS["lenssuper"] = __version__


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector from all modules and tests, as they are collected and each time after it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="module")
def operators_once():
    """Have the lensing operator of each lens and its grids made once in a module, for what comes after it."""
    from lenssuper.operators import OverlapOperator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lenssuper.forward.model.OverlapOperator", cache(OverlapOperator))
        yield


@pytest.fixture(scope="session")
def render():
    """Return how to draw Sersics x, y, R_e, n, q, phi (radian), amplitude (..., 7) with torch."""
    import torch

    from lenssuper.light.learned.torchsersic import render_shapes

    def draw(parameters, shape, **options):
        x, y, R_e, n, q, phi, amplitude = parameters.unbind(-1)
        e = (1 - q) / (1 + q)
        shapes = [x, y, R_e, n, e * torch.cos(2 * phi), e * torch.sin(2 * phi), amplitude]
        return render_shapes(torch.stack(shapes, -1), shape, **options)

    return draw
