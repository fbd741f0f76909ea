"""Analytic light: Sersic profiles, fitted to galaxies, before a lens and behind it."""

from lenssuper.light.fit import SersicFit
from lenssuper.light.fitter import SersicFitter

__all__ = ["SersicFit", "SersicFitter"]
