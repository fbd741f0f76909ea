"""A trained network answers in numpy as it does in torch, and files that do not fit are refused."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch

from lenssuper import ForwardModelBatch
from lenssuper.exceptions import FileFormatError
from lenssuper.networks import SourceProblem, Unrolled, draws
from lenssuper.networks.arraynetwork import ArrayNetwork
from lenssuper.networks.arrays import padded, pixel_shuffle, pixel_unshuffle, silu
from lenssuper.networks.logprior import LogPrior
from lenssuper.networks.turns import turned, turned_back
from lenssuper.networks.weights import write_network

SHAPES = [(24, 24), (17, 26), (33, 9)]


@pytest.fixture(scope="module")
def network():
    """A small network all of whose layers do something."""
    torch.manual_seed(0)
    made = Unrolled(n_stages=2, cg_steps=4, cg_steps_used=4, widths=(4, 6, 8))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return made.eval()


@pytest.fixture(scope="module")
def exact(network):
    """The network in double precision, in torch and in numpy."""
    double = copy.deepcopy(network).double()
    return double, arrays_of(double)


def arrays_of(network):
    return ArrayNetwork(network.config, {name: v.numpy() for name, v in network.state_dict().items()})


@pytest.fixture(scope="module")
def arrays(network):
    return arrays_of(network)


@pytest.fixture(params=SHAPES)
def problems(request, models):
    """The same problem of tensors and of arrays, in double precision."""
    batch = ForwardModelBatch(models(request.param))
    tensors = SourceProblem(batch, torch.tensor(batch.data), torch.tensor(batch.weights))
    return tensors, SourceProblem(batch, batch.data, batch.weights)


def close(found, expected, rtol=1e-10):
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    expected = expected.numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max())


def test_problems_are_the_same(problems):
    tensors, arrays = problems
    close(arrays.white, tensors.white)
    close(arrays.scale, tensors.scale)
    source = np.random.default_rng(0).random(arrays.source_shape)
    close(arrays.forward(source), tensors.forward(torch.tensor(source)))
    close(arrays.chi2(source), tensors.chi2(torch.tensor(source)))
    close(arrays.adjoint(arrays.white), tensors.adjoint(tensors.white))
    close(arrays.coverage(), tensors.coverage())
    some = np.random.default_rng(1).random(arrays.white.shape) < 0.2
    fewer = arrays.without(some)
    np.testing.assert_array_equal(fewer.used, arrays.used & ~some)
    close(fewer.white, tensors.without(torch.tensor(some)).white)


def test_in_single_precision(models):
    batch = ForwardModelBatch(models((17, 26)))
    arrays, tensors = SourceProblem.of(batch, device=None), SourceProblem.of(batch)
    for name in ("white", "scale"):
        found = getattr(arrays, name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, getattr(tensors, name).numpy())
    source = np.ones(arrays.source_shape, np.float32)
    for found in (arrays.forward(source), arrays.chi2(source), arrays.coverage(), arrays.ones()):
        assert found.dtype == np.float32


def test_answers_are_those_of_torch(exact, problems):
    with torch.no_grad():
        expected, prior = exact[0].answer(problems[0])
    found, found_prior = exact[1].answer(problems[1])
    close(found, expected, 1e-6)
    close(found_prior.mean, prior.mean, 1e-6)
    close(found_prior.std, prior.std, 1e-6)
    close(found_prior.slope, prior.slope, 1e-6)
    assert found_prior.length == pytest.approx(float(prior.length), rel=1e-9)


def test_answers_in_single_precision(network, arrays, models):
    batch = ForwardModelBatch(models((24, 24)))
    with torch.no_grad():
        expected = network(SourceProblem.of(batch)).numpy()
    found, prior = arrays.answer(SourceProblem.of(batch, device=None))
    for each in (found, prior.mean, prior.std, prior.slope):
        assert each.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * expected.max())


def test_draws_are_those_of_torch(exact, problems, monkeypatch):
    # each step of conjugate gradients multiplies the rounding, until they converge
    monkeypatch.setattr(draws, "_STEPS", 4)
    with torch.no_grad():
        source, prior = exact[0].answer(problems[0])
    rng = np.random.default_rng(0)
    noise, white = rng.standard_normal(problems[1].white.shape), rng.standard_normal(source.shape)
    expected = draws.LogPosterior(problems[0], source, prior).deviations(
        torch.tensor(noise), torch.tensor(white)
    )
    plain = LogPrior(*(part.numpy() for part in (prior.mean, prior.std, prior.slope, prior.length)))
    close(draws.LogPosterior(problems[1], source.numpy(), plain).deviations(noise, white), expected, 1e-6)


def test_the_network_comes_back(network, arrays):
    again = arrays.in_torch()
    assert type(again) is Unrolled
    assert again.config == network.config
    assert again.fingerprint == network.fingerprint == arrays.fingerprint
    assert arrays.fingerprint in repr(arrays)


def test_small_functions():
    images = np.random.default_rng(0).normal(size=(2, 8, 4, 6)).astype(np.float32)
    tensors = torch.tensor(images)
    np.testing.assert_array_equal(pixel_shuffle(images), torch.pixel_shuffle(tensors, 2).numpy())
    np.testing.assert_array_equal(pixel_unshuffle(images), torch.pixel_unshuffle(tensors, 2).numpy())
    wider = torch.nn.functional.pad(tensors, (0, 3, 0, 2), mode="replicate").numpy()
    np.testing.assert_array_equal(padded(images, 2, 3), wider)
    np.testing.assert_array_equal(padded(tensors, 2, 3).numpy(), wider)
    extremes = np.array([-200, -1, 0, 1, 200], dtype=np.float32)
    np.testing.assert_allclose(silu(extremes), silu(torch.tensor(extremes)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turns(quarters, mirrored):
    images = np.arange(24).reshape(2, 3, 4)
    expected = np.rot90(images[..., ::-1] if mirrored else images, quarters, (1, 2))
    np.testing.assert_array_equal(turned(images, quarters, mirrored), expected)
    np.testing.assert_array_equal(turned(torch.tensor(images), quarters, mirrored).numpy(), expected)
    np.testing.assert_array_equal(turned_back(expected, quarters, mirrored), images)


@pytest.mark.parametrize(
    ("config", "weights", "words"),
    [
        ({"n_stages": 3}, {}, "does not fit.*stage has the shape"),
        ({"widths": [4, 6]}, {}, "does not fit"),
        ({"widths": [10**7, 10**7]}, {}, "does not fit"),
        ({"widths": None}, {}, "settings that make no Unrolled"),
        ({"n_stages": 0}, {}, "settings that make no Unrolled"),
        ({"cg_steps_used": "x"}, {}, "settings that make no Unrolled"),
        ({}, {"keep": np.full(2, np.inf, np.float32)}, "not finite: keep"),
        ({}, {"more": np.zeros(3, np.float32)}, "does not fit.*more has the shape"),
    ],
)
def test_what_does_not_fit_is_refused(arrays, config, weights, words):
    with pytest.raises(FileFormatError, match=words):
        ArrayNetwork(arrays.config | config, arrays.weights | weights, "net.safetensors")
    with pytest.raises(FileFormatError, match="settings"):
        ArrayNetwork(None, arrays.weights)
    with pytest.raises(FileFormatError, match="does not fit"):
        ArrayNetwork(arrays.config, {})


def test_a_file_answers_without_torch(network, tmp_path):
    """Its import takes longer than an answer."""
    path = tmp_path / "net.safetensors"
    write_network(path, network, {})
    code = f"""
import sys
from lenssuper import SuperResolver
from lenssuper.simulate import random_mock
from lenssuper.solvers import NetworkSolver
mock = random_mock(0, shape=(24, 24))
solver = NetworkSolver.read({str(path)!r}, n_draws=2)
SuperResolver(mock.lens, solver=solver, progress=False)(mock.observation)
assert "torch" not in sys.modules
assert type(solver.network).__name__ == "Unrolled"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
