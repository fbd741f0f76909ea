"""
Ways to find the source behind an observation, interchangeable behind one protocol.

Each is loaded when it is first asked for: what they need takes longer to import than many a solution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenssuper._utils.lazy import lazy
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.lognormal import LogNormal

if TYPE_CHECKING:
    from lenssuper.solvers.gaussian import Gaussian
    from lenssuper.solvers.network import NetworkSolver
    from lenssuper.solvers.positive import (
        Positive,
        RelativeGradient,
        Roughness,
        SquaredGradient,
        TotalVariation,
    )
    from lenssuper.solvers.priors import CurvaturePrior, GradientPrior, MaternPrior, QuadraticPrior
    from lenssuper.solvers.sersic import Sersics

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


__getattr__, __dir__ = lazy(
    __name__,
    {
        "CurvaturePrior": "priors",
        "Gaussian": "gaussian",
        "GradientPrior": "priors",
        "MaternPrior": "priors",
        "NetworkSolver": "network",
        "Positive": "positive",
        "QuadraticPrior": "priors",
        "RelativeGradient": "positive",
        "Roughness": "positive",
        "Sersics": "sersic",
        "SquaredGradient": "positive",
        "TotalVariation": "positive",
    },
)
