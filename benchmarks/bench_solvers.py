"""The solvers: time on the simulated set, quality, and memory on a large field."""

from __future__ import annotations

from lenssuper import ForwardModel, SuperResolver
from lenssuper.simulate import benchmark_set
from lenssuper.solvers import LogNormal

from .fields import large_field
from .quality import measure, methods


class Solve:
    """Each solver on the first lens of the set; all but cubic interpolation."""

    params = (tuple(name for name, make in methods().items() if make is not None),)
    param_names = ("solver",)
    timeout = 600

    def setup(self, name):
        self.mock = benchmark_set(1)[0]
        self.model = ForwardModel(self.mock.observation, self.mock.lens)
        self.solver = methods()[name]()

    def time_solve(self, name):
        self.solver.solve(self.model, rng=0)

    def peakmem_solve(self, name):
        self.solver.solve(self.model, rng=0)

    def track_gain_over_interpolation(self, name):
        return measure(self.mock, name, methods()[name], 0)["gain"]

    track_gain_over_interpolation.unit = "dB"


class LargeField:
    """The default solver on 256 x 256 pixels at factor 2."""

    timeout = 1800

    def setup(self):
        self.mock = large_field(256)
        small = benchmark_set(1, shape=(24, 24))[0]
        SuperResolver(small.lens, solver=LogNormal(n_draws=2, max_evaluations=3), rng=0)(small.observation)

    def time_default(self):
        SuperResolver(self.mock.lens, factor=2, rng=0)(self.mock.observation)

    def peakmem_default(self):
        SuperResolver(self.mock.lens, factor=2, rng=0)(self.mock.observation)
