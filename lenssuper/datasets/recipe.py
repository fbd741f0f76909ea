"""How the lenses of a simulated set are made, and the description of it in ``dataset.json``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lenssuper.datasets.fitsfiles import FitsFiles
from lenssuper.datasets.hdf5files import Hdf5Files
from lenssuper.datasets.items import SimulatedLens
from lenssuper.lens import LensModel
from lenssuper.observation.grid import PixelGrid
from lenssuper.simulate.instruments import Instrument
from lenssuper.simulate.random import random_mock
from lenssuper.simulate.sources import Source
from lenssuper.simulate.substructure import DarkMatter

__all__ = ["Recipe"]

# The side of the true source's grid as a share of that of the field.
_SOURCE_FIELD = 0.625


@dataclass(frozen=True)
class Recipe:
    """Make any lens of a set: holds all that a worker needs."""

    files: FitsFiles | Hdf5Files
    seed: int
    instrument: Instrument
    shape: tuple[int, int]
    peak_snr: tuple[float, float]
    factor: int
    lenses: Callable[[np.random.Generator], LensModel]
    sources: Callable[[np.random.Generator], Source]
    dark_matter: tuple[DarkMatter, ...]

    def make(self, job: tuple[int, str]) -> int:
        """Write a lens unless it is there already; return its number."""
        number, part = job
        name = f"mock_{number:06d}"
        if not self.files.is_complete(part, name):
            self.files.write(part, self.simulate(number, name))
        return number

    def simulate(self, number: int, name: str) -> SimulatedLens:
        """Draw and observe a lens; the same number gives the same one."""
        rng = np.random.default_rng([self.seed, number])
        # a second generator, so that galaxy, smooth lens and position do not depend on the dark matter
        dark_rng = np.random.default_rng([self.seed, number, 1])
        dark_matter = self.dark_matter[dark_rng.integers(len(self.dark_matter))]
        lens = self.lenses(rng)
        substructure = dark_matter.draw(dark_rng, lens)
        mock = random_mock(
            rng,
            lens=lens if substructure.lens is None else lens + substructure.lens,
            source=self.sources(rng),
            instrument=self.instrument,
            shape=self.shape,
            peak_snr=self.peak_snr,
            factor=self.factor,
        )
        grid = self._source_grid(mock)
        return SimulatedLens(name, mock, lens, grid, dark_matter.label, substructure.parameters)

    def _source_grid(self, mock):
        # The pixels are half as large as those of the true image, for a magnification of about four.
        ny, nx = (2 * self.factor * max(1, round(_SOURCE_FIELD * side)) for side in self.shape)
        scale = self.instrument.pixel_scale / (2 * self.factor)
        return PixelGrid((ny, nx), scale, reference=mock.grid.reference)

    def settings(self) -> dict[str, Any]:
        """Return all that determines a lens, as numbers and texts that are the same in every process."""
        return {
            "seed": self.seed,
            "instrument": repr(self.instrument),
            "shape": list(self.shape),
            "peak_snr": list(self.peak_snr),
            "factor": self.factor,
            "lenses": _describe(self.lenses),
            "sources": _describe(self.sources),
            "dark_matter": [_describe(one) for one in self.dark_matter],
        }


def _describe(thing) -> str:
    if isinstance(thing, partial):
        given = [*map(repr, thing.args), *(f"{key}={value!r}" for key, value in thing.keywords.items())]
        return f"{_describe(thing.func)}({', '.join(given)})"
    if inspect.isroutine(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    if type(thing).__repr__ is object.__repr__:  # it would contain an address
        return f"{type(thing).__module__}.{type(thing).__qualname__}"
    return repr(thing)
