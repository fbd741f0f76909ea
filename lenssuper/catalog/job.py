"""One lens of a catalogue, from its file to its result: what a worker does, and what it leaves behind."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenssuper._utils.files import atomic_write
from lenssuper.catalog.stages import Stage, Work
from lenssuper.catalog.table import Entry
from lenssuper.lens import LensModel
from lenssuper.plotting.pages import write_report

__all__ = ["Job", "StorageFullError", "read_record", "run_job"]

# Errors of the disk, not of the lens: nothing can be written, and the next lens would fare no better.
_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class StorageFullError(OSError):
    """Results cannot be written any more; what is written is whole."""


@dataclass(frozen=True)
class Job:
    """
    What a worker needs to know of one lens.

    Attributes
    ----------
    entry : Entry
    output : str
        Directory of the results.
    stages : tuple of Stage
        What is done, in this order; the last is `SuperResolve`.
    seed : int
    pictures : bool
        Whether to write a page with pictures of the result.
    """

    entry: Entry
    output: str
    stages: tuple[Stage, ...]
    seed: int
    pictures: bool

    def file(self, stage: Stage) -> Path | None:
        """Where a stage writes what it found; None if it writes nothing."""
        return Path(self.output) / f"{self.entry.name}{stage.ending}" if stage.ending else None

    @property
    def files(self) -> list[Path]:
        """Where the stages write what they found, the super-resolution last."""
        return [self.file(stage) for stage in self.stages if stage.ending]

    @property
    def result(self) -> Path:
        """Where the super-resolution is written."""
        return self.files[-1]

    @property
    def record(self) -> Path:
        """Where it is noted how it went; it is written last."""
        return Path(self.output) / f"{self.entry.name}.json"

    @property
    def page(self) -> Path:
        """Where the page on it is written."""
        return Path(self.output) / f"{self.entry.name}.html"

    @property
    def picture(self) -> Path:
        """Where the small picture for the index is written."""
        return Path(self.output) / f"{self.entry.name}_small.png"


def run_job(job: Job) -> dict:
    """
    Super-resolve one lens and write its result, and after it the record that it is done.

    Parameters
    ----------
    job : Job

    Returns
    -------
    dict
        The record: ``status`` is "done" or "failed"; a failure has its ``reason``.

    Raises
    ------
    StorageFullError
        If the results cannot be written. Of a lens that fails for another reason that is noted, and no error
        is raised.
    """
    _one_thread()
    start, busy = time.perf_counter(), time.process_time()
    record = {"name": job.entry.name, "status": "done", "reason": "", "warnings": [], "stages": {}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _do(job, record)
        except Exception as error:  # whatever is wrong with one lens, the others go on
            if isinstance(error, OSError) and error.errno in _STORAGE:
                raise StorageFullError(error.errno, f"{job.output}: {error.strerror}") from error
            stage, words = list(record["stages"])[-1], " ".join(str(error).split())
            record.update(status="failed", reason=f"{stage}: {type(error).__name__}: {words}")
    record["warnings"] = sorted({" ".join(str(warning.message).split()) for warning in caught})
    record["seconds"] = time.perf_counter() - start
    record["cpu_seconds"] = time.process_time() - busy
    record["memory"] = _peak_memory()
    write_record(job, record)
    # figures hold themselves in circles, and would pile up until Python looks for such on its own
    gc.collect()
    return record


def write_record(job: Job, record: dict) -> None:
    """Write how it went, whole or not at all."""
    try:
        with atomic_write(job.record, overwrite=True) as beside:
            beside.write_text(json.dumps(record, allow_nan=True) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno in _STORAGE:
            raise StorageFullError(error.errno, f"{job.output}: {error.strerror}") from error
        raise


def read_record(path: Path) -> dict | None:
    """Read a record; None if there is none, or it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"name", "status"} <= record.keys() else None


def _do(job, record):
    """Do one thing after the other, and note what each found and cost."""
    with _timed(record, job.stages[0].what):
        if job.entry.problem:
            raise ValueError(job.entry.problem)
        lens = LensModel.from_dict(job.entry.lens)
    work = Work(job.entry, lens, np.random.default_rng([job.seed, job.entry.number]))
    for stage in job.stages:
        with _timed(record, stage.what):
            work = stage(work)
            if stage.ending:
                stage.write(work, job.file(stage))
            record.update(stage.numbers(work))
    record["bytes"] = os.path.getsize(job.result)
    if job.pictures:
        with _timed(record, "pictures"):
            _draw(job, work)


def _draw(job, work):
    links = {"all lenses": "index.html"} | {path.name: path.name for path in job.files}
    write_report(
        work.result,
        job.page,
        title=job.entry.name,
        light=work.light,
        fit=work.fit,
        links=links,
        overwrite=True,
    )
    with atomic_write(job.picture, overwrite=True) as beside:
        beside.write_bytes(work.result.thumbnail())


@contextmanager
def _timed(record: dict[str, Any], what: str) -> Iterator[None]:
    """Note what is being done, and the time of the processor that it has taken, also if it fails."""
    busy = time.process_time()
    before = record["stages"].setdefault(what, 0.0)
    try:
        yield
    finally:
        record["stages"][what] = before + time.process_time() - busy


def _peak_memory():
    """The most memory that this process has had so far, in MiB; not known where there is no `resource`."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _one_thread():
    """One thread a worker: workers share the cores, and a lens keeps no more than one busy."""
    torch = sys.modules.get("torch")  # loaded by now if the solver needs it
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
