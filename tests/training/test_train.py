"""Training: it learns, it can be repeated, the best average is kept, and what is wrong stops it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from lenssuper.exceptions import LensSuperError, LensSuperWarning
from lenssuper.networks.weights import read_card, read_network
from lenssuper.training import (
    DataFidelity,
    LensProblems,
    Loss,
    PixelSplitting,
    Supervised,
    TotalVariationLoss,
)
from lenssuper.training.scores import evaluate
from lenssuper.training.train import checkpoint_path, train

pytest.importorskip("lightning")
pytestmark = pytest.mark.usefixtures("one_model_each")

SMALL = {"source_pixels": 32, "batch_size": 2, "check_every": 4, "accelerator": "cpu", "progress": False}


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def patched(monkeypatch, name, function):
    """Put a function around one of the module's, which gets it as its first argument."""
    from lenssuper.training import module

    before = getattr(module.TrainingModule, name)
    monkeypatch.setattr(module.TrainingModule, name, lambda *args, **more: function(before, *args, **more))


@pytest.mark.filterwarnings("ignore:the held-out chi-square rose")  # it learns fast
def test_it_learns(lenses, tiny):
    """Chi-square of pixels that are not shown falls far, and so does the error of what is not measured."""
    network = tiny.network(channels=6)
    before = evaluate(network, LensProblems(lenses, source_pixels=32))
    result = train(network, lenses, steps=60, **SMALL | {"check_every": 20, "learning_rate": 2e-2})
    after = evaluate(result.network, LensProblems(lenses, source_pixels=32))
    assert after["held_out_chi2"] < 0.4 * before["held_out_chi2"]
    assert after["psnr"] > before["psnr"] + 2
    assert [check["step"] for check in result.history] == [20, 40, 60]
    assert result.finished
    assert result.network is not network
    assert not result.network.training


def test_the_seed_decides(lenses, tiny):
    network = tiny.network()
    before, state = weights(network), torch.get_rng_state()
    results = [train(network, lenses, steps=3, seed=seed, **SMALL) for seed in (1, 1, 2)]
    found = [weights(result.network) for result in results]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(weights(network), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_file_and_card(lenses, tiny, tmp_path):
    output = tmp_path / "net.safetensors"
    losses = [PixelSplitting(share=0.2), TotalVariationLoss(weight=0.01)]
    more = {"command": "lenssuper train here", "data": {"set": "mocks"}}
    result = train(tiny.network(), lenses, losses=losses, output=output, steps=2, card=more, **SMALL)
    assert torch.equal(weights(read_network(output)), weights(result.network))
    card = read_card(output)
    assert card == result.card
    assert card["loss"] == {"split": {"weight": 1.0, "share": 0.2}, "tv": {"weight": 0.01}}
    assert card["data"]["set"] == "mocks"
    assert card["data"]["lenses"] + card["data"]["validation lenses"] == 6
    assert card["training"]["steps"] == 2
    assert set(card["scores"]) == {"held_out_chi2", "chi2", "psnr", "psnr_cubic"}
    text = (tmp_path / "net.md").read_text()
    for words in ("`tiny-1`", "lenssuper train here", "split: weight 1, share 0.2", "torch: ", "psnr cubic"):
        assert words in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.md", "net.safetensors"]


def test_scores_are_those_of_the_validation_lenses(lenses, tiny):
    result = train(tiny.network(), lenses[:4], validation=lenses[4:], steps=1, **SMALL)
    problems = LensProblems(lenses[4:], source_pixels=32)
    expected = evaluate(result.network, problems, batch_size=2)
    assert result.card["scores"] == {name: round(value, 4) for name, value in expected.items()}
    assert result.history[-1]["held_out_chi2"] == pytest.approx(expected["held_out_chi2"], rel=1e-5)
    cubic = []
    for i in range(2):
        batch = problems.batch([i], truth=True)
        fine = batch.data[0].numpy().astype(float)
        place = (np.arange(32) + 0.5) / 2 - 0.5
        from scipy.ndimage import map_coordinates

        image = map_coordinates(fine, np.meshgrid(place, place, indexing="ij"), order=3, mode="nearest")
        truth = batch.truth[0].numpy()
        cubic.append(10 * np.log10(truth.max() ** 2 / np.mean((image - truth) ** 2)))
    assert expected["psnr_cubic"] == pytest.approx(np.mean(cubic), abs=1e-3)


def test_the_average_of_the_weights_is_what_is_kept(lenses, tiny, monkeypatch):
    """a_k = keep a_(k-1) + (1 - keep) w_k with keep = k / (k + 20)."""
    seen = []

    def record(before, module, *args):
        before(module, *args)
        seen.append(weights(module.network))

    patched(monkeypatch, "on_train_batch_end", record)
    network = tiny.network()
    result = train(network, lenses, steps=4, learning_rate=1e-2, **SMALL)
    mean = weights(network)
    for k, value in enumerate(seen, 1):
        mean = k / (k + 20) * mean + 20 / (k + 20) * value
    torch.testing.assert_close(weights(result.network), mean, rtol=0, atol=1e-6)
    assert not torch.allclose(weights(result.network), seen[-1], rtol=0, atol=1e-5)


def test_the_best_is_kept_and_nothing_better_is_waited_for(lenses, tiny, monkeypatch):
    from lenssuper.training import module

    scores, seen = iter([3.0, 1.0, 2.0, 1.5, 0.1, 0.1]), []

    def check(network, batch, *, seed, number):
        seen.append(weights(network))
        return torch.full((len(batch),), next(scores))

    monkeypatch.setattr(module, "held_out_chi2", check)
    options = SMALL | {"check_every": 2}
    with pytest.warns(LensSuperWarning, match="rose well above its least value"):
        result = train(tiny.network(), lenses, steps=30, patience=2, validation=lenses[:1], **options)
    assert [check["held_out_chi2"] for check in result.history] == [3.0, 1.0, 2.0, 1.5]
    assert torch.equal(weights(result.network), seen[1])
    assert result.card["training"]["best_step"] == 4
    assert result.finished


def test_a_setback_leads_back_to_the_best_weights(lenses, tiny, monkeypatch):
    """The next steps start from them, with half the rate, which rises from zero again."""
    from lenssuper.training import module

    scores, rates, starts, seen = iter([1.5, 1.0, 1.04, 1.3, float("nan"), 0.9]), [], [], []

    def check(network, batch, *, seed, number):
        seen.append(weights(network))
        return torch.full((len(batch),), next(scores))

    def step(before, self, *args):
        starts.append(weights(self.network))
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return before(self, *args)

    monkeypatch.setattr(module, "held_out_chi2", check)
    patched(monkeypatch, "training_step", step)
    options = SMALL | {"check_every": 2, "learning_rate": 1e-2, "steps": 12}
    with pytest.warns(LensSuperWarning, match=r"1\.3 at step 8, nan at step 10; .* half the learning rate"):
        result = train(tiny.network(), lenses, validation=lenses[:1], **options)
    assert torch.equal(starts[8], seen[1])
    assert torch.equal(starts[10], seen[1])
    assert not torch.equal(starts[6], seen[1])  # 4% more is no setback
    cosine = [(1 + np.cos(np.pi * k / 12)) / 2 for k in range(12)]
    rise = [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1, 0.25, 0.5]
    np.testing.assert_allclose(
        rates, [1e-2 * r / 30 * c for r, c in zip(rise, cosine, strict=True)], rtol=1e-6
    )
    assert torch.equal(weights(result.network), seen[5])
    assert result.card["training"]["setbacks"] == 2


def test_the_rate_rises_and_falls():
    from lenssuper.training.module import Schedule

    schedule = Schedule(1000, 4, 1e-3, 0, 50, None)
    assert schedule.rate(0) == pytest.approx(1 / 30, rel=1e-3)
    assert schedule.rate(29) == pytest.approx(1, abs=0.01)
    assert schedule.rate(500) == pytest.approx(0.5)
    assert schedule.rate(999) < 1e-5
    assert schedule.rate(1000) == 0


def test_workers_change_nothing(lenses, tiny):
    found = [weights(train(tiny.network(), lenses, steps=5, workers=n, **SMALL).network) for n in (0, 1)]
    assert torch.equal(*found)


def test_operators_are_in_full_precision_in_any_case(lenses, tiny):
    problem = LensProblems(lenses, source_pixels=32).batch([0, 1]).problem
    sources = torch.rand(2, 32, 32)
    expected = problem.forward(sources), problem.adjoint(problem.white), problem.lensed_image(sources)
    with torch.autocast("cpu", torch.bfloat16):
        found = problem.forward(sources), problem.adjoint(problem.white), problem.lensed_image(sources)
        assert problem.forward(sources.bfloat16()).dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_mixed_precision_runs(lenses, tiny):
    found = {
        precision: train(tiny.network(), lenses, steps=3, precision=precision, **SMALL)
        for precision in ("32-true", "bf16-mixed")
    }
    full, mixed = (weights(result.network) for result in found.values())
    assert not torch.equal(full, mixed)
    torch.testing.assert_close(full, mixed, rtol=0.05, atol=0.01)
    scores = [result.card["scores"]["held_out_chi2"] for result in found.values()]
    assert scores[0] == pytest.approx(scores[1], rel=0.05)


def test_supervised_gets_the_truth(lenses, tiny):
    result = train(tiny.network(), lenses, losses=[Supervised()], steps=2, **SMALL)
    assert np.isfinite(result.history[-1]["sup"])
    bare = [lens[:2] for lens in lenses]
    with pytest.raises(ValueError, match="needs true images"):
        train(tiny.network(), bare, losses=[Supervised()], steps=2, **SMALL)


@dataclass(frozen=True)
class Broken(Loss):
    name: ClassVar[str] = "broken"

    def __call__(self, network, batch, generator):
        return network.stages(batch.problem)[-1].mean() * float("nan")


@dataclass(frozen=True)
class Torn(Loss):
    """Finite, but not its gradient."""

    name: ClassVar[str] = "torn"

    def __call__(self, network, batch, generator):
        found = network.stages(batch.problem)[-1].mean()
        return torch.sqrt(found - found.detach())


def test_a_loss_that_is_not_finite_stops_it(lenses, tiny, tmp_path):
    output = tmp_path / "net.safetensors"
    output.write_bytes(b"mine")
    with pytest.raises(LensSuperError, match=r"not finite at step 0 \(broken nan\)"):
        train(tiny.network(), lenses, losses=[Broken()], output=output, overwrite=True, steps=3, **SMALL)
    assert output.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_gradients_that_are_not_finite_stop_it_in_the_end(lenses, tiny):
    with pytest.raises(LensSuperError, match="not finite in 10 consecutive steps"):
        train(tiny.network(), lenses, losses=[Torn()], steps=30, **SMALL)
    result = train(tiny.network(), lenses, losses=[Torn()], steps=3, **SMALL)
    assert torch.isfinite(weights(result.network)).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps"),
        ({"losses": []}, ValueError, "at least one"),
        ({"losses": [DataFidelity(), DataFidelity()]}, ValueError, "of different kinds"),
        ({"losses": ["split"]}, TypeError, "list of Loss"),
        ({"precision": "16-mixed"}, ValueError, "bf16-mixed"),
        ({"validation": 1.5}, ValueError, "share between 0 and 1"),
        ({"validation": []}, ValueError, "validation: lenses must hold at least one"),
        ({"output": "net.pt"}, ValueError, "safetensors"),
        ({"output": "/nowhere/net.safetensors"}, FileNotFoundError, "/nowhere"),
    ],
)
def test_arguments_that_make_no_sense(lenses, tiny, change, error, words):
    with pytest.raises(error, match=words):
        train(tiny.network(), lenses, **SMALL | change)


def test_something_that_is_no_network(lenses):
    with pytest.raises(TypeError, match="SourceNetwork"):
        train(torch.nn.Linear(1, 1), lenses)


def test_nothing_is_overwritten_unasked(lenses, tiny, tmp_path):
    for name in ("net.safetensors", "net.md"):
        file = tmp_path / name
        file.write_text("mine")
        with pytest.raises(FileExistsError, match=name):
            train(tiny.network(), lenses, output=tmp_path / "net.safetensors", **SMALL)
        assert file.read_text() == "mine"
        file.unlink()


def test_without_lightning(lenses, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "lenssuper.training.loop", raising=False)
    with pytest.raises(ImportError, match=r'pip install "lenssuper\[train\]"'):
        train(tiny.network(), lenses, **SMALL)


def test_without_a_compiler(lenses, tiny, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(LensSuperError, match=r"needs a C\+\+ compiler"):
        train(tiny.network(), lenses, compiled=True, **SMALL)


def test_checkpoint_lies_beside(tmp_path):
    assert checkpoint_path(tmp_path / "net.safetensors") == tmp_path / "net.safetensors.checkpoint"
