"""
Ways to find the source behind an observation, interchangeable behind one protocol.

`NetworkSolver` and `Sersics` are loaded when they are first asked for: the one needs torch and the other
astropy's models, which take their time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenssuper._utils.lazy import lazy
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.gaussian import Gaussian
from lenssuper.solvers.lognormal import LogNormal
from lenssuper.solvers.positive import Positive, RelativeGradient, Roughness, SquaredGradient, TotalVariation
from lenssuper.solvers.priors import CurvaturePrior, GradientPrior, MaternPrior, QuadraticPrior

if TYPE_CHECKING:
    from lenssuper.solvers.network import NetworkSolver
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


__getattr__, __dir__ = lazy(__name__, {"NetworkSolver": "network", "Sersics": "sersic"})
