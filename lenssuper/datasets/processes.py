"""Work shared among processes of one machine."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from lenssuper._utils.threads import end_with_parent

__all__ = ["share"]

# The function of a worker: sent once, not with every job.
_function: Callable | None = None


def share(function: Callable, jobs: Sequence, workers: int) -> Iterator:
    """
    Call a function once for each job, and yield its results in the order in which they are ready.

    With 1 worker the work is done in this process; with more the function must be picklable.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            "with several workers, the functions that draw lenses and sources must be importable, no lambdas "
            f"and not defined inside others: {error}"
        ) from error
    # spawned, not forked: threads of torch do not survive a fork
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(function,)) as pool:
        futures = [pool.submit(_work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(function):
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and reports it once
    end_with_parent()


def _work(job):
    return _function(job)
