"""One thread for the linear algebra of small problems: starting more takes longer than they save."""

from __future__ import annotations

from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]


@cache
def _controller():
    return ThreadpoolController()  # looking for the libraries takes milliseconds


def one_blas_thread():
    """
    Give a context in which BLAS keeps to one thread.

    Threads wait for each other longer than they work where processors are shared. A fit of one profile to
    64 x 64 pixels takes half the time in it on two quiet cores, and one of a lens an eighth on two busy ones.
    """
    return _controller().limit(limits=1, user_api="blas")
