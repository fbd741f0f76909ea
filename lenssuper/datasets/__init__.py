"""Data sets: lenses, simulated or observed, and galaxies that are not lensed, read and written."""

from __future__ import annotations

from lenssuper.datasets.cutouts import CutoutFolder
from lenssuper.datasets.galaxies import GalaxySet
from lenssuper.datasets.galaxy10 import GALAXY10_CLASSES, Galaxy10
from lenssuper.datasets.items import LensItem, LensTruth
from lenssuper.datasets.lenses import LensDataset, read_dataset
from lenssuper.datasets.observed import cosmos_web_ring
from lenssuper.datasets.skynoise import with_noise
from lenssuper.datasets.writing import write_dataset

__all__ = [
    "GALAXY10_CLASSES",
    "CutoutFolder",
    "Galaxy10",
    "GalaxySet",
    "LensDataset",
    "LensItem",
    "LensTruth",
    "cosmos_web_ring",
    "read_dataset",
    "with_noise",
    "write_dataset",
]
