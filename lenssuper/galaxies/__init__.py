"""Galaxies that are not lensed, to fit and to train on: read from files, or simulated."""

from __future__ import annotations

from lenssuper.galaxies.base import GalaxySet
from lenssuper.galaxies.cutouts import CutoutFolder
from lenssuper.galaxies.galaxy10 import GALAXY10_CLASSES, Galaxy10
from lenssuper.galaxies.mocks import mock_galaxies, mock_galaxy
from lenssuper.galaxies.sky import with_noise

__all__ = [
    "GALAXY10_CLASSES",
    "CutoutFolder",
    "Galaxy10",
    "GalaxySet",
    "mock_galaxies",
    "mock_galaxy",
    "with_noise",
]
