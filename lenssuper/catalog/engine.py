"""Where the work of a catalogue is done: worker processes of this machine, or a dask cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import current_process, get_context

from lenssuper._utils.checks import check_count, check_kind
from lenssuper._utils.memory import keep_freed_memory
from lenssuper._utils.threads import end_with_parent, granted_cores

__all__ = ["Engine", "open_engine"]

# Variables that limit the threads of numerical libraries, as workers share the cores.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# What is wrong with a script that starts workers again in each of its workers
_NO_GUARD = (
    "a script starts worker processes outside of `if __name__ == '__main__':`; as they import the script, "
    "it must start them below such a line"
)


class Engine:
    """Executor with a number of workers, which can be replaced when the death of a worker has broken it."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor = executor
        self.workers = workers

    def submit(self, function, argument) -> Future:
        """Submit ``function(argument)``; the future raises if the worker dies."""
        return self._executor.submit(function, argument)

    def renew(self) -> bool:
        """Replace a broken executor; return False if that is not possible."""
        return False


class _Processes(Engine):
    """Processes of this machine; a pool with a killed worker accepts no more work, and is replaced."""

    def __init__(self, workers):
        self._open(workers)
        super().__init__(self._executor, workers)

    def _open(self, workers):
        # spawned, not forked: threads of torch do not survive a fork
        self._executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)

    def renew(self):
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._open(self.workers)
        return True

    def close(self):
        self._executor.shutdown(wait=True, cancel_futures=True)

    def kill(self):
        """End at once: what the workers are doing is lost, and nothing that is written is harmed."""
        workers = list((self._executor._processes or {}).values())  # terminate_workers() from Python 3.14 on
        self._executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _begin():
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its workers
    end_with_parent()
    keep_freed_memory()


@contextmanager
def open_engine(
    executor: Executor | None = None, *, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Engine]:
    """
    Open the executor that the work is submitted to.

    Parameters
    ----------
    executor : `~concurrent.futures.Executor`, optional
        An open one to use; it is left open.
    workers : int, optional
        How many processes to start; by default one a core.
    scheduler : str, optional
        Address of a dask scheduler, such as ``tcp://host:8786``.

    Yields
    ------
    Engine
        The executor given; or else the cluster of ``scheduler``; or else a `dask.distributed.LocalCluster`,
        or a process pool where distributed is not installed.

    Raises
    ------
    ImportError
        If a scheduler is given and distributed is not installed.
    RuntimeError
        If a worker starts workers, because a script does so outside of ``if __name__ == "__main__":``.
    """
    if getattr(current_process(), "_inheriting", False):  # set while a new process imports its script
        raise RuntimeError(_NO_GUARD)
    count = check_count(workers or granted_cores(), "workers")
    if executor is not None:
        check_kind(executor, "executor", Executor, "a concurrent.futures.Executor")
        yield Engine(executor, getattr(executor, "_max_workers", None) or count)
        return
    try:
        import distributed
    except ImportError:
        if scheduler is not None:
            raise ImportError(
                'a dask scheduler needs distributed: pip install "lenssuper[cluster]"'
            ) from None
        pool = _Processes(count)
        try:
            yield pool
        except BaseException:
            pool.kill()
            raise
        pool.close()
        return
    with _client(distributed, scheduler, count) as client:
        threads = sum(client.ncores().values()) or count
        # without retries by dask, a lens is given up after its worker has died twice
        yield Engine(client.get_executor(pure=False, retries=0), threads)


# Not dask's own environment, in which freed memory goes back to the system at once: to ask for it again, page
# by page, takes a quarter of the time that a lens takes. Its profiles and frequent looks at itself take a
# fifteenth of a core.
_CONFIG = {
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(_THREADS, "1"),
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


@contextmanager
def _client(distributed, scheduler, count):
    if scheduler is not None:
        with distributed.Client(scheduler, timeout=30) as client:
            yield client
        return
    import dask

    with (
        dask.config.set(_CONFIG),
        _cluster(distributed, count) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _cluster(distributed, count):
    try:
        return distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.ERROR
        )
    except RuntimeError as error:
        raise RuntimeError(
            f"no worker process has started ({error}). Most often the reason is that {_NO_GUARD}"
        ) from error
