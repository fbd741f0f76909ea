"""Dark matter from the data: where a lens has more mass than its smooth model, and where it could be seen."""

from __future__ import annotations

from lenssuper.substructure.candidates import Candidate, Rival
from lenssuper.substructure.mapper import SubstructureMap
from lenssuper.substructure.population import SubhaloCounts, subhalo_counts
from lenssuper.substructure.result import SubstructureResult
from lenssuper.substructure.templates import (
    FixedShape,
    JaffeClump,
    MassLine,
    Perturber,
    PointClump,
    TidalHalo,
)

__all__ = [
    "Candidate",
    "FixedShape",
    "JaffeClump",
    "MassLine",
    "Perturber",
    "PointClump",
    "Rival",
    "SubhaloCounts",
    "SubstructureMap",
    "SubstructureResult",
    "TidalHalo",
    "subhalo_counts",
]
