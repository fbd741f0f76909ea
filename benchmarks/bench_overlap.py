"""Building and applying the overlap operator, over sizes and threads.

For asv, and by hand: ``python benchmarks/bench_overlap.py`` prints a table.
"""

from __future__ import annotations

import resource
import time
from itertools import product

import numpy as np
from astropy import units as u

from lenssuper import SIE, SIS, ExternalShear, PixelGrid
from lenssuper._utils import threads as _threads
from lenssuper.operators import OverlapOperator

LENSES = {
    "SIS": SIS(theta_E=1.5 * u.arcsec),
    "SIE+shear": SIE(theta_E=1.2 * u.arcsec, q=0.7, phi=70 * u.deg, x=0.03 * u.arcsec, y=0.02 * u.arcsec)
    + ExternalShear(gamma1=0.05, gamma2=-0.03),
}


def square(n, side):
    """An n x n grid of `side` arcsec."""
    return PixelGrid(shape=(n, n), pixel_scale=side / n * u.arcsec)


class Build:
    """One operator, image and source grids of the same size over 5 arcsec."""

    params = ([64, 128, 256, 1024], [1, None], [1, 2])
    param_names = ("size", "subdivide", "threads")
    timeout = 120

    def setup(self, size, subdivide, threads):
        self.grids = square(size, 5.0), square(size, 5.0)
        self.count, _threads.thread_count = _threads.thread_count, lambda: threads
        self.time_build(size, subdivide, threads)  # so that memory is taken before

    def teardown(self, size, subdivide, threads):
        _threads.thread_count = self.count

    def time_build(self, size, subdivide, threads):
        OverlapOperator(LENSES["SIS"], *self.grids, subdivide=subdivide)

    def peakmem_build(self, size, subdivide, threads):
        OverlapOperator(LENSES["SIS"], *self.grids, subdivide=subdivide)


class Typical:
    """Factor two on 64 x 64 observed pixels with padding, a 96 x 96 source, an elliptical lens with shear."""

    params = ([1e-2, 1e-3, 1e-4], [0, 1, 2])
    param_names = ("tol", "order")

    def setup(self, tol, order):
        self.grids = square(160, 6.4), square(96, 2.4)
        self.operator = OverlapOperator(LENSES["SIE+shear"], *self.grids, tol=tol, order=order)
        self.sources = np.random.default_rng(0).uniform(size=(32, 96, 96))
        self.images = self.operator.lens(self.sources)
        self.operator.delens(self.images)  # makes the transpose

    def time_build(self, tol, order):
        OverlapOperator(LENSES["SIE+shear"], *self.grids, tol=tol, order=order)

    def track_entries(self, tol, order):
        return self.operator.matrix.nnz

    def time_coverage(self, tol, order):
        operator = self.operator
        operator.__dict__.pop("_area_coverage", None)
        return operator.coverage

    def time_lens_32(self, tol, order):
        self.operator.lens(self.sources)

    def time_delens_32(self, tol, order):
        self.operator.delens(self.images)


class Gradient:
    """An image and its gradient with respect to the Einstein radius and the source."""

    params = ([1, 2], [0, 1, 2])
    param_names = ("subdivide", "order")

    def setup(self, subdivide, order):
        import torch

        self.source = torch.rand(64, 64, dtype=torch.float64, requires_grad=True)
        self.theta_E = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
        self.grids = square(128, 5.0), square(64, 3.0)
        self.time_gradient(subdivide, order)

    def time_gradient(self, subdivide, order):
        from lenssuper.operators.overlap.differentiable import lens_differentiable

        values = {"SIE.theta_E": self.theta_E}
        image = lens_differentiable(
            self.source, LENSES["SIE+shear"], *self.grids, values, subdivide=subdivide, order=order
        )
        image.square().sum().backward()


def _best(function, *args, seconds=1.0):
    """Shortest of several runs, as anything else on the machine only adds to it."""
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        function(*args)
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    print(f"{'SIS, n x n on n x n':26} {'threads':>7} {'ms':>8} {'entries':>9} {'ns/entry':>8}")
    for subdivide in (1, None):
        for size in (64, 128, 256, 1024):
            for threads in (1, 2):
                bench = Build()
                bench.setup(size, subdivide, threads)
                best = _best(bench.time_build, size, subdivide, threads)
                entries = OverlapOperator(LENSES["SIS"], *bench.grids, subdivide=subdivide).matrix.nnz
                bench.teardown(size, subdivide, threads)
                name = f"{size}, " + ("tol=1e-3" if subdivide is None else f"subdivide={subdivide}")
                print(f"{name:26} {threads:7} {1e3 * best:8.1f} {entries:9} {1e9 * best / entries:8.1f}")
    print(f"peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    for bench, methods in (
        (Typical(), ("time_build", "time_coverage", "time_lens_32", "time_delens_32")),
        (Gradient(), ("time_gradient",)),
    ):
        for parameters in product(*bench.params):
            bench.setup(*parameters)
            given = ", ".join(
                f"{name}={value}" for name, value in zip(bench.param_names, parameters, strict=True)
            )
            for method in methods:
                best = 1e3 * _best(getattr(bench, method), *parameters)
                print(f"{type(bench).__name__}.{method} ({given}): {best:.1f} ms")


if __name__ == "__main__":
    main()
