"""How the numerical kernels are compiled, and where what is compiled is kept."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path

import numba
from numba.core import caching

_log = logging.getLogger("lenssuper")

# Seconds of silence that nobody takes for a hang.
_PATIENCE = 5.0


class _OutsideCache(caching.CompileResultCacheImpl):
    # Numba writes beside the source if it can. In an installed package such files outlive the package: what
    # is left of its folder is imported as a namespace package, and hides an editable installation.
    _locator_classes = [  # noqa: RUF012  as in Numba's class
        locator for locator in caching.CacheImpl._locator_classes if "InTree" not in locator.__name__
    ]


class _UserCache(caching.FunctionCache):
    """Compiled code in ``NUMBA_CACHE_DIR``, or else in the user's cache directory."""

    _impl_class = _OutsideCache

    def load_overload(self, sig, target_context):
        """Return what was kept; where there is nothing, say what takes so long now."""
        kept = super().load_overload(sig, target_context)
        if kept is None:
            _say_that_it_compiles(self._py_func.__qualname__)
        return kept


class Said:
    """When, in seconds of a monotonic clock, it was last said that kernels are compiled."""

    at = -math.inf


def _say_that_it_compiles(name):
    """Say that kernels are compiled, and every few seconds which, so that nobody thinks that it hangs."""
    now = time.monotonic()
    if Said.at == -math.inf:
        _log.info("compiling numerical kernels, kept for later runs: this takes up to half a minute")
    elif now > Said.at + _PATIENCE:
        _log.info("still compiling: %s", name)
    else:
        return
    Said.at = now


def compiled(function):
    """Compile with Numba, releasing the interpreter lock; kept on disk where a cache can be written.

    Numba notices a change of a file only in the cache of that same file, so kernels of one file must not call
    kernels of another.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    try:
        dispatcher._cache = _UserCache(function)
    except RuntimeError:  # no directory for the cache can be written: compile in every process instead
        pass
    return dispatcher


def inner(function):
    """Compile a part of kernels of the same file, which Python itself never calls.

    It is kept with the kernels, and without what a call from Python needs it takes less time to compile.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(nogil=True, error_model="numpy", **options)(function)


def cache_directory() -> str | None:
    """Return where the kernels of this package are kept, or None if nothing can be written."""
    try:
        return str(Path(_UserCache(cache_directory).cache_path).parent)
    except RuntimeError:
        return None


def inlined(function):
    """Write a kernel out where it is called, so that loops around it stay simple enough to vectorise."""
    return numba.njit(inline="always", nogil=True, error_model="numpy")(function)
