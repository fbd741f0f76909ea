"""Lens parameters from the data, with the source integrated out."""

from __future__ import annotations

from lenssuper.lensfit.fit import LensCovariance, LensFit
from lenssuper.lensfit.fitter import LensFitter

__all__ = ["LensCovariance", "LensFit", "LensFitter"]
