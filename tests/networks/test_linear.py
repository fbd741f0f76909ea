"""The linear solution, and what the networks that start from it make of it; windows of the transformer."""

from __future__ import annotations

import pytest
import torch

from lenssuper.networks import PlainUNet, ResidualCNN, WindowTransformer
from lenssuper.networks.features import Features
from lenssuper.networks.learnedparts import CorrelatedField
from lenssuper.networks.linear import LinearSolution
from lenssuper.networks.transformer import WindowBlock, _unwindowed, _windows

SHAPE = (11, 14)


def dense_forward(problem):
    """The matrices (n, pixels, source pixels) of a problem."""
    n, ny, nx = problem.source_shape
    columns = []
    for k in range(ny * nx):
        unit = torch.zeros(n, ny * nx)
        unit[:, k] = 1.0
        columns.append(problem.forward(unit.reshape(n, ny, nx)).flatten(1))
    return torch.stack(columns, dim=-1).double()


def test_is_the_dense_solution(problem_of):
    problem = problem_of(SHAPE)
    solution = LinearSolution(steps=150, slope=4.0, length=0.3)
    found = solution(problem, Features.of(problem).weight)
    strength = solution.strength(problem).double()
    forward, size = dense_forward(problem), SHAPE[0] * SHAPE[1]
    with torch.no_grad():
        field = solution.field(torch.eye(size).reshape(size, *SHAPE)).reshape(size, size).double()
    for i in range(3):
        covariance = strength[i] ** 2 * field @ field.T
        # the same posterior mean, in the space of the data
        gain = forward[i] @ covariance @ forward[i].T + torch.eye(forward.shape[1])
        expected = covariance @ forward[i].T @ torch.linalg.solve(gain, problem.white[i].flatten().double())
        error = (found[i].double() - expected.reshape(SHAPE)).abs().max()
        assert error < 1e-2 * expected.abs().max()
        assert not torch.allclose(found[i], found[i].clamp(min=0)), "a linear solution has negative pixels"


def test_thirty_steps_are_enough(usual_problem):
    """Where there are data: what is left is a tenth of the noise."""
    problem, weight = usual_problem, Features.of(usual_problem).weight
    few, many = (LinearSolution(steps=steps)(problem, weight) for steps in (30, 200))
    left = problem.forward(few - many).square().mean((-2, -1)).sqrt()
    assert (left < 0.1).all()
    assert (problem.forward(many).square().mean((-2, -1)).sqrt() > 3).all()


@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_strength_is_that_of_the_sources(problem_of, strength):
    """Of fields drawn from the prior; they are smooth, as the estimate takes them to be."""
    problem, field = problem_of((24, 24)), CorrelatedField(5.0, 0.3)
    generator, found = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        for _ in range(60):
            sources = strength * field(torch.randn(problem.source_shape, generator=generator))
            noise = torch.randn(problem.white.shape, generator=generator)
            again = problem.with_white(problem.forward(sources) + noise)
            found.append(LinearSolution.strength(again).flatten() ** 2)
    mean = torch.stack(found).mean().sqrt()
    assert 0.8 * strength < mean < 1.2 * strength


def test_strength_of_noise_is_that_of_the_faintest(problem_of):
    problem = problem_of((24, 24))
    blank = problem.with_white(torch.zeros_like(problem.white))
    assert (LinearSolution.strength(blank) == 0.03).all()
    assert (LinearSolution()(blank, Features.of(blank).weight) == 0).all()


def test_nothing_in_it_is_learned(problem_of):
    problem, solution = problem_of((24, 24)), LinearSolution()
    assert not any(parameter.requires_grad for parameter in solution.parameters())
    assert not solution(problem, Features.of(problem).weight).requires_grad


@pytest.mark.parametrize("kind", [ResidualCNN, PlainUNet, WindowTransformer])
def test_a_new_network_gives_the_linear_solution(kind, problem_of):
    problem, network = problem_of((17, 26)), kind()
    with torch.no_grad():
        linear = network.linear(problem, Features.of(problem).weight)
        source = network(problem)
    bright = linear > 0.05
    assert bright.any()
    torch.testing.assert_close(source[bright], linear[bright], rtol=1e-3, atol=1e-4)
    assert source[linear < -0.05].max() < 0.001


def test_sizes():
    """As the user guide has them."""
    counts = {
        kind.__name__: sum(p.numel() for p in kind().parameters() if p.requires_grad)
        for kind in (ResidualCNN, PlainUNet, WindowTransformer)
    }
    assert all(3e5 < count < 8e5 for count in counts.values()), counts


def test_windows_there_and_back():
    tokens = torch.arange(2 * 16 * 24 * 3.0).reshape(2, 16, 24, 3)
    windows = _windows(tokens)
    assert windows.shape == (2 * 2 * 3, 64, 3)
    assert torch.equal(windows[4], tokens[0, 8:, 8:16].reshape(64, 3))
    assert torch.equal(windows[6], tokens[1, :8, :8].reshape(64, 3))
    assert torch.equal(_unwindowed(windows, tokens.shape), tokens)


def reached(block, row, column):
    """Which tokens (24, 24) the answer for one depends on."""
    torch.manual_seed(0)
    tokens = torch.randn(1, 24, 24, 8, requires_grad=True)
    block(tokens)[0, row, column].sum().backward()
    return tokens.grad[0].abs().sum(-1) > 0


def test_attention_stays_in_its_window():
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[8:16, :8] = True
    assert torch.equal(reached(WindowBlock(8, 2, 0), 9, 3), expected)


def test_shifted_windows_cross_borders_and_do_not_wrap_round():
    block = WindowBlock(8, 2, 4)
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[4:12, 12:20] = True
    assert torch.equal(reached(block, 9, 13), expected)
    for row, column in [(1, 2), (22, 2), (1, 22), (22, 22)]:
        expected = torch.zeros(24, 24, dtype=torch.bool)
        expected[
            (slice(0, 4) if row < 4 else slice(20, 24)), (slice(0, 4) if column < 4 else slice(20, 24))
        ] = True
        assert torch.equal(reached(block, row, column), expected)


def test_attention_knows_where_a_token_is():
    """A bias for the token to the right makes its value come through."""
    block = WindowBlock(4, 1, 0)
    with torch.no_grad():
        block.bias[0, 7, 6] = 50.0  # same row, one column on
        block.asked.weight.zero_()
        block.asked.bias.zero_()
        block.asked.weight[8:] = torch.eye(4)
        block.attended.weight.copy_(torch.eye(4))
        tokens = torch.randn(1, 8, 8, 4)
        found = block._attention(tokens)
    torch.testing.assert_close(found[:, :, :-1], tokens[:, :, 1:])
