"""The light of the lens galaxy: fitted beside the arcs of the source, and subtracted."""

from __future__ import annotations

from lenssuper.light.foreground.fit import ForegroundFit
from lenssuper.light.foreground.fitter import ForegroundFitter, subtract_foreground

__all__ = ["ForegroundFit", "ForegroundFitter", "subtract_foreground"]
