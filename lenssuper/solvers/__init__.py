"""
Ways to find the source behind an observation, interchangeable behind one protocol.

`NetworkSolver` is loaded when it is first asked for: it needs torch, which takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.gaussian import Gaussian
from lenssuper.solvers.lognormal import LogNormal
from lenssuper.solvers.positive import Positive, RelativeGradient, Roughness, SquaredGradient, TotalVariation
from lenssuper.solvers.priors import CurvaturePrior, GradientPrior, MaternPrior, QuadraticPrior
from lenssuper.solvers.sersic import Sersics

if TYPE_CHECKING:
    from lenssuper.solvers.network import NetworkSolver

__all__ = [
    "CurvaturePrior",
    "Gaussian",
    "GradientPrior",
    "LogNormal",
    "MaternPrior",
    "NetworkSolver",
    "Positive",
    "Posterior",
    "QuadraticPrior",
    "RelativeGradient",
    "Roughness",
    "Sersics",
    "Solver",
    "SquaredGradient",
    "TotalVariation",
]


def __getattr__(name: str):
    if name != "NetworkSolver":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lenssuper.solvers.network import NetworkSolver

    globals()[name] = NetworkSolver
    return NetworkSolver
