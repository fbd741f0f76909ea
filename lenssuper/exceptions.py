"""Errors and warnings that lenssuper raises beyond ``TypeError`` and ``ValueError``."""

from __future__ import annotations

from astropy.units import UnitConversionError, UnitTypeError
from astropy.utils.exceptions import AstropyUserWarning

__all__ = [
    "ArgumentUnitError",
    "ConvergenceWarning",
    "FileFormatError",
    "LensSuperError",
    "LensSuperWarning",
    "ObservationError",
]


class LensSuperError(Exception):
    """Base class of the errors that are particular to lenssuper."""


class ArgumentUnitError(LensSuperError, UnitConversionError, UnitTypeError):
    """An argument has a unit of the wrong kind, such as km for an angle.

    Both a `TypeError` and a `ValueError`, which astropy's own errors are in some of its versions only.
    """


class ObservationError(LensSuperError, ValueError):
    """An observation cannot be used as it is: what it lacks, or what in it is wrong."""


class FileFormatError(LensSuperError, ValueError):
    """A file is not what its reader expects: truncated, corrupt or of another layout."""


class LensSuperWarning(AstropyUserWarning):
    """Base class of the warnings that lenssuper issues."""


class ConvergenceWarning(LensSuperWarning):
    """An iteration stopped before it reached the accuracy asked for."""
