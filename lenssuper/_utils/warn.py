"""Warnings that name the line of the user's own code."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from lenssuper.exceptions import LensSuperWarning

__all__ = ["warn"]

_PACKAGE = str(Path(__file__).parents[1])


def warn(message: str, category: type[Warning] = LensSuperWarning) -> None:
    """Issue a warning at the line, outside of this package, that the call came from."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
