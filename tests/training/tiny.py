"""Small things to train: a network of three layers and lenses of 16 x 16 pixels."""

from __future__ import annotations

import torch
from torch import nn

from lenssuper.networks.base import SourceNetwork
from lenssuper.simulate import random_mock

# Of a training that takes less than a second.
OPTIONS = {
    "source_pixels": 32,
    "batch_size": 2,
    "steps": 10,
    "check_every": 3,
    "accelerator": "cpu",
    "progress": False,
}


class TinyNetwork(SourceNetwork):
    """Convolutions of the normalised back-projection."""

    architecture = "tiny-1"

    def __init__(self, channels=4, stages=2):
        super().__init__()
        self._config = {"channels": channels, "stages": stages}
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2, channels, 3, padding=1), nn.SiLU(), nn.Conv2d(channels, 1, 3, padding=1)
            )
            for _ in range(stages)
        )

    @property
    def config(self):
        return self._config

    def stages(self, problem):
        seen = problem.adjoint(problem.forward(torch.ones(problem.source_shape, device=problem.white.device)))
        back = problem.adjoint(problem.white) / (seen + 1e-2 * seen.amax((-2, -1), keepdim=True))
        sources, found = [], back
        for layer in self.layers:
            found = nn.functional.softplus(found + layer(torch.stack([back, found], 1))[:, 0], beta=10)
            sources.append(found)
        return sources


def lenses(n, first=0, shape=(16, 16)):
    """Simulated ones: (observation, lens, truth)."""
    mocks = [random_mock(first + i, shape=shape) for i in range(n)]
    return [(mock.observation, mock.lens, mock.image(2)) for mock in mocks]


def network(seed=0, **config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyNetwork(**config)
