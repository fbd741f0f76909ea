"""Distribution of lenses to workers that may die."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from itertools import islice

from lenssuper.catalog.engine import Engine
from lenssuper.catalog.job import Job, run_job, write_record

__all__ = ["Queue"]


class Queue:
    """
    Jobs as they are finished by an engine, which gets no more of them at once than keep its workers busy.

    When a worker dies, any of the lenses in progress may be the cause. They are tried again one at a time,
    and a lens whose worker dies again is given up.
    """

    def __init__(self, engine: Engine, todo: Iterable[Job]) -> None:
        self._engine = engine
        self._left = iter(todo)
        self._suspects: list[Job] = []
        self._running: dict[Future, Job] = {}
        self._alone = False

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order in which they end."""
        self._hand_out()
        while self._running:
            finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = self._running.pop(future, None)
                if job is None:  # went down with another one
                    continue
                if not _has_died(future):
                    future.result()  # raises if the disk is full
                    yield job
                elif self._alone:
                    self._recover(future)
                    _give_up(job)
                    yield job
                else:
                    self._suspects.append(job)
                    self._recover(future)
            self._hand_out()

    def _hand_out(self):
        if self._suspects:
            if not self._running:
                self._alone = True
                self._submit(self._suspects.pop())
            return
        if self._alone and self._running:
            return
        self._alone = False
        for job in islice(self._left, 2 * self._engine.workers - len(self._running)):
            self._submit(job)

    def _submit(self, job):
        self._running[self._engine.submit(run_job, job)] = job

    def _recover(self, future):
        """Replace a broken pool, and take back the lenses that were in it."""
        if not isinstance(future.exception(), BrokenExecutor):
            return
        if not self._engine.renew():
            raise RuntimeError(
                "a worker was killed, which broke the executor that was given: "
                "make the same call with a new one to resume"
            )
        self._suspects.extend(self._running.values())
        self._running.clear()


def _has_died(future):
    """Check whether the worker died before the job ended."""
    if future.cancelled():
        return True
    error = future.exception()
    # KilledWorker is dask's; it cannot be imported where distributed is not installed
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def _give_up(job):
    reason = "the worker died twice on this lens, perhaps because it ran out of memory"
    write_record(job, {"name": job.entry.name, "status": "failed", "reason": reason, "warnings": []})
