"""Networks that turn observed lenses into sources: torch modules that hold no lens and read no files."""

from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.problem import Problem, Projection
from lenssuper.networks.unrolled import Unrolled

__all__ = ["Problem", "Projection", "SourceNetwork", "Unrolled"]
