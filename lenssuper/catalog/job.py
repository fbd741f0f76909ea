"""One lens of a catalogue, from its file to its result and the record of how it went."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import re
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
from lenssuper._utils.text import said_by
from lenssuper._utils.threads import end_with_parent
from lenssuper.catalog.coolest import source_beside, write_template
from lenssuper.catalog.fingerprint import fingerprint
from lenssuper.catalog.stages import Stage, Work
from lenssuper.catalog.table import Entry
from lenssuper.plotting.pages import write_report

__all__ = ["Job", "StorageFullError", "is_storage_error", "read_record", "run_job", "write_record"]

# Errors of the disk, not of the lens: the results of the next lens could not be written either.
# Some libraries say it in words only.
_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_STORAGE_WORDS = re.compile("no space left|not enough space|disk quota|disk is full|read-only file", re.I)


class StorageFullError(OSError):
    """Results cannot be written any more; what is written is whole."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of one lens."""

    entry: Entry
    output: str  # directory of the results
    stages: tuple[Stage, ...]  # in this order; the last is `SuperResolve`
    seed: int
    pictures: bool
    options: str = ""  # all that the result depends on besides the entry and its files

    def file(self, stage: Stage) -> Path | None:
        """Return the file that a stage writes; None if it writes none."""
        return Path(self.output) / f"{self.entry.name}{stage.ending}" if stage.ending else None

    @property
    def files(self) -> list[Path]:
        """Files that the stages write, the super-resolution last."""
        return [file for stage in self.stages if (file := self.file(stage)) is not None]

    @property
    def result(self) -> Path:
        """File of the super-resolution."""
        return self.files[-1]

    @property
    def record(self) -> Path:
        """File that records how the work went; it is written last."""
        return Path(self.output) / f"{self.entry.name}.json"

    @property
    def page(self) -> Path:
        """Page on the lens."""
        return Path(self.output) / f"{self.entry.name}.html"

    @property
    def picture(self) -> Path:
        """Small picture for the index."""
        return Path(self.output) / f"{self.entry.name}_small.png"

    @property
    def template(self) -> Path:
        """Where the COOLEST template of the result is written, if the lens came from one."""
        return Path(self.output) / f"{self.entry.name}_coolest.json"

    @property
    def outputs(self) -> list[Path]:
        """All that may be written."""
        template = [self.template, source_beside(self.template)] if self.entry.is_template else []
        return [*self.files, *template, self.page, self.picture, self.record]


def run_job(job: Job) -> dict:
    """
    Super-resolve one lens, write its result, and then the record, which is returned.

    Its ``status`` is "done" or "failed", with a ``reason``. Only a StorageFullError is raised; every other
    error is recorded.
    """
    _one_thread()
    end_with_parent()
    former = read_record(job.record)
    job.record.unlink(missing_ok=True)  # what it says does not hold for what is written from now on
    start, busy = time.perf_counter(), time.process_time()
    record: dict[str, Any] = {
        "name": job.entry.name,
        "status": "done",
        "reason": "",
        "warnings": [],
        "stages": {},
        "elapsed": {},
    }
    record["input"] = fingerprint(job.entry, job.options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _do(job, record)
        except Exception as error:  # whatever is wrong with one lens, the others go on
            if is_storage_error(error):
                raise StorageFullError(f"{job.output}: {' '.join(str(error).split())}") from error
            stage = list(record["stages"])[-1]
            record.update(status="failed", reason=f"{stage}: {type(error).__name__}: {said_by(error)}")
    record["warnings"] = sorted({" ".join(str(warning.message).split()) for warning in caught})
    record["seconds"] = time.perf_counter() - start
    record["cpu_seconds"] = time.process_time() - busy
    record["memory"] = _peak_memory()
    if record["status"] == "failed" and former and former.get("input", record["input"]) != record["input"]:
        for path in job.outputs:  # of what the catalogue or the files were before
            path.unlink(missing_ok=True)
    write_record(job, record)
    # figures have circular references: without this they would fill the memory for a while
    gc.collect()
    return record


def write_record(job: Job, record: dict) -> None:
    """Write the record of a lens, whole or not at all; what is not finite becomes null, which JSON has."""
    text = json.dumps(_plain(record), allow_nan=False) + "\n"
    try:
        with atomic_write(job.record, overwrite=True) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        if is_storage_error(error):
            raise StorageFullError(f"{job.output}: {error}") from error
        raise


def is_storage_error(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that nothing can be written any more."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _STORAGE or _STORAGE_WORDS.search(str(error))):
            return True
        error = error.__cause__ or error.__context__
    return False


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: Path) -> dict | None:
    """Read a record; None if there is none, or it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"name", "status"} <= record.keys() else None


def _do(job, record):
    """Run the stages, and record the numbers and the time of each."""
    with _timed(record, job.stages[0].what):
        if job.entry.problem:
            raise ValueError(job.entry.problem)
        lens = job.entry.lens_model()
    work = Work(job.entry, lens, np.random.default_rng([job.seed, job.entry.number]))
    for stage in job.stages:
        with _timed(record, stage.what):
            work = stage(work)
            for each in job.stages:
                if each.ending and (each is stage or isinstance(each, stage.renews)):
                    each.write(work, job.file(each))
            record.update(stage.numbers(work))
    if job.entry.is_template:
        with _timed(record, "COOLEST template"):
            write_template(job.entry.file, work.result, work.fit, job.template)
    record["bytes"] = os.path.getsize(job.result)
    if job.pictures:
        with _timed(record, "pictures"):
            _draw(job, work, record)


def _draw(job, work, record):
    links = {"all lenses": "index.html"} | {path.name: path.name for path in job.files}
    write_report(
        work.result,
        job.page,
        title=job.entry.name,
        light=work.light,
        fit=work.fit,
        substructure=work.substructure,
        links=links,
        times={what: (record["elapsed"][what], busy) for what, busy in record["stages"].items()},
        overwrite=True,
    )
    with atomic_write(job.picture, overwrite=True) as beside:
        beside.write_bytes(work.result.thumbnail())


@contextmanager
def _timed(record: dict[str, Any], what: str) -> Iterator[None]:
    """Record the processor time of a stage and the time that goes by, also if it fails."""
    clocks = {"stages": time.process_time, "elapsed": time.perf_counter}
    starts = {key: clock() - record[key].get(what, 0.0) for key, clock in clocks.items()}
    try:
        yield
    finally:
        for key, clock in clocks.items():
            record[key][what] = clock() - starts[key]


def _peak_memory():
    """Return the peak memory of this process so far in MiB; NaN where it is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _one_thread():
    """Limit torch to one thread, as the workers share the cores."""
    torch = sys.modules.get("torch")  # loaded by now if the solver needs it
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
