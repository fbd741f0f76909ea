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
    """
    Base class of the errors that are particular to lenssuper.

    Parameters
    ----------
    message : str
    shell : str, optional
        What to say instead to who uses the command line, where ``message`` advises in terms of Python.
    """

    def __init__(self, message: str = "", *args, shell: str | None = None) -> None:
        super().__init__(message, *args)
        self.shell = str(message) if shell is None else shell


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
