"""Many lenses, many machines: a catalogue in, one result a lens and a summary out."""

from __future__ import annotations

from lenssuper.catalog.darkmatter import FindSubstructure
from lenssuper.catalog.engine import open_engine
from lenssuper.catalog.job import StorageFullError
from lenssuper.catalog.run import run, summarise
from lenssuper.catalog.stages import FitLens, FitLight, Prepare, Stage
from lenssuper.catalog.table import Entry, read_catalogue

__all__ = [
    "Entry",
    "FindSubstructure",
    "FitLens",
    "FitLight",
    "Prepare",
    "Stage",
    "StorageFullError",
    "open_engine",
    "read_catalogue",
    "run",
    "summarise",
]
