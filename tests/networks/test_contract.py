"""What every network must do, whatever is inside it."""

from __future__ import annotations

import json

import pytest
import torch

from lenssuper import ForwardModelBatch
from lenssuper.networks import (
    PlainUNet,
    ResidualCNN,
    SourceNetwork,
    SourceProblem,
    Unrolled,
    WindowTransformer,
)
from lenssuper.networks.weights import architectures, read_network, write_network

SMALL = {
    "cnn-1": (ResidualCNN, {"n_blocks": 2, "channels": 6}),
    "unet-1": (PlainUNet, {"widths": [4, 6, 8]}),
    "transformer-1": (WindowTransformer, {"n_blocks": 2, "channels": 8, "heads": 2}),
    "unrolled-1": (Unrolled, {"n_stages": 2, "cg_steps": 4, "cg_steps_used": 6, "widths": [4, 6]}),
}
SHAPES = [(24, 24), (17, 26), (33, 9)]


def awake(name, seed=0):
    """A small network all of whose layers do something, which those of a new one do not."""
    kind, config = SMALL[name]
    torch.manual_seed(seed)
    network = kind(**config)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.03 * torch.randn_like(parameter)
    return network.eval()


@pytest.fixture(params=SMALL)
def name(request):
    return request.param


def test_all_are_tested_here():
    own = {n: kind for n, kind in architectures().items() if kind.__module__.startswith("lenssuper.networks")}
    assert own == {n: kind for n, (kind, _) in SMALL.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_positive_answers_of_any_size(name, problem_of, shape):
    network, problem = awake(name), problem_of(shape)
    assert isinstance(network, SourceNetwork)
    for network_mode in (network.train(), network.eval()):
        stages = network_mode.stages(problem)
        for source in stages:
            assert source.shape == (3, *shape)
            assert source.dtype == torch.float32
            assert torch.isfinite(source).all()
            assert (source > 0).all()
    assert torch.equal(network(problem), stages[-1])


def test_a_new_one_explains_the_data(name, problem_of):
    """Before it has learned anything, the answer is a sensible one."""
    problem = problem_of((40, 40))
    with torch.no_grad():
        source = SMALL[name][0]().eval()(problem)
    dark = problem.chi2(torch.zeros_like(source))
    assert (problem.chi2(source) < 0.1 * dark).all()
    assert (problem.chi2(source) < 3).all()


def test_lenses_do_not_see_each_other(name, problem_of):
    """Whatever is seen of the others, the answer for one stays the same."""
    network, problem = awake(name), problem_of((17, 26))
    with torch.no_grad():
        before = network(problem)
        for i in range(3):
            others = 30 * torch.randn(problem.white.shape, generator=torch.Generator().manual_seed(i))
            others[i] = problem.white[i]
            after = network(problem.with_white(others))
            torch.testing.assert_close(after[i], before[i], rtol=1e-5, atol=1e-6)
            assert (after - before).abs().amax((-2, -1)).gt(0.01).sum() == 2


def test_written_and_read(name, problem_of, tmp_path):
    network, problem = awake(name), problem_of((17, 26))
    assert network.architecture == name
    assert json.loads(json.dumps(network.config)) == SMALL[name][1]
    write_network(tmp_path / "net.safetensors", network, {"data": {"lenses": 3}})
    again = read_network(tmp_path / "net.safetensors")
    assert type(again) is type(network)
    assert again.config == network.config
    with torch.no_grad():
        assert torch.equal(again(problem), network(problem))


def test_gradients_reach_every_weight(name, problem_of):
    network, problem = awake(name).train(), problem_of((33, 9))
    sum(problem.chi2(source).log().mean() for source in network.stages(problem)).backward()
    for weight, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert weight.startswith("linear."), f"{weight} is not learned"
            continue
        assert parameter.grad is not None, weight
        assert torch.isfinite(parameter.grad).all(), weight
        assert parameter.grad.abs().max() > 0, weight


def test_a_prior_beyond_its_limits_can_learn_its_way_back(problem_of):
    """A U-Net whose maps are beyond their limits in all pixels, as after bad steps, still has gradients."""
    network, problem = awake("unrolled-1").train(), problem_of((33, 9))
    bias = network.unet.last.bias
    with torch.no_grad():  # mean, standard deviation, tilt: four neighbouring pixels of each
        bias.copy_(torch.tensor([-20.0, -9.0, -9.0]).repeat_interleave(4))
    sum(problem.chi2(source).log().mean() for source in network.stages(problem)).backward()
    mean, std, _ = bias.grad.reshape(3, 4)
    assert (mean < 0).all()  # descent raises a source that is too faint
    assert (std < 0).all()


def test_all_in_single_precision(name):
    assert {tensor.dtype for tensor in awake(name).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("kind", ["blank", "dark", "bright", "masked", "one pixel", "hidden"])
def test_difficult_data(name, models, kind):
    """Nothing is infinite, and gradients are not either."""
    batch = ForwardModelBatch(models((17, 26)))
    data, weights = torch.tensor(batch.data).float(), torch.tensor(batch.weights).float()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(data.shape, generator=generator)
    data, weights = {
        "blank": (torch.zeros_like(data), weights),
        "dark": (noise / weights.clamp(min=1e-9).sqrt() * (weights > 0), weights),
        "bright": (1e6 * data, weights),
        "masked": (data, weights * (torch.rand(data.shape, generator=generator) < 0.05)),
        "one pixel": (data, weights * (data == data.amax((-2, -1), keepdim=True))),
        "hidden": (data, weights),
    }[kind]
    problem = SourceProblem(batch, data * (weights > 0), weights)
    if kind == "hidden":
        problem = problem.without(torch.ones_like(problem.used))
    network = awake(name).train()
    source = network(problem)
    assert torch.isfinite(source).all()
    assert (source > 0).all()
    torch.log1p(problem.chi2(source)).sum().backward()
    for weight, parameter in network.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), weight


def test_seen_from_another_side(name, problem_of):
    network, problem = awake(name), problem_of((17, 26))
    with torch.no_grad():
        upright = problem.chi2(network(problem))
        for quarters, mirrored in [(0, True), (1, False), (2, True), (3, True)]:
            turned = problem.turned(quarters, mirrored)
            source = network(turned)
            assert source.shape == turned.source_shape
            # it fits the same data, about as well
            ratio = turned.chi2(source) / upright
            assert ((ratio > 0.3) & (ratio < 3)).all()


def test_unit_of_the_data_does_not_matter(name, models):
    network, batch = awake(name), ForwardModelBatch(models((24, 24)))
    data, weights = torch.tensor(batch.data).float(), torch.tensor(batch.weights).float()
    with torch.no_grad():
        one = network(SourceProblem(batch, data, weights))
        other = network(SourceProblem(batch, 1024 * data, weights / 1024**2))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        (ResidualCNN, {"n_blocks": 0}, "n_blocks must be at least 1; got 0"),
        (ResidualCNN, {"channels": -2}, "channels must be at least 1"),
        (WindowTransformer, {"heads": 0}, "heads must be at least 1"),
        (
            WindowTransformer,
            {"channels": 10, "heads": 4},
            "channels must be a multiple of heads; got 10 and 4",
        ),
        (Unrolled, {"n_stages": 0}, "n_stages must be at least 1"),
    ],
)
def test_bad_settings(kind, config, words):
    with pytest.raises(ValueError, match=words):
        kind(**config)
