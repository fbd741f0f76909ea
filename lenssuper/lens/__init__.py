"""Lens models and what they do to light: deflection, critical curves, images, and other codes' parameters."""

from ._components import CompositeLens
from .base import LensModel
from .models import EPL, NFW, SIE, SIS, TNFW, ExternalShear, PointMass

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
