"""Handing out lenses to workers that may die."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from itertools import islice

from lenssuper.catalog.engine import Engine
from lenssuper.catalog.job import Job, run_job, write_record

__all__ = ["Queue"]


class Queue:
    """
    Hands out lenses, with no more of them on their way than needed to keep the workers busy.

    When a worker dies, all that was on its way may be to blame. Those lenses are tried again one at a time,
    and one that then takes its worker with it is given up.

    Parameters
    ----------
    engine : Engine
    todo : iterable of Job
    """

    def __init__(self, engine: Engine, todo: Iterable[Job]) -> None:
        self._engine = engine
        self._left = iter(todo)
        self._suspects: list[Job] = []
        self._running: dict[Future, Job] = {}
        self._alone = False

    def __iter__(self) -> Iterator[Job]:
        """Yield the lenses that are done with, as they come in."""
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
        """Replace a pool that broke, and take back what was in it."""
        if not isinstance(future.exception(), BrokenExecutor):
            return
        if not self._engine.renew():
            raise RuntimeError(
                "a worker was killed, and with it the executor that was given: "
                "the same call with a new one goes on where this ended"
            )
        self._suspects.extend(self._running.values())
        self._running.clear()


def _has_died(future):
    """Whether the worker went away before it was done."""
    if future.cancelled():
        return True
    error = future.exception()
    # dask's name for it; it is there only where distributed is
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def _give_up(job):
    reason = "the worker died twice while at it: out of memory, perhaps"
    write_record(job, {"name": job.entry.name, "status": "failed", "reason": reason, "warnings": []})
