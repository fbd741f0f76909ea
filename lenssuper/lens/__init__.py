"""Lens models and what they do to light: deflection, critical curves, images, and other codes' parameters."""

from .base import CompositeLens, LensModel
from .models import SIE, SIS, ExternalShear

__all__ = ["SIE", "SIS", "CompositeLens", "ExternalShear", "LensModel"]
