"""Lens models: deflection, critical curves and images, in files and in the parameters of other codes."""

from lenssuper.lens.base import CompositeLens, LensModel
from lenssuper.lens.models import (
    DPIE,
    EPL,
    NFW,
    SIE,
    SIS,
    TNFW,
    ExternalShear,
    Multipole1,
    Multipole3,
    Multipole4,
    PointMass,
)

__all__ = [
    "DPIE",
    "EPL",
    "NFW",
    "SIE",
    "SIS",
    "TNFW",
    "CompositeLens",
    "ExternalShear",
    "LensModel",
    "Multipole1",
    "Multipole3",
    "Multipole4",
    "PointMass",
]
