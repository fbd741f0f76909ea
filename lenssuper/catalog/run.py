"""Run all lenses of a catalogue, resume an earlier run, and summarise the results."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.utils.masked import Masked

from lenssuper._utils.checks import check_count, check_kind
from lenssuper._utils.files import LEFTOVER, atomic_write, check_room, unfinished
from lenssuper._utils.progress import progress_bar
from lenssuper.catalog.engine import open_engine
from lenssuper.catalog.fingerprint import is_current
from lenssuper.catalog.job import Job, StorageFullError, is_storage_error, read_record
from lenssuper.catalog.queue import Queue
from lenssuper.catalog.stages import FitLens, Read, Stage, SuperResolve, check_stages
from lenssuper.catalog.table import read_catalogue
from lenssuper.plotting.pages import write_index
from lenssuper.solvers import LogNormal, Solver

__all__ = ["run", "summarise"]

_SETTINGS = "settings.json"
# Columns of the cost of a lens, with their names in the records.
_COSTS = {"time": ("seconds", u.s), "cpu_time": ("cpu_seconds", u.s), "memory": ("memory", u.Unit("Mibyte"))}
_NUMBERS = ("chi2", "n_pixels", "reduced_chi2", "log_evidence", "effective_modes")
# Columns of the stages before, present only if these were run.
_BEFORE = ("light_reduced_chi2", "lens_reduced_chi2")
_SUBHALOES = {
    "subhaloes": u.one,
    "subhalo_ln_z": u.one,
    "subhalo_mass": u.Msun,
    "subhalo_sensitivity": u.Msun,
}


def run(
    catalogue: str | os.PathLike | Table,
    output: str | os.PathLike,
    *,
    stages: Iterable[Stage] = (),
    factor: int = 2,
    solver: Solver | None = None,
    lens_errors: bool = False,
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
    Super-resolve all lenses of a catalogue, from cutouts that are ready or, with ``stages``, from raw ones.

    Each lens gets a FITS file (`~lenssuper.SuperResolution.read`), a page with pictures, and a record of how
    it went; ``index.html`` lists all. The same call resumes a run that was interrupted: what has succeeded
    is not done again, unless its row of the catalogue or one of its files has changed. A lens that fails, or
    kills its worker, fails alone.

    Parameters
    ----------
    catalogue : path or `~astropy.table.Table`
        See `read_catalogue`.
    output : path
        Directory of the results, made if need be. One directory holds the results of one choice of settings.
    stages : iterable of Stage, optional
        What is done to each lens before, in this order: ``[Prepare(), FitLight(), FitLens(),
        FindSubstructure()]``, or some of them.
    factor : int, optional
        See `~lenssuper.SuperResolver`.
    solver : Solver, optional
        By default `~lenssuper.solvers.LogNormal`. Its ``n_draws`` are the largest part of a result's file.
    lens_errors : bool, optional
        Whether the error bars contain the errors of the lens, as those of `~lenssuper.SuperResolver` with
        ``systematics=Systematics(lens=fit)``; with `FitLens` among the stages. A lens then takes 1.2 to 1.5
        times as long; by default error bars are those for a lens that is known.
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
        If the results cannot be written any more. What is written is whole; the same call resumes later.
    ValueError
        If ``output`` holds results of other settings, or files that are inputs or none of a catalogue; if
        ``lens_errors`` are asked for and no lens is fitted.
    """
    solver = LogNormal() if solver is None else solver
    check_kind(solver, "solver", Solver)
    entries = _part(read_catalogue(catalogue), shard)
    output = Path(output)
    factor, seed = check_count(factor, "factor", 1), check_count(seed, "seed", 0)
    settings = {"factor": factor, "solver": _described(solver), "seed": seed}
    stages = check_stages(stages)
    if stages != (Read(),):
        settings["stages"] = [repr(stage) for stage in stages]
    _check_fitters(stages, entries)
    if check_kind(lens_errors, "lens_errors", bool):
        if not any(isinstance(stage, FitLens) for stage in stages):
            raise ValueError("lens_errors must be False without FitLens() among stages: no lens is fitted")
        settings["lens_errors"] = True
    stages = (*stages, SuperResolve(factor, solver, lens_errors))
    options = json.dumps(settings, sort_keys=True) + _weights_of(solver)
    where = os.fspath(output.absolute())
    jobs = [Job(entry, where, stages, seed, bool(pictures), options) for entry in entries]
    _protect(output, jobs, catalogue)
    output.mkdir(parents=True, exist_ok=True)
    _check_settings(output, settings)
    todo = [job for job in jobs if not _is_done(job, retry_failed)]
    _clear(output, todo)
    bar = progress_bar(progress, total=len(jobs), initial=len(jobs) - len(todo), unit="lens", at_once=True)
    try:
        if todo:
            with open_engine(executor, workers=workers, scheduler=scheduler) as engine:
                known = False
                for left, job in zip(reversed(range(len(todo))), Queue(engine, todo), strict=True):
                    bar.update()
                    known = known or _check_room(output, job, left)
    finally:
        bar.close()
        summary = _write_summary(output, [job.entry.name for job in jobs], shard)
    return summary


def _check_room(output, job, left):
    """
    Refuse to go on if the disk has not half the room that the lenses left need, if they are as this one.

    Return whether it is known: a lens that failed leaves nothing.
    """
    held = sum(path.stat().st_size for path in job.outputs if path.is_file()) if job.result.is_file() else 0
    try:
        check_room(output, left * held / 2, f"{left} more lenses")
    except OSError as error:
        raise StorageFullError(str(error)) from error
    return held > 0


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


def _check_fitters(stages, entries):
    """Raise the error of a fit of the lens that is possible for no lens, as of a parameter that none has."""
    for stage in stages:
        if not isinstance(stage, FitLens) or not stage.fixed:
            continue
        first = None
        for entry in entries:
            if entry.problem:
                continue
            try:
                lens = entry.lens_model()
            except (ValueError, OSError):
                continue  # it is said of this lens
            try:
                stage.fitter(lens, rough=entry.rough)
                break
            except ValueError as error:
                first = first or error
        else:
            if first is not None:
                raise first


def _check_settings(output, settings):
    """Refuse a directory with results of other settings."""
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
            f"{output} holds results of other settings{_differences(found, settings)}: choose another "
            "directory"
        )


def _differences(found, settings):
    """Say which settings were others, in words."""
    if not isinstance(found, dict):
        return f", as {_SETTINGS} cannot be read"
    former, now = (_single(each) for each in (found, settings))
    names = [name for name in (*former, *now) if former.get(name) != now.get(name)]
    said = [
        f"{name} was {former.get(name, 'not set')} and is now {now.get(name, 'not set')}"
        for name in dict.fromkeys(names)
    ]
    return f": {', '.join(said)}" if said else ""


def _single(settings):
    """Return settings one by one, with those of the solver among them."""
    flat = {name: ", ".join(value) if isinstance(value, list) else value for name, value in settings.items()}
    kind, bracket, rest = str(flat.get("solver", "")).partition("(")
    if bracket:
        flat["solver"] = kind
        # a comma within brackets does not end a setting
        parts = re.findall(r"(\w+)=((?:[^,(<\[{]|[(<\[{][^)>\]}]*[)>\]}])+)", rest.removesuffix(")"))
        flat.update(parts)
    return flat


def _weights_of(solver):
    """A digest of the weights of the solver's network, if it has one, as they are none of the settings."""
    network = getattr(solver, "network", None)
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items() if network is not None else ():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32] if network is not None else ""


def _protect(output, jobs, catalogue):
    """Refuse a directory in which results would replace inputs, or files that are no results."""
    if not output.is_dir():
        return
    here, directory_of, inside = os.path.realpath(output), lru_cache(os.path.realpath), set()
    inputs = {path for job in jobs for path in job.entry.files()}
    if isinstance(catalogue, str | os.PathLike):
        inputs.add(os.path.abspath(catalogue))
    for path in inputs:
        path = os.path.realpath(path) if os.path.islink(path) else path
        directory, name = os.path.split(path)
        if directory_of(directory) == here:
            inside.add(name)
    known = (output / _SETTINGS).is_file()
    if known and not inside:
        return
    own = {path.name for job in jobs for path in job.outputs} | {_SETTINGS, "index.html", "summary.ecsv"}
    for name in sorted(own & inside):
        raise ValueError(
            f"{here}/{name} is an input, and a result would replace it: choose another directory"
        )
    foreign = [] if known else sorted(own.intersection(os.listdir(output)))
    if foreign:
        raise ValueError(
            f"{output} holds files that are no results of a catalogue, and that results would replace: "
            f"{', '.join(foreign[:5])}; choose another directory"
        )


def _clear(output, todo):
    """Remove what processes that were killed had begun to write."""
    begun = [(path, found["name"]) for path in os.listdir(output) if (found := LEFTOVER.fullmatch(path))]
    if begun:
        ours = {unfinished(path) for job in todo for path in job.outputs}
        for path, name in begun:
            if name in ours:
                (output / path).unlink(missing_ok=True)


def _is_done(job, retry_failed):
    record = read_record(job.record)
    if record is None:
        return False
    if isinstance(record.get("input"), dict) and not is_current(job.entry, job.options, record["input"]):
        return False
    if record["status"] == "done":
        whole = job.result.is_file() and job.result.stat().st_size == record.get("bytes")
        return whole and all(path.is_file() for path in job.files)
    return not retry_failed and not is_storage_error(OSError(record.get("reason", "")))


def summarise(output: str | os.PathLike, names: list[str] | None = None) -> QTable:
    """
    Collect the results of all lenses of a directory in a table.

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
        ``verdict`` ("trusted", "look", "wrong", or empty) with its ``reasons``, ``reduced_chi2``,
        ``log_evidence``, ``effective_modes``, ``einstein_radius`` (the effective one, of the lens that was
        super-resolved with), ``time``, ``cpu_time``, ``memory`` (the most that the worker had had by then),
        ``warnings`` and ``reason``. Where the light of galaxies or lenses were fitted, also
        ``light_reduced_chi2`` and ``lens_reduced_chi2``, and of each parameter of a lens the value and its
        standard deviation, such as ``SIE.theta_E`` and ``SIE.theta_E_err``; they are masked where it was not
        fitted. Where substructure was looked for, ``subhaloes`` (how many are detected), the verdict on that,
        ``subhalo_verdict``, of the best candidate ``subhalo_ln_z`` and ``subhalo_mass``, and
        ``subhalo_sensitivity``, the least mass that would be seen.
    """
    output = Path(output)
    records = _records(output, names)
    table = QTable()
    table["name"] = np.array([record["name"] for record in records], dtype=str)
    table["status"] = np.array([record["status"] for record in records], dtype=str)
    table["verdict"] = np.array([record.get("verdict", "") for record in records], dtype=str)
    table["reasons"] = np.array(["; ".join(record.get("reasons", [])) for record in records], dtype=str)
    for key in _NUMBERS:
        table[key] = _column(records, key)
    table["einstein_radius"] = _column(records, "einstein_radius") * u.arcsec
    for key in _BEFORE:
        if any(key in record for record in records):
            table[key] = _column(records, key)
    if any("subhaloes" in record for record in records):
        table["subhalo_verdict"] = np.array(
            [record.get("subhalo_verdict", "") for record in records], dtype=str
        )
        for key, unit in _SUBHALOES.items():
            table[key] = _column(records, key) * unit
    _add_lenses(table, [record.get("lens", {}) for record in records])
    for key, (name, unit) in _COSTS.items():
        table[key] = _column(records, name) * unit
    table["warnings"] = np.array(["; ".join(record.get("warnings", [])) for record in records], dtype=str)
    table["reason"] = np.array([record.get("reason", "") for record in records], dtype=str)
    return table


def _records(output, names):
    if names is not None:
        return [read_record(output / f"{name}.json") or {"name": name, "status": "missing"} for name in names]
    found = {path.stem: read_record(path) for path in output.glob("*.json") if path.name != _SETTINGS}
    fit = FitLens.ending.removesuffix(".json")  # such files are no records, but those of lenses of that name
    return [
        record or {"name": name, "status": "missing"}
        for name, record in sorted(found.items())
        if record or not name.endswith(fit)
    ]


def _column(records, name):
    return np.array([record.get(name) for record in records], dtype=float)  # None, which is null, becomes NaN


def _add_lenses(table, lenses):
    """Add the parameters of the fitted lenses, which need not be of one kind."""
    units = {name: unit for lens in lenses for name, (_, _, unit) in lens.items()}
    for name, unit in units.items():
        masked = np.array([name not in lens for lens in lenses])
        for k, ending in enumerate(("", "_err")):
            numbers = np.array([lens[name][k] if name in lens else None for lens in lenses], dtype=float)
            table[name + ending] = Masked(u.Quantity(numbers, unit), mask=masked)


def _write_summary(output, names, shard):
    """Write the summary and the index; return the summary."""
    name = "summary.ecsv" if shard is None else f"summary-{shard[0]}-of-{shard[1]}.ecsv"
    try:
        summary = summarise(output, names)
        with atomic_write(output / name, overwrite=True) as beside:
            summary.write(beside, format="ascii.ecsv", overwrite=True)
        write_index(summarise(output) if shard else summary, output / "index.html", overwrite=True)
    except OSError as error:
        raise StorageFullError(f"{output}: {error}") from error
    return summary
