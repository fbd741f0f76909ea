"""Ways to find the source behind an observation, interchangeable behind one protocol."""

from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.gaussian import Gaussian
from lenssuper.solvers.lognormal import LogNormal
from lenssuper.solvers.positive import Positive, RelativeGradient, Roughness, SquaredGradient, TotalVariation
from lenssuper.solvers.priors import CurvaturePrior, GradientPrior, MaternPrior, QuadraticPrior
from lenssuper.solvers.sersic import Sersics

__all__ = [
    "CurvaturePrior",
    "Gaussian",
    "GradientPrior",
    "LogNormal",
    "MaternPrior",
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
