"""Lens models and what they do to light: deflection, critical curves, images, and other codes' parameters."""

from lenssuper.lens.base import CompositeLens, LensModel
from lenssuper.lens.models import EPL, NFW, SIE, SIS, TNFW, ExternalShear, PointMass

__all__ = [
    "EPL",
    "NFW",
    "SIE",
    "SIS",
    "TNFW",
    "CompositeLens",
    "ExternalShear",
    "LensModel",
    "PointMass",
]
