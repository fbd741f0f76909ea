"""The overlap operator and the forward model: building and applying them."""

from __future__ import annotations

import os

import astropy.units as u
import numpy as np

from lenssuper import SIS, ForwardModel, ForwardModelBatch, OverlapOperator, PixelGrid
from lenssuper.simulate import benchmark_set

# where a process can be told which cores to use
CHOOSABLE = hasattr(os, "sched_setaffinity")
CORES = sorted({1, len(os.sched_getaffinity(0))}) if CHOOSABLE else [os.cpu_count()]


def grids(n: int) -> tuple[PixelGrid, PixelGrid]:
    """n x n pixels in both planes, the source's a bit smaller so that the field fills its grid."""
    return PixelGrid((n, n), 4 / n * u.arcsec), PixelGrid((n, n), 3 / n * u.arcsec)


class Overlap:
    """Building the operator of an SIS, with straight edges (subdivide=1) or to the default tolerance."""

    params = ([64, 256, 1024], ["straight", "adaptive"], CORES)
    param_names = ("pixels", "edges", "cores")

    def setup(self, n, edges, cores):
        if CHOOSABLE:
            self.before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(self.before)[:cores])
        self.lens = SIS(theta_E=1.2 * u.arcsec)
        self.options = {"subdivide": 1} if edges == "straight" else {}
        self.grids = grids(n)
        OverlapOperator(self.lens, *grids(16), **self.options)  # so that memory is taken before

    def teardown(self, n, edges, cores):
        if CHOOSABLE:
            os.sched_setaffinity(0, self.before)

    def time_build(self, n, edges, cores):
        OverlapOperator(self.lens, *self.grids, **self.options)

    def peakmem_build(self, n, edges, cores):
        OverlapOperator(self.lens, *self.grids, **self.options)


class OverlapApply:
    """Lensing images forward and back."""

    params = ([64, 256], [1, 32])
    param_names = ("pixels", "batch")

    def setup(self, n, batch):
        self.op = OverlapOperator(SIS(theta_E=1.2 * u.arcsec), *grids(n))
        self.images = np.random.default_rng(0).normal(size=(batch, n, n))
        self.op.adjoint(self.op.forward(self.images))

    def time_forward(self, n, batch):
        self.op.forward(self.images)

    def time_adjoint(self, n, batch):
        self.op.adjoint(self.images)


class Model:
    """A = D P L on the simulated set, one lens."""

    params = ([1, 2, 3], ["numpy", "torch", "torch float32"], [1, 32])
    param_names = ("factor", "arrays", "batch")

    def setup(self, factor, arrays, batch):
        mock = benchmark_set(1)[0]
        self.model = ForwardModel(mock.observation, mock.lens, factor=factor)
        rng = np.random.default_rng(0)
        self.x, self.y = (
            as_arrays(rng.normal(size=(batch, *shape)), arrays)
            for shape in (self.model.in_shape, self.model.out_shape)
        )
        self.model.adjoint(self.model.forward(self.x))

    def time_forward(self, factor, arrays, batch):
        self.model.forward(self.x)

    def time_adjoint(self, factor, arrays, batch):
        self.model.adjoint(self.y)


class Build:
    """Making the forward model, its source grid included."""

    params = ([1, 2, 3],)
    param_names = ("factor",)

    def setup(self, factor):
        self.mock = benchmark_set(1)[0]
        self.time_build(factor)

    def time_build(self, factor):
        ForwardModel(self.mock.observation, self.mock.lens, factor=factor)


class Batch:
    """Sixteen lenses at once and one by one, with the gradient that training takes."""

    params = (["one by one", "batch"], ["numpy", "torch float32", "cuda"])
    param_names = ("way", "arrays")
    lenses = 16

    def setup(self, way, arrays):
        import torch

        if arrays == "cuda" and not torch.cuda.is_available():
            raise NotImplementedError("needs a GPU")
        grid = PixelGrid((64, 64), 0.03 * u.arcsec)
        self.models = [
            ForwardModel(mock.observation, mock.lens, source_grid=grid) for mock in benchmark_set(self.lenses)
        ]
        self.batch = ForwardModelBatch(self.models)
        self.x = as_arrays(np.random.default_rng(0).normal(size=self.batch.in_shape), arrays)
        self.time_normal(way, arrays)

    def time_normal(self, way, arrays):
        if way == "batch":
            done = self.batch.adjoint(self.batch.forward(self.x))
        else:
            done = [model.adjoint(model.forward(x)) for model, x in zip(self.models, self.x, strict=True)]
        if arrays == "cuda":
            float(done[0].sum())  # wait for it


def as_arrays(values: np.ndarray, arrays: str):
    """Give numbers as numpy arrays or torch tensors."""
    if arrays == "numpy":
        return values
    import torch

    if arrays == "cuda":
        return torch.tensor(values, dtype=torch.float32, device="cuda")
    return torch.tensor(values, dtype=torch.float32 if "32" in arrays else torch.float64)
