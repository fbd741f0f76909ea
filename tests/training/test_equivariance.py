"""Equivariance: nothing to learn for who is equivariant and right, and what is wrong is seen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.training import Equivariance, LensProblems
from lenssuper.training.equivariance import moved
from lenssuper.training.losses import Answers

SIDE = 16


class Gains:
    """Lenses that only make each pixel brighter, each by other factors."""

    def __init__(self, gains):
        self.gains = gains
        self.in_shape = self.out_shape = tuple(gains.shape)

    def forward(self, sources):
        return self.gains * sources

    adjoint = forward

    def lensed_image(self, sources):
        return 2 * sources


class Network:
    """Divides by the gains; or not by the right ones, or brightens one side."""

    def __init__(self, gains=None, ramp=None):
        self.gains, self.ramp = gains, ramp
        self.asked = []

    def stages(self, problem):
        self.asked.append((problem, torch.is_grad_enabled()))
        gains = problem.forward(torch.ones(problem.source_shape)) if self.gains is None else self.gains
        found = (problem.white / gains).clamp(min=0)
        return [found if self.ramp is None else found * self.ramp]


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    gains = torch.tensor(rng.uniform(0.5, 2, (3, SIDE, SIDE)), dtype=torch.float32)
    row, column = np.mgrid[:SIDE, :SIDE]
    spots = [np.exp(-((row - a) ** 2 + (column - b) ** 2) / 8) for a, b in ((6, 8), (9, 5), (8, 9))]
    sources = torch.tensor(np.array(spots), dtype=torch.float32)
    weights = torch.full(gains.shape, 25.0)
    problem = SourceProblem(Gains(gains), gains * sources, weights, scale=torch.ones(3))
    return SimpleNamespace(problem=problem, noise=torch.full((3, 1, 1), 0.2), sources=sources)


def value(loss, network, batch, seed=1):
    return float(loss(Answers(network), batch, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_to_learn_for_a_perfect_network(batch, seed):
    assert value(Equivariance(noise=0), Network(), batch, seed) < 1e-9


def test_noise_is_what_a_perfect_network_without_a_prior_finds(batch):
    """It gives back source plus noise / gain: the error is that of the noise, in its own units."""
    bright = Equivariance(noise=1, turns=False, shift=0, other_lens=False)
    batch.sources += 5  # so that nothing is cut off at zero
    gains = batch.problem._projection.gains
    batch.problem = SourceProblem(
        Gains(gains), gains * batch.sources, torch.full(gains.shape, 25.0), torch.ones(3)
    )
    found = np.mean([value(bright, Network(), batch, seed) for seed in range(20)])
    expected = float(torch.log1p((2 / gains).square().mean((1, 2))).mean())
    assert found == pytest.approx(expected, rel=0.03)


def test_a_place_that_is_treated_otherwise_is_seen(batch):
    ramp = torch.linspace(0.5, 1.5, SIDE).expand(3, SIDE, SIDE)
    turned = Equivariance(noise=0, shift=0, other_lens=False)
    assert max(value(turned, Network(ramp=ramp), batch, seed) for seed in range(3)) > 0.05


def test_a_network_blind_to_the_lens_is_seen(batch):
    """It is right about the lens it has in mind, and only another lens tells."""
    blind = Network(gains=batch.problem.forward(torch.ones(3, SIDE, SIDE)).roll(1, 0))
    assert value(Equivariance(noise=0), blind, batch) > 0.05


def test_only_the_second_answer_is_taught(batch):
    network = Network()
    loss = Equivariance()
    loss(Answers(network), batch, torch.Generator())
    (first, taught_first), (second, taught_second) = network.asked
    assert first is batch.problem
    assert second is not first
    assert (taught_first, taught_second) == (False, True)


@pytest.mark.parametrize("places", range(3))
def test_sources_are_turned_and_passed_on(places):
    """All that comes out is one of the eight views of another source."""
    sources = torch.tensor(np.random.default_rng(places).random((4, SIDE, SIDE)), dtype=torch.float32)
    found = Equivariance(shift=0).transformed(sources, torch.Generator().manual_seed(places))
    views = [torch.rot90(s, k, (-2, -1)) for k in range(4) for s in (sources, sources.flip(-1))]
    assert sum(torch.equal(found, view.roll(r, 0)) for view in views for r in (1, 2, 3)) == 1
    alone = Equivariance(shift=0, turns=False, other_lens=False)
    assert torch.equal(alone.transformed(sources, torch.Generator()), sources)


def test_all_views_and_neighbours_are_drawn():
    sources = torch.tensor(np.random.default_rng(1).random((3, 6, 6)), dtype=torch.float32)
    loss = Equivariance(shift=0)
    seen = {
        tuple(loss.transformed(sources, torch.Generator().manual_seed(s)).flatten().tolist())
        for s in range(150)
    }
    assert len(seen) == 16


def test_what_is_not_square_keeps_its_shape():
    sources = torch.rand(2, 6, 9)
    for seed in range(6):
        found = Equivariance().transformed(sources, torch.Generator().manual_seed(seed))
        assert found.shape == sources.shape


def test_moved_by_whole_pixels():
    sources = torch.rand(2, 10, 11)
    found = moved(sources, 3, -2)
    torch.testing.assert_close(found[:, 3:, :9], sources[:, :-3, 2:], rtol=0, atol=1e-6)
    assert found[:, :3].max() < 1e-6
    assert found[:, :, 9:].max() < 1e-6
    assert (moved(sources, 20, 0) == 0).all()


@pytest.mark.parametrize("size", [32, 33])
def test_moved_by_parts_of_pixels(size):
    row, column = np.mgrid[:size, :size]

    def spot(a, b):
        return torch.tensor(np.exp(-((row - a) ** 2 + (column - b) ** 2) / (2 * 1.5**2)))[None]

    found = moved(spot(15, 16), 1.3, -2.45)
    torch.testing.assert_close(found, spot(16.3, 13.55), rtol=0, atol=1e-5)
    assert found.min() >= 0


def test_lenses(lenses, tiny):
    """Through real lenses: finite, and a gradient for all weights."""
    network = tiny.network()
    batch = LensProblems(lenses, source_pixels=32).batch([0, 1]).turned(3, False)
    loss = Equivariance()(Answers(network), batch, torch.Generator().manual_seed(3))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().max() > 0 for p in network.parameters())


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="not be negative"):
        Equivariance(shift=-1)
