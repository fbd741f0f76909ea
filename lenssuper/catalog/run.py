"""Many lenses: hand them out, note how each went, and go on where an earlier run ended."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from tqdm.auto import tqdm

from lenssuper._files import atomic_write
from lenssuper.catalog.engine import open_engine
from lenssuper.catalog.job import Job, StorageFullError, read_record
from lenssuper.catalog.queue import Queue
from lenssuper.catalog.table import read_catalogue
from lenssuper.grid import check_count
from lenssuper.report import write_index
from lenssuper.solvers import LogNormal, Solver

__all__ = ["run", "summarise"]

_SETTINGS = "settings.json"
# Columns that say what a lens has cost, and what the records call it.
_COSTS = {"time": ("seconds", u.s), "cpu_time": ("cpu_seconds", u.s), "memory": ("memory", u.Unit("Mibyte"))}
_NUMBERS = ("chi2", "n_pixels", "reduced_chi2", "log_evidence", "effective_modes")


def run(
    catalogue: str | os.PathLike | Table,
    output: str | os.PathLike,
    *,
    factor: int = 2,
    solver: Solver | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    pictures: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> QTable:
    """
    Super-resolve all lenses of a catalogue.

    Each lens gets a FITS file (`~lenssuper.SuperResolution.read`), a page with pictures, and a record of how
    it went; ``index.html`` lists all. A run that ended, however it did, is taken up by the same call: what
    has succeeded is not done again. A lens that fails, or kills its worker, fails alone.

    Parameters
    ----------
    catalogue : path or `~astropy.table.Table`
        See `read_catalogue`.
    output : path
        Directory of the results, made if need be. One directory holds the results of one choice of settings.
    factor : int, optional
        See `~lenssuper.SuperResolver`.
    solver : Solver, optional
        By default `~lenssuper.solvers.LogNormal`.
    executor : `~concurrent.futures.Executor`, optional
        Where the work is done; see `open_engine`, which also takes ``workers`` and ``scheduler``.
    workers : int, optional
        Number of processes, by default one a core.
    scheduler : str, optional
        Address of a dask scheduler.
    shard : (int, int), optional
        ``(i, n)`` does the i-th part of n, from 1: for array jobs that share one output directory.
    retry_failed : bool, optional
        Whether to try again what failed in an earlier run.
    pictures : bool, optional
        Whether to write a page with pictures of each result.
    seed : int, optional
        A lens gets the same result whatever the number of workers and the order.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal.

    Returns
    -------
    QTable
        The summary, see `summarise`; it is in ``summary.ecsv`` as well.

    Raises
    ------
    StorageFullError
        If the results cannot be written any more. What is written is whole; the same call goes on later.
    ValueError
        If ``output`` holds results of other settings.
    """
    solver = LogNormal() if solver is None else solver
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be a Solver; got {solver!r:.80}")
    entries = _part(read_catalogue(catalogue), shard)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    factor, seed = check_count(factor, "factor", 1), check_count(seed, "seed", 0)
    _check_settings(output, {"factor": factor, "solver": _described(solver), "seed": seed})
    jobs = [
        Job(entry, os.fspath(output.absolute()), factor, solver, seed, bool(pictures)) for entry in entries
    ]
    todo = [job for job in jobs if not _is_done(job, retry_failed)]
    show = progress if progress is not None else sys.stderr.isatty()
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="lens", disable=not show)
    try:
        if todo:
            with open_engine(executor, workers=workers, scheduler=scheduler) as engine:
                for _ in Queue(engine, todo):
                    bar.update()
    finally:
        bar.close()
        _write_summary(output, [job.entry.name for job in jobs], shard)
    return summarise(output, [job.entry.name for job in jobs])


def _part(entries, shard):
    if shard is None:
        return entries
    try:
        i, n = (check_count(k, "shard", 1) for k in shard)
    except (TypeError, ValueError):
        raise ValueError(f"shard must be (i, n) with 1 <= i <= n; got {shard!r}") from None
    if i > n:
        raise ValueError(f"shard must be (i, n) with 1 <= i <= n; got {shard!r}")
    return entries[i - 1 :: n]


def _described(solver):
    return f"{type(solver).__name__}({', '.join(f'{k}={v!r}' for k, v in sorted(vars(solver).items()))})"


def _check_settings(output, settings):
    """Keep results of different settings apart."""
    path = output / _SETTINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        with atomic_write(path, overwrite=True) as beside:
            beside.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    except ValueError:
        found = None
    if found != settings:
        raise ValueError(
            f"{output} holds results of other settings, {found}; these are {settings}: choose another "
            "directory"
        )


def _is_done(job, retry_failed):
    record = read_record(job.record)
    if record is None:
        return False
    if record["status"] == "done":
        return job.result.is_file() and job.result.stat().st_size == record.get("bytes")
    return not retry_failed


def summarise(output: str | os.PathLike, names: list[str] | None = None) -> QTable:
    """
    Collect how the lenses of a directory went.

    Parameters
    ----------
    output : path
        Directory of the results.
    names : list of str, optional
        Which lenses; by default all that have a record.

    Returns
    -------
    QTable
        One row a lens: ``name``, ``status`` ("done", "failed" or "missing"), ``chi2``, ``n_pixels``,
        ``reduced_chi2``, ``log_evidence``, ``effective_modes``, ``time``, ``cpu_time``, ``memory`` (the most
        that the worker had had by then), ``warnings`` and ``reason``.
    """
    output = Path(output)
    if names is None:
        names = sorted(path.stem for path in output.glob("*.json") if path.name != _SETTINGS)
    records = [read_record(output / f"{name}.json") or {"name": name, "status": "missing"} for name in names]
    table = QTable()
    table["name"] = np.array([record["name"] for record in records], dtype=str)
    table["status"] = np.array([record["status"] for record in records], dtype=str)
    for key in _NUMBERS:
        table[key] = np.array([record.get(key, np.nan) for record in records], dtype=float)
    for key, (name, unit) in _COSTS.items():
        table[key] = np.array([record.get(name, np.nan) for record in records], dtype=float) * unit
    table["warnings"] = np.array(["; ".join(record.get("warnings", [])) for record in records], dtype=str)
    table["reason"] = np.array([record.get("reason", "") for record in records], dtype=str)
    return table


def _write_summary(output, names, shard):
    name = "summary.ecsv" if shard is None else f"summary-{shard[0]}-of-{shard[1]}.ecsv"
    try:
        summary = summarise(output, names)
        with atomic_write(output / name, overwrite=True) as beside:
            summary.write(beside, format="ascii.ecsv", overwrite=True)
        write_index(summarise(output) if shard else summary, output / "index.html", overwrite=True)
    except OSError as error:
        raise StorageFullError(error.errno, f"{output}: {error.strerror}") from error
