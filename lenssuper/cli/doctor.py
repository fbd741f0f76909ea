"""``lenssuper doctor``: versions, threads and GPU, and a short test of what is installed."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
from typing import Any

from lenssuper.cli import _common as common
from lenssuper.cli import _report as report

__all__ = ["add"]

_NEEDED = ("lenssuper", "numpy", "scipy", "astropy", "torch", "matplotlib", "photutils")
_OPTIONAL = (
    "lenstronomy",
    "coolest",
    "regions",
    "h5py",
    "distributed",
    "lightning",
    "stable-baselines3",
    "shtab",
)


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(
        commands, "doctor", _doctor, "print versions, threads and GPU, and test the installation"
    )
    report.add_json(parser)


def _doctor(options: argparse.Namespace) -> int:
    from lenssuper._utils.text import as_text

    found = {"python": f"{platform.python_version()} on {platform.platform()}"}
    found |= {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)}
    report.say(options, as_text(list(found.items()), 20))
    machine = _machine()
    report.say(options, as_text(list(machine.items()), 20))
    report.say(options, "now a short test")
    start = time.perf_counter()
    wrong = _what_is_wrong()
    seconds = time.perf_counter() - start
    report.say(options, f"{'test':<20}{'; '.join(wrong) or 'passed'}, {seconds:.1f} s")
    if options.json:
        report.say_json(
            {"versions": found, **machine, "test": {"wrong": wrong, "seconds": round(seconds, 2)}}
        )
    return 1 if wrong else 0


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing" if name in _NEEDED else "not installed (optional)"


def _machine() -> dict[str, Any]:
    import torch

    from lenssuper._utils.threads import granted_cores, thread_count

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cores granted": str(granted_cores()),
        "threads used": f"{thread_count()} (OMP_NUM_THREADS lowers it)",
        "GPU": ", ".join(gpus) or "none",
    }


def _what_is_wrong() -> list[str]:
    """Super-resolve a small lens; return sentences on what is not as it must be."""
    import numpy as np

    from lenssuper.forward import ForwardModel
    from lenssuper.simulate import random_mock
    from lenssuper.solvers import Gaussian
    from lenssuper.superres import SuperResolver

    mock = random_mock(3, shape=(32, 32))
    result = SuperResolver(mock.lens, solver=Gaussian(n_draws=2), rng=1, progress=False)(mock.observation)
    wrong = []
    model = ForwardModel(result.observation, mock.lens, factor=2, source_grid=result.source_grid)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=model.in_shape), rng.normal(size=model.out_shape)
    left, right = np.vdot(model.forward(x), y), np.vdot(x, model.adjoint(y))
    if not np.isclose(left, right, rtol=1e-8):
        wrong.append(f"the forward model and its adjoint disagree: {left:.12g} and {right:.12g}")
    if not 0.7 < result.reduced_chi2 < 1.4:
        wrong.append(f"a simulated lens is fitted with a reduced chi2 of {result.reduced_chi2:.2f}")
    return wrong
