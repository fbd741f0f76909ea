"""Memory: what is freed stays with the process."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

# Parameters of `mallopt` of the GNU C library
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Free bytes at the end of the heap that are kept, and the size from which an array gets pages of its own, the
# largest that the library takes
_KEPT, _LARGE = 2**30, 2**25


def keep_freed_memory() -> bool:
    """
    Let the C library keep up to 1 GiB that is freed, for the next arrays; return whether it does.

    By default it gives larger arrays back to the system at once, and asks for the same pages again, one by
    one. Only the GNU C library, that of most Linux systems, has this setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT) and mallopt(_MMAP_THRESHOLD, _LARGE))
