"""
Time and peak memory of the default solver on 256 x 256 pixels at factor 2.

    python -m benchmarks.large_field
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time

from lenssuper import SuperResolver

from .fields import large_field


def peak() -> float:
    """Most memory this process has held so far, in GB."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    )


def main() -> None:
    """Run it."""
    # simulated in another process, as shooting its rays takes memory too
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        mock = pool.apply(large_field, (256,))
    before = peak()
    start, busy = time.perf_counter(), time.process_time()
    result = SuperResolver(mock.lens, factor=2, rng=0)(mock.observation)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    print(result)
    print(f"{seconds:.1f} s, {cpu:.1f} s of processor time")
    print(f"peak memory {peak():.2f} GB; before, with all imported, {before:.2f} GB")


if __name__ == "__main__":
    main()
