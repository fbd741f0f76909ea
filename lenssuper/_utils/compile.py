"""How the numerical kernels are compiled."""

from __future__ import annotations

import numba


def compiled(function):
    """Compile with Numba, releasing the interpreter lock; kept on disk where a cache can be written.

    Numba notices a change of a file only in the cache of that same file, so kernels of one file must not call
    kernels of another.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable place for the cache: compile in every process instead
        return numba.njit(**options)(function)


def inlined(function):
    """Write a kernel out where it is called, so that loops around it stay simple enough to vectorise."""
    return numba.njit(inline="always", nogil=True, error_model="numpy")(function)
