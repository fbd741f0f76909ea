"""A network's prior of the logarithm of sources."""

from __future__ import annotations

from dataclasses import dataclass

from lenssuper.networks.arrays import Array

__all__ = ["ORDER", "LogPrior"]

ORDER = 1
"""Order of the B-splines that are a network's source, see `~lenssuper.OverlapOperator`."""


@dataclass(frozen=True)
class LogPrior:
    """
    A network's prior of the logarithm of each source.

    Attributes
    ----------
    mean, std : Array, shape (n, ny, nx)
        Mean and standard deviation of the log brightness, in units of the problem's scale.
    slope : Array, shape (n,)
        Slope of the power spectrum of the correlated field that ``std`` multiplies.
    length : Array, shape ()
        Its correlation length as a share of the longer side of the grid.
    """

    mean: Array
    std: Array
    slope: Array
    length: Array

    def of_one(self, number: int) -> LogPrior:
        """Return the prior of one of the sources."""
        one = slice(number, number + 1)
        return LogPrior(self.mean[one], self.std[one], self.slope[one], self.length)
