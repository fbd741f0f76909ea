"""Analytic light: Sersic profiles, fitted to galaxies, before a lens and behind it."""

from lenssuper.light.fit import SersicFit
from lenssuper.light.fitter import SersicFitter
from lenssuper.light.foreground import ForegroundFitter, subtract_foreground
from lenssuper.light.foregroundfit import ForegroundFit

__all__ = ["ForegroundFit", "ForegroundFitter", "SersicFit", "SersicFitter", "subtract_foreground"]
