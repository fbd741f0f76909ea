"""Threads: how many compute at once, one for small problems, and one that ends a worker with its parent."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import parent_process

from threadpoolctl import ThreadpoolController

__all__ = ["end_with_parent", "granted_cores", "in_threads", "one_blas_thread", "thread_count"]


@cache
def end_with_parent() -> None:
    """End this process when the one that started it is killed: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _wait_for(parent):
    parent.join()
    os._exit(1)


def granted_cores() -> int:
    """Return the number of cores that this process may use: fewer than the machine's in a scheduler's job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count() -> int:
    """Return how many threads may compute: the granted cores, or ``OMP_NUM_THREADS`` if that is less."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(granted_cores(), int(allowed)) if allowed.isdecimal() and int(allowed) else granted_cores()


def in_threads(function: Callable, items: Iterable) -> Iterator:
    """Apply a function to each item in threads; the results come in order, and few wait at a time."""
    items = list(items)
    workers = min(thread_count(), len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(function, item) for item in items[: 2 * workers])
        for item in items[2 * workers :]:
            yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


@cache
def _controller():
    return ThreadpoolController()  # to find the libraries takes milliseconds


def one_blas_thread():
    """Return a context in which BLAS uses one thread.

    Threads wait for each other longer than they work where processors are shared. A fit of one profile to
    64 x 64 pixels takes half the time in it on two quiet cores, and one of a lens an eighth on two busy ones.
    """
    return _controller().limit(limits=1, user_api="blas")
