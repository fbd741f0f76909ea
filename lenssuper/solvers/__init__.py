"""Ways to find the source behind an observation, interchangeable behind one protocol."""

from .base import Posterior, Solver

__all__ = ["Posterior", "Solver"]
