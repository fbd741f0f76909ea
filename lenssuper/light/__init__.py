"""Analytic light: Sersic profiles, fitted to galaxies, before a lens and behind it."""

from lenssuper.light.fit import SersicFit
from lenssuper.light.fitter import SersicFitter
from lenssuper.light.foreground import ForegroundFitter, subtract_foreground
from lenssuper.light.foregroundfit import ForegroundFit
from lenssuper.light.table import sersic_table

__all__ = [
    "ForegroundFit",
    "ForegroundFitter",
    "SersicFit",
    "SersicFitter",
    "sersic_table",
    "subtract_foreground",
]
