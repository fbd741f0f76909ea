"""The loss that is learned: it moves answers towards what is observed, and survives an interruption."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lenssuper.networks.discriminator import PatchDiscriminator
from lenssuper.training import Adversarial, LensProblems, PixelSplitting
from lenssuper.training.checkpoint import read_state
from lenssuper.training.data import seeded
from lenssuper.training.losses import Answers, weighted_sum

pytestmark = pytest.mark.usefixtures("one_model_each")

OPTIONS = {
    "source_pixels": 32,
    "batch_size": 2,
    "steps": 6,
    "check_every": 2,
    "accelerator": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def batch(lenses):
    return LensProblems(lenses, source_pixels=32).batch([0, 1, 2, 3])


class Answering(torch.nn.Module):
    """Answers with given sources, whatever it is asked."""

    def __init__(self, sources):
        super().__init__()
        self.sources = torch.nn.Parameter(sources)

    def stages(self, problem):
        return [self.sources]


def parts(loss):
    return [value.clone() for value in loss.state()["network"].values()]


def test_it_learns_to_tell_and_teaches(batch, tiny):
    """Against answers that look like nothing observed the loss grows; its gradient undoes that."""
    network = Answering(torch.zeros(batch.problem.source_shape))
    loss = Adversarial(learning_rate=2e-3)
    values = [float(loss(Answers(network), batch, seeded(k)).detach()) for k in range(30)]
    assert values[-1] > values[0] + 0.5
    optimiser = torch.optim.Adam(network.parameters(), 0.05)
    state = loss.state()
    state = {"network": {k: v.clone() for k, v in state["network"].items()}, "optimiser": state["optimiser"]}
    for k in range(10):
        optimiser.zero_grad()
        loss(Answers(network), batch, seeded(k)).backward()
        optimiser.step()
        loss.restore(state)
    assert float(loss(Answers(network), batch, seeded(0)).detach()) < values[-1] - 0.2


def test_discriminator_gets_no_gradient_of_the_network_s_loss(batch, tiny):
    network = Answering(torch.rand(batch.problem.source_shape))
    loss = Adversarial()
    loss(Answers(network), batch, seeded(1)).backward()
    assert network.sources.grad.abs().sum() > 0
    before = parts(loss)
    with torch.no_grad():
        loss(Answers(network), batch, seeded(2))
    learned = [k for k in loss.state()["network"] if "original" in k or "bias" in k]
    after = loss.state()["network"]
    for (name, value), old in zip(after.items(), before, strict=True):
        if name in learned:
            assert torch.equal(value, old), name


def test_begin_forgets_and_a_seed_decides(batch):
    network = Answering(torch.zeros(batch.problem.source_shape))
    loss = Adversarial()
    loss.begin(3)
    first = parts(loss)
    loss(Answers(network), batch, seeded(1))
    assert not all(torch.equal(a, b) for a, b in zip(first, parts(loss), strict=True))
    loss.begin(3)
    assert all(torch.equal(a, b) for a, b in zip(first, parts(loss), strict=True))
    loss.begin(4)
    assert not all(torch.equal(a, b) for a, b in zip(first, parts(loss), strict=True))


def test_making_one_leaves_the_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Adversarial().begin(1)
    assert torch.equal(torch.rand(3), expected)


def test_it_shares_the_answers_of_another_loss(batch, tiny):
    network = tiny.network()
    asked = []
    stages = network.stages
    network.stages = lambda problem: asked.append(problem) or stages(problem)
    total, values = weighted_sum([Adversarial(), PixelSplitting()], network, batch, seeded(0))
    assert len(asked) == 1
    np.testing.assert_allclose(
        float(total.detach()), float(values["split"] + 0.02 * values["adversarial"]), rtol=1e-6
    )


def test_masked_pixels_are_dark_in_both(batch):
    """What is masked must not give an imitation away."""
    problem = batch.problem
    held_out = torch.zeros_like(problem.used)
    held_out[:, 8:16] = True
    other = batch.turned(0)
    other.problem = problem.without(held_out)
    seen = []
    loss = Adversarial()
    loss._player.learn = lambda observed, imitated: seen.extend([observed, imitated])
    loss(Answers(Answering(torch.ones(problem.source_shape))), other, seeded(0))
    for images in seen:
        assert (images[held_out] == 0).all()
        assert (images[other.problem.used] != 0).all()


def test_bad_settings():
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        Adversarial(learning_rate=0.0)
    with pytest.raises(ValueError, match="shift"):
        Adversarial(shift=-1.0)


def test_an_image_is_judged_whatever_those_beside_it():
    judge = PatchDiscriminator().eval()
    images = 10 * torch.randn(3, 21, 34)
    together = judge(images)
    assert together.shape == (3, 2, 4)
    for k in range(3):
        torch.testing.assert_close(judge(images[k : k + 1])[0], together[k])
    assert torch.isfinite(judge(1e6 * images)).all()


def test_trained_and_interrupted(lenses, tiny, tmp_path, monkeypatch):
    """The discriminator goes on too: the file is that of a training that was not interrupted."""
    pytest.importorskip("lightning")
    from lenssuper.training import module
    from lenssuper.training.train import train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        losses = [PixelSplitting(), Adversarial(weight=0.05)]
        whole, again = tmp_path / "whole.safetensors", tmp_path / "net.safetensors"
        result = train(tiny.network(), lenses, losses=losses, output=whole, **OPTIONS)
        assert np.isfinite([check["adversarial"] for check in result.history]).all()
        assert result.card["loss"]["adversarial"] == {"weight": 0.05, "shift": 4.0, "learning_rate": 2e-4}
        calls = []

        def killing(*arguments):
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return weighted_sum(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, "weighted_sum", killing)
            with pytest.raises(KeyboardInterrupt):
                train(tiny.network(), lenses, losses=losses, output=again, **OPTIONS)
        kept = read_state(tmp_path / "net.safetensors.checkpoint")["losses"]
        assert kept["split"] == {}
        assert kept["adversarial"]["optimiser"]["state"]
        fresh = [PixelSplitting(), Adversarial(weight=0.05)]
        train(tiny.network(), lenses, losses=fresh, output=again, resume=True, **OPTIONS)
        with open(whole, "rb") as one, open(again, "rb") as other:
            assert one.read() == other.read()
    finally:
        torch.set_num_threads(threads)
