"""Simulated data sets: written lens by lens, by several processes, and resumed after an interruption."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lenssuper._utils.checks import check_choice, check_count, check_interval, check_kind, check_shape
from lenssuper._utils.files import atomic_write, check_room
from lenssuper._utils.progress import progress_bar
from lenssuper._utils.version import __version__
from lenssuper.datasets.lenses import (
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
from lenssuper.datasets.processes import share
from lenssuper.datasets.recipe import Recipe
from lenssuper.lens import LensModel
from lenssuper.simulate.instruments import BENCHMARK, Instrument
from lenssuper.simulate.random import random_lens, random_source
from lenssuper.simulate.sources import Source
from lenssuper.simulate.substructure import DarkMatter, NoSubstructure

__all__ = ["write_dataset"]

_SMOOTH = NoSubstructure()

# The files of a set, including incomplete ones of a killed process.
_OWN_FILE = re.compile(
    "|".join([r"\.[0-9a-f]{12}\.dataset\.json", *(files.pattern for files in LAYOUTS.values())])
)


def write_dataset(
    directory: str | os.PathLike,
    n: int,
    *,
    seed: int = 0,
    split: Sequence[float] | None = (0.8, 0.1, 0.1),
    instrument: Instrument = BENCHMARK,
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
    Simulate a set of lenses to train on, or resume one that was interrupted.

    Each lens is written when it is made, whole or not at all. Calling this again with the same arguments
    verifies the lenses that are there and makes those that are missing or damaged: the finished set is the
    same however often the process was killed. A larger ``n`` adds lenses to a set.

    Parameters
    ----------
    directory : str or path-like
        Where the set is written, in directories ``train``, ``validation`` and ``test``, with its settings in
        ``dataset.json``. It is created if necessary.
    n : int
        Number of lenses of all parts.
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
        Draws the substructure of the lens; if several are given, each lens gets one at random. The lens
        beside an observation lacks it, like the lens model of an observer; the true lens and the class are
        part of the truth.
    layout : {"fits", "hdf5"}, optional
        Three files for each lens, as ``mock_000000.fits``, ``mock_000000_lens.json`` and
        ``mock_000000_truth.fits``; or all lenses of a part in one file, as ``train.h5``, which needs h5py.
    workers : int, optional
        Number of processes. With more than one, ``lenses`` and ``sources`` must be importable, and a script
        must call this below ``if __name__ == "__main__":``.
    overwrite : bool, optional
        Whether to delete the simulated lenses in the directory and start again.
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
        If there are simulated lenses in the directory, but no ``dataset.json`` that describes them.
    BlockingIOError
        If another process is writing to the directory.
    OSError
        If the disk has no room for the set.
    """
    directory, n = Path(directory), check_count(n, "n", 1)
    shares = _check_split(split)
    recipe = Recipe(
        files=LAYOUTS[check_choice(layout, "layout", LAYOUTS)](directory),
        seed=check_count(seed, "seed", 0),
        instrument=check_kind(instrument, "instrument", Instrument),
        shape=check_shape(shape),
        peak_snr=check_interval(peak_snr, "peak_snr", above=0),
        factor=check_count(factor, "factor", 1),
        lenses=_check_callable(lenses, "lenses"),
        sources=_check_callable(sources, "sources"),
        dark_matter=_check_dark_matter(dark_matter),
    )
    workers = check_count(workers, "workers", 1)
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        _begin(recipe, n, shares, overwrite=overwrite)
        jobs = list(enumerate(split_of(n, shares) if shares else [""] * n))
        parts = sorted({part for _, part in jobs})
        held = sum(file.stat().st_size for file in _own_files(directory))
        needed = n * recipe.files.least_bytes(recipe.shape, recipe.factor)
        check_room(directory, needed - held, f"{n} lenses")
        for part in parts:
            (directory / part).mkdir(exist_ok=True)
        done = share(recipe.make, jobs, workers)
        for _ in progress_bar(progress, done, total=n, unit="lens", at_once=True):
            pass
        for part in parts:
            recipe.files.finish(part)
    return read_dataset(directory)


@contextmanager
def _alone(directory):
    """Lock a directory against other processes; the lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BlockingIOError(f"another process is writing to {directory}") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(descriptor)


def _check_split(split):
    if split is None:
        return {}
    shares = tuple(float(share) for share in split)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not abs(sum(shares) - 1) < 1e-6:
        raise ValueError(
            f"split must be three shares that add up to 1, of {', '.join(SPLITS)}; got {tuple(split)}"
        )
    return dict(zip(SPLITS, shares, strict=True))


def _check_callable(function, name):
    if not callable(function):
        raise TypeError(f"{name} must be a function of a random generator; got {function!r:.80}")
    return function


def _check_dark_matter(given):
    several = (given,) if isinstance(given, DarkMatter) else tuple(given)
    if not several or not all(isinstance(one, DarkMatter) for one in several):
        raise TypeError(
            f"dark_matter must be a DarkMatter, e.g. ColdSubhaloes(), or several; got {given!r:.80}"
        )
    return several


def _begin(recipe, n, shares, *, overwrite):
    """Check or delete what is in the directory, and write the settings."""
    directory = recipe.files.directory
    if overwrite:
        (directory / SETTINGS_FILE).unlink(missing_ok=True)
        for file in _own_files(directory):
            file.unlink()
    layout = next(name for name, files in LAYOUTS.items() if isinstance(recipe.files, files))
    settings = {"layout": layout, "split": list(shares.values()) or None, **recipe.settings()}
    begun = read_settings(directory)
    files = []
    for file in _own_files(directory):
        if begun is not None and file.name.startswith("."):  # an incomplete file of a killed process
            file.unlink()
        else:
            files.append(file)
    if begun is None and files:
        raise FileExistsError(
            f"{files[0]} exists, but no {SETTINGS_FILE} describes its data set; choose another directory, or "
            "pass overwrite=True"
        )
    if begun is not None and files:  # as long as there is no lens, settings may change
        _compare(directory, begun, settings, n)
    if begun is None or (begun["n"], begun["settings"]) != (n, settings):
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


def _compare(directory, begun, settings, n):
    differing = [key for key, value in settings.items() if begun["settings"].get(key) != value]
    if differing:
        listed = "; ".join(
            f"{key} was {begun['settings'].get(key)} and is now {settings[key]}" for key in differing
        )
        raise ValueError(
            f"the data set in {directory} has other settings: {listed}; choose another directory, or pass "
            "overwrite=True"
        )
    if n < begun["n"]:
        raise ValueError(f"n must be at least {begun['n']}, that of the set in {directory}; got {n}")


def _own_files(directory: Path) -> Iterator[Path]:
    for folder in (directory, *(directory / part for part in SPLITS)):
        if folder.is_dir():
            yield from sorted(file for file in folder.iterdir() if _OWN_FILE.fullmatch(file.name))
