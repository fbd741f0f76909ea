"""Losses against closed forms and numbers worked out by hand, on small matrices instead of lenses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.training import (
    DataFidelity,
    LensProblems,
    PixelSplitting,
    Recorrupted,
    Supervised,
    TotalVariationLoss,
    by_coverage,
    by_magnification,
)
from lenssuper.training.losses import Answers, hold_out, over_stages, weighted_sum

SIDE = 12
PIXELS = SIDE * SIDE


class Matrix:
    """The same matrix for every image of a stack; the finer image is the source itself."""

    def __init__(self, matrix, n):
        self.matrix = matrix
        self.in_shape = self.out_shape = (n, SIDE, SIDE)

    def forward(self, sources):
        return (sources.reshape(-1, PIXELS) @ self.matrix.T).reshape(self.out_shape)

    def adjoint(self, images):
        return (images.reshape(-1, PIXELS) @ self.matrix).reshape(self.in_shape)

    def lensed_image(self, sources):
        return sources


class Linear:
    """A network whose answers are matrices times the data; one for each stage."""

    def __init__(self, *matrices):
        self.matrices = matrices
        self.asked = []

    def stages(self, problem):
        self.asked.append(problem)
        white = problem.white.reshape(-1, PIXELS)
        return [(white @ matrix.T).reshape(problem.source_shape) for matrix in self.matrices]


def smoothing(seed, strength):
    """A matrix that mixes neighbours and differs from place to place."""
    rng = np.random.default_rng(seed)
    rows, columns = np.divmod(np.arange(PIXELS), SIDE)
    distance = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    matrix = strength * np.exp(-distance / 2.0) * rng.uniform(0.5, 1.5, (PIXELS, PIXELS))
    return torch.tensor(matrix, dtype=torch.float32)


def observed(matrix, truth, n, seed=0, used=None):
    """Many observations of one source, in noise of one."""
    rng = np.random.default_rng(seed)
    data = torch.tensor(rng.normal(size=(n, SIDE, SIDE)), dtype=torch.float32) + (matrix @ truth).reshape(
        SIDE, SIDE
    )
    weights = torch.ones(n, SIDE, SIDE)
    if used is not None:
        weights = weights * used
    return SourceProblem(Matrix(matrix, n), data * (weights > 0), weights, scale=torch.ones(n))


def batch_of(problem, **more):
    return SimpleNamespace(
        **{"problem": problem, "truth": None, "noise": torch.ones(len(problem), 1, 1)} | more
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def blur():
    return smoothing(1, 0.15)


@pytest.fixture(scope="module")
def estimator():
    return smoothing(2, 0.12)


@pytest.fixture(scope="module")
def truth():
    return torch.tensor(np.random.default_rng(3).uniform(0, 3, PIXELS), dtype=torch.float32)


def test_recorrupted_expects_the_squared_error(blur, estimator, truth):
    """For f(y) = W y: E c = (|(A W A - A) s|^2 + (1 + alpha^2) |A W|^2) / N + 1."""
    used = torch.tensor(np.random.default_rng(5).uniform(size=(SIDE, SIDE)) > 0.2)
    keep = used.flatten().float()
    n, loss = 4000, Recorrupted(alpha=0.5)
    problem = observed(blur, truth, n, used=used)
    stages, target = loss.recorrupted(Answers(Linear(estimator)), problem, generator())
    found = loss.error(target, stages[0])
    through = (keep[:, None] * blur) @ estimator * keep
    bias = keep * (through @ (blur @ truth) - blur @ truth)
    expected = float(bias.square().sum() + (1 + 0.5**2) * through.square().sum()) / float(keep.sum()) + 1
    scatter = float(found.std()) / n**0.5
    assert abs(float(found.mean()) - expected) < 4 * scatter
    # what a comparison with the same noise would be off by
    assert 2 * float(through.trace()) / float(keep.sum()) > 8 * scatter


def test_recorrupted_noise_is_where_data_are(blur, estimator, truth):
    used = torch.ones(SIDE, SIDE)
    used[:, :4] = 0
    network = Linear(estimator)
    problem = observed(blur, truth, 3, used=used)
    _, target = Recorrupted(alpha=0.7).recorrupted(Answers(network), problem, generator())
    noisier = network.asked[0].white
    assert (noisier[..., :4] == 0).all()
    assert (target.white[..., :4] == 0).all()
    noise = (noisier - problem.white)[..., 4:] / 0.7
    torch.testing.assert_close((problem.white - target.white)[..., 4:], noise / 0.7, rtol=1e-4, atol=1e-4)
    assert 0.8 < float(noise.std()) < 1.2


def test_recorrupted_loss(blur, estimator, truth):
    problem = observed(blur, truth, 5)
    network, loss = Linear(0.5 * estimator, estimator), Recorrupted(alpha=0.5)
    stages, target = loss.recorrupted(Answers(network), problem, generator(4))
    first, second = (((problem.forward(s) - target.white) ** 2).mean((1, 2)) - 4 for s in stages)
    expected = 0.5 * torch.log1p(first).mean() + torch.log1p(second).mean()
    assert float(loss(Answers(network), batch_of(problem), generator(4))) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_splitting_expects_the_squared_error(blur, estimator, truth):
    """For f(y) = W y, seen m of M: E chi2 M = |(1 - m)(A W m A - A) s|^2 + |(1 - m) A W m|^2 + M."""
    n, network, loss = 1500, Linear(estimator), PixelSplitting(share=0.3)
    problem = observed(blur, truth, n)
    value = float(loss(Answers(network), batch_of(problem), generator(6)))
    held = hold_out(problem, 0.3, generator(6))
    assert 0.28 < float(held.float().mean()) < 0.32
    chi2 = problem.chi2(network.stages(problem.without(held))[-1], held)
    assert value == pytest.approx(float(torch.log1p(chi2).mean()), rel=1e-6)
    through, clean = blur @ estimator, blur @ truth
    hidden = held.reshape(n, PIXELS).float()
    bias = hidden * (((1 - hidden) * clean) @ through.T - clean)
    variance = hidden * ((1 - hidden) @ through.square().T)
    expected = (bias.square() + variance).sum(1) / hidden.sum(1) + 1
    scatter = float((chi2 - expected).std()) / n**0.5
    assert abs(float((chi2 - expected).mean())) < 4 * scatter
    # a network that has seen the pixels seems better by more than can be overlooked
    seen = problem.chi2(network.stages(problem)[-1], held)
    assert float((chi2 - seen).mean()) > 20 * scatter


def test_splitting_hides_the_pixels(blur, estimator, truth):
    network = Linear(estimator)
    problem = observed(blur, truth, 2)
    PixelSplitting(share=0.5)(Answers(network), batch_of(problem), generator(1))
    (asked,) = network.asked
    held = hold_out(problem, 0.5, generator(1))
    assert not asked.used[held].any()
    assert asked.used[~held].all()
    assert (asked.white[held] == 0).all()


def test_chi2(blur, estimator, truth):
    used = torch.ones(SIDE, SIDE)
    used[2:5, 3:7] = 0
    problem = observed(blur, truth, 4, used=used)
    network = Linear(estimator, 2 * estimator)
    found = float(DataFidelity()(Answers(network), batch_of(problem), generator()))
    per_stage = []
    for factor in (1, 2):
        chi2 = []
        for white in problem.white.numpy():
            model = blur.numpy() @ (factor * estimator.numpy() @ white.ravel())
            residual = (model.reshape(SIDE, SIDE) - white)[used.numpy() > 0]
            chi2.append(np.mean(residual**2))
        per_stage.append(np.mean(np.log1p(chi2)))
    assert found == pytest.approx(0.5 * per_stage[0] + per_stage[1], rel=1e-4)


def test_chi2_with_a_weight_over_the_source(blur, estimator, truth):
    problem, network = observed(blur, truth, 2), Linear(estimator)
    weight = torch.tensor(np.random.default_rng(8).uniform(0, 2, (2, SIDE, SIDE)), dtype=torch.float32)
    found = float(DataFidelity(by=lambda batch: weight)(Answers(network), batch_of(problem), generator()))
    expected = []
    for white, w in zip(problem.white.numpy(), weight.numpy(), strict=True):
        share = (blur.numpy() @ w.ravel()) / blur.numpy().sum(1)
        residual = blur.numpy() @ estimator.numpy() @ white.ravel() - white.ravel()
        expected.append(np.log1p((share * residual**2).sum() / share.sum()))
    assert found == pytest.approx(np.mean(expected), rel=1e-4)
    flat = DataFidelity(by=lambda batch: torch.full((2, SIDE, SIDE), 3.0))
    plain = float(DataFidelity()(Answers(network), batch_of(problem), generator()))
    assert float(flat(Answers(network), batch_of(problem), generator())) == pytest.approx(plain, rel=1e-5)


class Given:
    """A network that gives what it was told to."""

    def __init__(self, *sources):
        self.sources = sources

    def stages(self, problem):
        return list(self.sources)


def test_total_variation_of_one_bright_pixel(blur, truth):
    """It slopes both ways itself, and so do the pixels above and left of it: (2 + sqrt 2) of its height."""
    source = torch.zeros(1, SIDE, SIDE)
    source[0, 5, 7] = 10
    batch = batch_of(observed(blur, truth, 1))
    found = float(TotalVariationLoss()(Answers(Given(source)), batch, generator()))
    assert found == pytest.approx(10 * (2 + 2**0.5) / PIXELS, rel=1e-3)
    weight = torch.ones(1, SIDE, SIDE)
    weight[0, 5, 7] = 0
    weighted = TotalVariationLoss(by=lambda batch: weight)(Answers(Given(source)), batch, generator())
    assert float(weighted) == pytest.approx(20 / (PIXELS - 1), rel=1e-3)


def test_total_variation_has_a_gradient_where_it_is_flat(blur, truth):
    source = torch.ones(1, SIDE, SIDE, requires_grad=True)
    TotalVariationLoss()(Answers(Given(source)), batch_of(observed(blur, truth, 1)), generator()).backward()
    assert (source.grad == 0).all()


def test_total_variation_takes_what_others_have_found(blur, estimator, truth):
    network, problem = Linear(estimator), observed(blur, truth, 2)
    losses = [TotalVariationLoss(weight=0.1), PixelSplitting()]
    total, values = weighted_sum(losses, network, batch_of(problem), generator())
    assert len(network.asked) == 1
    assert list(values) == ["split", "tv"]
    assert float(total) == pytest.approx(float(values["split"] + 0.1 * values["tv"]))
    sources = network.stages(network.asked[0])
    alone = TotalVariationLoss()(Answers(Given(*sources)), batch_of(problem), generator())
    assert float(values["tv"]) == pytest.approx(float(alone))


def test_supervised(blur, truth):
    images = torch.tensor(np.random.default_rng(1).uniform(0, 2, (2, SIDE, SIDE)), dtype=torch.float32)
    batch = batch_of(observed(blur, truth, 2), truth=images)
    found = Supervised()(Answers(Given(images + 0.1, images + 0.02)), batch, generator())
    peaks = images.amax((1, 2)).numpy()
    expected = sum(
        share * np.mean(np.log((by / peaks) ** 2 + 1e-6)) for share, by in ((0.5, 0.1), (1.0, 0.02))
    )
    assert float(found) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="needs true images"):
        Supervised()(Answers(Given(images)), batch_of(observed(blur, truth, 2)), generator())


def test_later_stages_count_more():
    values = [torch.tensor([1.0, 3.0]), torch.tensor([10.0, 30.0]), torch.tensor([100.0, 300.0])]
    assert float(over_stages(values)) == 0.25 * 2 + 0.5 * 20 + 200


@pytest.mark.parametrize("loss", [PixelSplitting(), Recorrupted()])
def test_what_is_random_comes_from_the_generator(blur, estimator, truth, loss):
    problem, network = observed(blur, truth, 2), Linear(estimator)
    values = [float(loss(Answers(network), batch_of(problem), generator(seed))) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_gradients_reach_the_network(lenses, tiny):
    network = tiny.network()
    batch = LensProblems(lenses, source_pixels=32).batch([0, 1], truth=True).turned(1, True)
    by = {"by": by_magnification}, {"by": by_coverage}
    for loss in (
        DataFidelity(**by[0]),
        PixelSplitting(),
        Recorrupted(),
        TotalVariationLoss(**by[1]),
        Supervised(),
    ):
        network.zero_grad()
        loss(Answers(network), batch, generator()).backward()
        assert all(p.grad.abs().max() > 0 for p in network.parameters()), loss.name


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PixelSplitting(share=1.0), r"share must lie in \(0, 1\)"),
        (lambda: PixelSplitting(share=0), r"share must lie in \(0, 1\)"),
        (lambda: Recorrupted(alpha=0), "positive"),
    ],
)
def test_settings_that_make_no_sense(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_settings_can_be_written_down():
    assert DataFidelity(weight=2, by=by_coverage).config == {"weight": 2, "by": "by_coverage"}
    assert Recorrupted().config == {"weight": 1.0, "alpha": 0.5}
