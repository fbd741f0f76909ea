"""Analytic light: Sersic profiles, fitted to galaxies, before a lens and behind it."""

from lenssuper.light.fit import SersicFit
from lenssuper.light.fitter import SersicFitter
from lenssuper.light.foreground.fit import ForegroundFit
from lenssuper.light.foreground.fitter import ForegroundFitter, subtract_foreground
from lenssuper.light.table import sersic_table

__all__ = [
    "ForegroundFit",
    "ForegroundFitter",
    "SersicFit",
    "SersicFitter",
    "sersic_table",
    "subtract_foreground",
]
