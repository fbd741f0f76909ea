"""Lenses made ready: the right operators, the same batches for the same seed, and what is refused."""

from __future__ import annotations

import copy
import pickle

import astropy.units as u
import numpy as np
import pytest
import torch

from lenssuper import SIE, ForwardModel, Observation
from lenssuper.exceptions import ObservationError
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.training.data import LensProblems, indices_of_step, seeded, split_off

SMALL = {"source_pixels": 32}


@pytest.fixture(scope="module")
def lenses(unopened):
    return unopened


@pytest.fixture(scope="module")
def problems(lenses):
    return LensProblems(lenses, **SMALL)


def test_the_problem_is_that_of_the_forward_models(lenses, problems):
    batch = problems.batch([3, 1], truth=True)
    rng = np.random.default_rng(2)
    sources = rng.random((2, 32, 32))
    images = batch.problem.forward(torch.tensor(sources, dtype=torch.float32) / batch.problem.scale)
    for place, i in enumerate((3, 1)):
        observation = Observation.from_nddata(lenses[i][0])
        grid = square_source_grid(observation, lenses[i][1], 2, 32)
        model = ForwardModel(observation, lenses[i][1], source_grid=grid, order=1)
        raised = observation.noise_correlation**-0.5
        expected = raised * model.whiten(model.forward(sources[place]))
        np.testing.assert_allclose(images[place], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
        np.testing.assert_allclose(batch.problem.white[place], raised * model.whiten(model.data), rtol=1e-5)
        np.testing.assert_allclose(
            batch.truth[place] * batch.problem.scale[place], lenses[i][2], rtol=1e-5, atol=1e-7
        )
        sigma = np.median(observation.weights) ** -0.5
        assert float(batch.noise[place] * batch.problem.scale[place]) == pytest.approx(
            sigma / raised, rel=1e-5
        )


def test_the_variance_is_raised_where_noise_is_correlated():
    mock = random_mock(1, shape=(90, 90))
    smooth = np.random.default_rng(1).normal(size=(91, 91))
    smooth = (smooth[1:, 1:] + smooth[:-1, 1:] + smooth[1:, :-1] + smooth[:-1, :-1]) / 2
    sigma = mock.observation.uncertainty.array
    drizzled = copy.copy(mock.observation)
    drizzled.data = mock.noiseless + smooth * sigma
    expected = Observation.from_nddata(drizzled).noise_correlation
    assert expected > 2
    problems = LensProblems([(drizzled, mock.lens)], **SMALL)
    np.testing.assert_allclose(problems.model(0).weights, sigma**-2.0 / expected)
    assert float(problems.batch([0]).correlation[0]) == pytest.approx(expected)


def test_maps_of_the_source_turn_with_the_problem(problems):
    batch = problems.batch([0, 2])
    model = problems.model(2)
    for quarters, mirrored in ((0, False), (1, False), (3, True)):
        turned = batch.turned(quarters, mirrored)
        mu = turned.problem._to_grid(turned.magnification())[1]
        np.testing.assert_allclose(mu, model.lensing.magnification, rtol=1e-5)
        covered = turned.problem._to_grid(turned.coverage())[1]
        np.testing.assert_allclose(covered, model.lensing.coverage, rtol=1e-5)


def test_models_are_kept_and_let_go(lenses):
    roomy, tight = LensProblems(lenses, **SMALL), LensProblems(lenses, memory=1, **SMALL)
    first = roomy.model(0)
    assert roomy.model(1) is not first
    assert roomy.model(0) is first
    first = tight.model(0)
    tight.model(1)
    again = tight.model(0)
    assert again is not first
    np.testing.assert_array_equal(again.lensing.matrix.data, first.lensing.matrix.data)
    assert len(tight._kept) == 1


def test_those_used_last_are_kept(lenses):
    problems = LensProblems(lenses, **SMALL)
    problems.model(0), problems.model(1)
    problems.memory = problems._bytes() + 1
    problems.model(0)
    problems.model(2)
    assert 0 in problems._kept
    assert 1 not in problems._kept


def test_one_lens_one_operator(tiny):
    """Other sources and noise behind one lens on one grid: a matrix is made once, the data are their own."""
    lens = SIE(theta_E=0.6 * u.arcsec, q=0.8, phi=30 * u.deg)
    mocks = [random_mock(i, lens=lens, shape=(24, 24)) for i in range(3)]
    grid = square_source_grid(Observation.from_nddata(mocks[0].observation), lens, 2, 32)
    problems = LensProblems([(m.observation, m.lens) for m in mocks], source_grid=grid)
    models = [problems.model(i) for i in range(3)]
    assert models[0].lensing is models[1].lensing is models[2].lensing
    for model, mock in zip(models, mocks, strict=True):
        np.testing.assert_array_equal(model.data, mock.observation.data)
    other = copy.copy(mocks[1].observation)
    other.psf = np.pad([[1.0]], 2)
    problems = LensProblems([(mocks[0].observation, lens), (other, lens)], source_grid=grid)
    assert problems.model(0).lensing is not problems.model(1).lensing


def test_it_goes_to_other_processes(lenses):
    problems = LensProblems(lenses, **SMALL)
    expected = problems.batch([0]).problem.white
    again = pickle.loads(pickle.dumps(problems))
    assert torch.equal(again.batch([0]).problem.white, expected)


def test_data_that_differ_have_other_fingerprints(lenses):
    prints = {LensProblems(part, **SMALL).fingerprint for part in (lenses, lenses[:5], lenses[::-1])}
    assert len(prints) == 3
    assert LensProblems(list(lenses), **SMALL).fingerprint in prints


def test_every_lens_comes_once_in_a_turn():
    n, size = 10, 3
    seen = [i for step in range(10) for i in indices_of_step(n, step, size, seed=4)]
    turns = [seen[k : k + n] for k in range(0, 30, n)]
    assert all(sorted(turn) == list(range(n)) for turn in turns)
    assert turns[0] != turns[1]
    assert indices_of_step(n, 7, size, seed=4) == seen[21:24]
    assert indices_of_step(n, 0, n, seed=5) != turns[0]


def test_processes_share_a_step():
    ranks = [indices_of_step(20, 3, 2, 1, rank, 2) for rank in range(2)]
    assert [*ranks[0], *ranks[1]] == indices_of_step(20, 3, 4, 1)


def test_random_numbers_follow_from_seed_and_step():
    draws = [float(torch.rand((), generator=seeded(*key))) for key in ((1, 2), (1, 2), (1, 3), (2, 1))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_split_off():
    train, kept = split_off(40, 0.125, 3)
    assert sorted(train + kept) == list(range(40))
    assert len(kept) == 5
    assert split_off(40, 0.125, 3) == (train, kept) != split_off(40, 0.125, 4)
    assert split_off(1, 0.125, 0) == ([0], [0])
    assert [len(part) for part in split_off(2, 0.125, 0)] == [1, 1]


class TestRefused:
    def test_nothing(self):
        with pytest.raises(ValueError, match="at least one"):
            LensProblems([])

    def test_no_sequence(self):
        with pytest.raises(TypeError, match="must be a sequence"):
            LensProblems("a directory")

    def test_something_else(self, lenses):
        with pytest.raises(TypeError, match="at 1"):
            LensProblems([lenses[0], 3])

    def test_shapes(self, tiny, lenses):
        with pytest.raises(ValueError, match=r"6 of \(24, 24\), and lens 6 of \(20, 24\)"):
            LensProblems([*lenses, *tiny.lenses(1, shape=(20, 24))])

    def test_no_psf(self, lenses):
        observation, lens, _ = lenses[1]
        bare = copy.copy(observation)
        bare.psf = None
        with pytest.raises(ObservationError, match="lens 1 has no psf"):
            LensProblems([lenses[0], (bare, lens)])
        problems = LensProblems([lenses[0], (bare, lens)], psf_required=False, **SMALL)
        assert problems.model(1).blur.pad == 0

    def test_no_lens(self, lenses):
        with pytest.raises(ValueError, match="lens 0 has no lens"):
            LensProblems([(lenses[0][0], None)])

    def test_a_lens_elsewhere_is_named(self, lenses):
        away = SIE(theta_E=90 * u.arcsec, q=0.8, phi=0 * u.deg)
        with pytest.raises(ObservationError, match="lens 1: "):
            LensProblems([lenses[0], (lenses[1][0], away)], **SMALL).model(1)


def test_a_data_set_is_not_read_to_be_looked_at(lenses):
    class Files(list):
        read = 0

        def __getitem__(self, i):
            self.read += 1
            return super().__getitem__(i)

    files = Files(lenses)
    files.names, files.shapes = [f"ring{i}" for i in range(6)], [(24, 24)] * 6
    problems = LensProblems(files, **SMALL)
    assert problems.fingerprint
    assert files.read == 0
    problems.batch([1, 2])
    assert files.read == 2
    files.shapes = [(24, 24)] * 5 + [(30, 24)]
    with pytest.raises(ValueError, match="ring5"):
        LensProblems(files)


def test_truth_of_another_factor_says_nothing(lenses):
    problems = LensProblems(lenses, factor=3, **SMALL)
    assert problems.batch([0], truth=True).truth is None
    assert not problems.has_truth
    assert LensProblems(lenses, **SMALL).has_truth
