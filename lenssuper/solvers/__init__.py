"""Ways to find the source behind an observation, interchangeable behind one protocol."""

from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.lognormal import LogNormal

__all__ = ["LogNormal", "Posterior", "Solver"]
