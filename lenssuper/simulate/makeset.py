"""Simulated data sets: written lens by lens, by several processes, and gone on with after an interruption."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from lenssuper._files import atomic_write
from lenssuper._version import __version__
from lenssuper.grid import PixelGrid, check_count
from lenssuper.lens import LensModel
from lenssuper.simulate._fitsfiles import FitsFiles
from lenssuper.simulate._hdf5files import Hdf5Files
from lenssuper.simulate.dataset import (
    FORMAT,
    LAYOUTS,
    SETTINGS_FILE,
    SPLITS,
    VERSION,
    LensDataset,
    read_dataset,
    read_settings,
    split_of,
)
from lenssuper.simulate.instruments import Instrument
from lenssuper.simulate.items import SimulatedLens
from lenssuper.simulate.random import _BENCHMARK, random_lens, random_mock, random_source
from lenssuper.simulate.sources import Source
from lenssuper.simulate.substructure import DarkMatter, NoSubstructure

__all__ = ["write_dataset"]

_SMOOTH = NoSubstructure()
# The side of the true source's grid as a share of that of the field.
_SOURCE_FIELD = 0.625

# All that a set may consist of, files that were being written among them.
_OWN_FILE = re.compile(
    "|".join([r"\.[0-9a-f]{12}\.dataset\.json", *(files.pattern for files in LAYOUTS.values())])
)


@dataclass(frozen=True)
class _Recipe:
    """How any lens of a set is made: all that a worker has to know."""

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
        """Write a lens unless it is there already; give its number back."""
        number, part = job
        name = f"mock_{number:06d}"
        if not self.files.is_complete(part, name):
            self.files.write(part, self.simulate(number, name))
        return number

    def simulate(self, number: int, name: str) -> SimulatedLens:
        """Draw and observe a lens; the same number gives the same one."""
        rng = np.random.default_rng([self.seed, number])
        # of its own, so that galaxy, smooth lens and place are the same whatever the dark matter is
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
        """The same for all lenses of a set, but for its place on the sky; pixels half as large as those of
        the true image, as befits a magnification of four."""
        ny, nx = (2 * self.factor * max(1, round(_SOURCE_FIELD * side)) for side in self.shape)
        scale = self.instrument.pixel_scale / (2 * self.factor)
        return PixelGrid((ny, nx), scale, reference=mock.grid.reference)


def write_dataset(
    directory: str | os.PathLike,
    n: int,
    *,
    seed: int = 0,
    split: Sequence[float] | None = (0.8, 0.1, 0.1),
    instrument: Instrument = _BENCHMARK,
    shape: tuple[int, int] = (64, 64),
    peak_snr: tuple[float, float] = (20.0, 60.0),
    factor: int = 2,
    lenses: Callable[[np.random.Generator], LensModel] = random_lens,
    sources: Callable[[np.random.Generator], Source] = random_source,
    dark_matter: DarkMatter | Sequence[DarkMatter] = _SMOOTH,
    layout: str = "fits",
    workers: int = 1,
    overwrite: bool = False,
    progress: bool | None = None,
) -> LensDataset:
    """
    Simulate a set of lenses to train on, or go on with one that was interrupted.

    Each lens is written when it is made, whole or not at all. Calling this again with the same arguments
    verifies the lenses that are there and makes those that are missing or damaged: however often it was
    killed, the set becomes the same. A larger ``n`` makes a set larger.

    Parameters
    ----------
    directory : str or path-like
        Where the set is to be, in directories ``train``, ``validation`` and ``test``, with its settings in
        ``dataset.json``. It is made if need be.
    n : int
        How many lenses, in all.
    seed : int, optional
        Lens i is the same whatever ``n``, ``workers`` and ``split``.
    split : (float, float, float), optional
        Shares of the lenses for training, validation and test, to the nearest lens; None for a set that is
        not divided, in the directory itself.
    instrument : Instrument, optional
        By default that of the benchmark set.
    shape : (int, int), optional
        Rows and columns of an observation.
    peak_snr : (float, float), optional
        Range of the S/N of the brightest pixel.
    factor : int, optional
        Refinement of the true image.
    lenses : callable, optional
        Draws the lens from a `~numpy.random.Generator`.
    sources : callable, optional
        Draws the source from a `~numpy.random.Generator`: `random_source`, `random_sersics`, an
        `ImageSources`.
    dark_matter : DarkMatter or sequence of DarkMatter, optional
        Draws the substructure of the lens; of several, each lens gets one at random. The lens beside an
        observation is without it, as that is what an observer knows; the true lens and the class are part
        of the truth.
    layout : {"fits", "hdf5"}, optional
        Three files for each lens, as ``mock_000000.fits``, ``mock_000000_lens.json`` and
        ``mock_000000_truth.fits``; or all lenses of a part in one file, as ``train.h5``, which needs h5py.
    workers : int, optional
        Number of processes. With more than one, ``lenses`` and ``sources`` must be importable, and a script
        must call this below ``if __name__ == "__main__":``.
    overwrite : bool, optional
        Begin anew: simulated lenses that are in the directory are deleted.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.

    Returns
    -------
    LensDataset
        The whole set, as of `read_dataset`.

    Raises
    ------
    ValueError
        If the set in the directory was begun with other settings; the message names them.
    FileExistsError
        If there are simulated lenses in the directory, and no ``dataset.json`` that says how they were made.
    """
    directory, n = Path(directory), check_count(n, "n", 1)
    shares = _check_split(split)
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    recipe = _Recipe(
        files=LAYOUTS[layout](directory),
        seed=check_count(seed, "seed", 0),
        instrument=instrument,
        shape=tuple(check_count(side, "shape", 1) for side in shape),
        peak_snr=tuple(float(end) for end in peak_snr),
        factor=check_count(factor, "factor", 1),
        lenses=lenses,
        sources=sources,
        dark_matter=_check_dark_matter(dark_matter),
    )
    directory.mkdir(parents=True, exist_ok=True)
    _begin(recipe, n, shares, overwrite=overwrite)
    jobs = list(enumerate(split_of(n, shares) if shares else [""] * n))
    done = _run(recipe.make, jobs, check_count(workers, "workers", 1))
    disable = not (sys.stderr.isatty() if progress is None else progress)
    for _ in tqdm(done, total=n, unit="lens", disable=disable):
        pass
    for part in shares or [""]:
        recipe.files.finish(part)
    return read_dataset(directory)


def _check_split(split):
    if split is None:
        return {}
    shares = tuple(float(share) for share in split)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not abs(sum(shares) - 1) < 1e-6:
        raise ValueError(
            f"split must be three shares that add up to 1, of {', '.join(SPLITS)}; got {tuple(split)}"
        )
    return dict(zip(SPLITS, shares, strict=True))


def _check_dark_matter(given):
    several = (given,) if isinstance(given, DarkMatter) else tuple(given)
    if not several or not all(isinstance(one, DarkMatter) for one in several):
        raise TypeError(
            f"dark_matter must be a DarkMatter, e.g. ColdSubhaloes(), or several; got {given!r:.80}"
        )
    return several


def _begin(recipe, n, shares, *, overwrite):
    """See what is there, and write down what is about to be."""
    directory = recipe.files.directory
    if overwrite:
        (directory / SETTINGS_FILE).unlink(missing_ok=True)
        for file in _own_files(directory):
            file.unlink()
    settings = _settings(recipe, shares)
    begun = read_settings(directory)
    if begun is None:
        for file in _own_files(directory):
            raise FileExistsError(
                f"{file} exists, and no {SETTINGS_FILE} says what it belongs to; overwrite=True deletes it"
            )
    else:
        _compare(directory, begun, settings, n)
        for file in _own_files(directory):
            if file.name.startswith("."):  # what a killed process was writing
                file.unlink()
    for part in shares or [""]:
        (directory / part).mkdir(exist_ok=True)
    if begun is None or begun["n"] != n:
        content = {
            "format": FORMAT,
            "version": VERSION,
            "written by": f"lenssuper {__version__}",
            "n": n,
            "splits": shares,
            "settings": settings,
        }
        with atomic_write(directory / SETTINGS_FILE, overwrite=True) as beside:
            beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _settings(recipe, shares) -> dict[str, Any]:
    """What makes a set what it is, but for the number of lenses, as numbers and words."""
    layout = next(name for name, files in LAYOUTS.items() if isinstance(recipe.files, files))
    return {
        "layout": layout,
        "seed": recipe.seed,
        "split": list(shares.values()) or None,
        "instrument": repr(recipe.instrument),
        "shape": list(recipe.shape),
        "peak_snr": list(recipe.peak_snr),
        "factor": recipe.factor,
        "lenses": _describe(recipe.lenses, "lenses"),
        "sources": _describe(recipe.sources, "sources"),
        "dark_matter": [repr(one) for one in recipe.dark_matter],
    }


def _describe(function, name):
    """What a function is, in words that are the same in another session."""
    if not callable(function):
        raise TypeError(f"{name} must be a function of a random generator; got {function!r:.80}")
    if isinstance(function, partial):
        given = [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        return f"{_describe(function.func, name)}({', '.join(given)})"
    if inspect.isroutine(function):
        return f"{function.__module__}.{function.__qualname__}"
    return repr(function)


def _compare(directory, begun, settings, n):
    differing = [key for key, value in settings.items() if begun["settings"].get(key) != value]
    if differing:
        listed = "; ".join(
            f"{key} was {begun['settings'].get(key)}, and is {settings[key]}" for key in differing
        )
        raise ValueError(
            f"the set in {directory} was begun with other settings: {listed}. Choose another directory, or "
            "overwrite it"
        )
    if n < begun["n"]:
        raise ValueError(f"n must be at least that of the set in {directory}, {begun['n']}; got {n}")


def _own_files(directory: Path) -> Iterator[Path]:
    for folder in (directory, *(directory / part for part in SPLITS)):
        if folder.is_dir():
            yield from sorted(file for file in folder.iterdir() if _OWN_FILE.fullmatch(file.name))


def _run(make: Callable[[Any], int], jobs: Sequence, workers: int) -> Iterator[int]:
    """Do the jobs, one after the other or by several processes, and yield as they are done."""
    if workers == 1:
        yield from map(make, jobs)
        return
    # spawned, not forked: threads of numba and torch do not survive a fork
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent) as pool:
        futures = [pool.submit(make, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _die_with_parent():
    """End this worker when its parent is killed: it would wait for work for ever."""
    parent = parent_process()

    def watch():
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
