"""Killed at any moment, a training goes on and ends as if nothing had happened."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

import pytest
import torch

from lenssuper.exceptions import FileFormatError, LensSuperWarning
from lenssuper.training import PixelSplitting, Recorrupted
from lenssuper.training.checkpoint import read_state, write_state
from lenssuper.training.train import train

pytest.importorskip("lightning")
pytestmark = pytest.mark.usefixtures("one_model_each")


class Killed(BaseException):
    """What a signal does to a training."""


def at_call(function, number):
    """The function, killed as it is called for that time."""
    calls = []

    def killing(*args, **more):
        calls.append(1)
        if len(calls) == number:
            raise Killed
        return function(*args, **more)

    return killing


PLACES = {
    "before the first checkpoint": ("module.weighted_sum", 2),
    "in the middle": ("module.weighted_sum", 8),
    "in a check": ("module.held_out_chi2", 2),
    "writing a checkpoint": ("loop.write_state", 3),
    "writing the last checkpoint": ("loop.write_state", 4),
    "before the file": ("train.write_network", 1),
}


@pytest.mark.parametrize("place", PLACES)
def test_killed(whole, lenses, tiny, tmp_path, monkeypatch, place):
    (where, name), number = PLACES[place][0].split("."), PLACES[place][1]
    owner = importlib.import_module(f"lenssuper.training.{where}")
    output = tmp_path / "net.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, at_call(getattr(owner, name), number))
        with pytest.raises(Killed):
            train(tiny.network(), lenses, output=output, **tiny.OPTIONS)
    assert not output.exists()
    train(tiny.network(), lenses, output=output, resume=True, **tiny.OPTIONS)
    assert output.read_bytes() == whole.read_bytes()


def test_killed_after_the_file(whole, lenses, tiny, tmp_path, monkeypatch):
    """All is there, and so is the checkpoint: asked to go on, it only tidies up."""
    output = tmp_path / "net.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", at_call(Path.unlink, 10**6))
        module = sys.modules["lenssuper.training.train"]
        write = module.write_network

        def written(*args, **more):
            write(*args, **more)
            raise Killed

        patch.setattr(module, "write_network", written)
        with pytest.raises(Killed):
            train(tiny.network(), lenses, output=output, **tiny.OPTIONS)
    assert output.read_bytes() == whole.read_bytes()
    train(tiny.network(), lenses, output=output, resume=True, **tiny.OPTIONS)
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.md", "net.safetensors"]


def test_killed_after_a_setback(lenses, tiny, tmp_path, monkeypatch):
    """It has gone back to its best weights, at half the rate, and resumes from there."""
    module = importlib.import_module("lenssuper.training.module")
    scores = [2.0, 3.0, 1.9, 1.8]

    def trained(name, left, resume=False):
        left = iter(left)
        monkeypatch.setattr(module, "held_out_chi2", lambda *a, **k: torch.tensor([next(left)]))
        options = tiny.OPTIONS | {"validation": lenses[:1], "output": tmp_path / name, "resume": resume}
        train(tiny.network(), lenses, **options)

    with pytest.warns(LensSuperWarning, match="3 at step 6"):
        trained("whole.safetensors", scores)
    with monkeypatch.context() as patch:
        patch.setattr(module, "weighted_sum", at_call(module.weighted_sum, 8))
        with pytest.raises(Killed):
            trained("net.safetensors", scores)
    with pytest.warns(LensSuperWarning, match="3 at step 6"):
        trained("net.safetensors", scores[2:], resume=True)
    one, other = ((tmp_path / name).read_bytes() for name in ("whole.safetensors", "net.safetensors"))
    assert one == other


@pytest.fixture
def handler():
    """What Python does at Ctrl-C: a process that a shell started in the background ignores it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, former)


def test_interrupted_by_hand(whole, lenses, tiny, tmp_path, monkeypatch, handler):
    """Ctrl-C is what it always is, and the next one too."""
    from lenssuper.training import module

    output = tmp_path / "net.safetensors"

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)

    torch.manual_seed(3)
    state = torch.get_rng_state()
    with monkeypatch.context() as patch:
        patch.setattr(module.TrainingModule, "on_validation_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tiny.network(), lenses, output=output, **tiny.OPTIONS)
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.equal(torch.get_rng_state(), state)
    train(tiny.network(), lenses, output=output, resume=True, **tiny.OPTIONS)
    assert output.read_bytes() == whole.read_bytes()


def test_time_is_over(whole, lenses, tiny, tmp_path):
    output = tmp_path / "net.safetensors"
    steps = []
    for _ in range(10):
        result = train(tiny.network(), lenses, output=output, resume=True, max_minutes=0, **tiny.OPTIONS)
        steps.append(result.history[-1]["step"])
        if result.finished:
            break
        assert not output.exists()
    assert steps == [3, 6, 9, 10]
    assert output.read_bytes() == whole.read_bytes()


def test_stopped_early_it_stays_stopped(lenses, tiny, tmp_path, monkeypatch):
    """Killed when it had been decided to stop: it does no step more."""
    from lenssuper.training import module

    output = tmp_path / "net.safetensors"
    monkeypatch.setattr(module, "held_out_chi2", lambda network, batch, **more: torch.ones(len(batch)))
    with monkeypatch.context() as patch:
        owner = sys.modules["lenssuper.training.train"]
        patch.setattr(owner, "evaluate", at_call(owner.evaluate, 1))
        with pytest.raises(Killed):
            train(tiny.network(), lenses, output=output, patience=2, **tiny.OPTIONS)
    result = train(tiny.network(), lenses, output=output, resume=True, patience=2, **tiny.OPTIONS)
    assert [check["step"] for check in result.history] == [3, 6, 9]
    assert result.card["training"]["best_step"] == 3


def test_another_training_is_not_gone_on_with(lenses, tiny, tmp_path):
    output = tmp_path / "net.safetensors"
    train(tiny.network(), lenses, output=output, max_minutes=0, **tiny.OPTIONS)
    checkpoint = tmp_path / "net.safetensors.checkpoint"
    before = checkpoint.read_bytes()
    for change, words in (
        ({"steps": 20}, "steps was 10, is 20"),
        ({"seed": 3}, "seed was 0, is 3"),
        ({"losses": [PixelSplitting(), Recorrupted()]}, "losses was"),
    ):
        with pytest.raises(ValueError, match=words):
            train(tiny.network(), lenses, output=output, resume=True, **tiny.OPTIONS | change)
    with pytest.raises(ValueError, match="config was"):
        train(tiny.network(channels=3), lenses, output=output, resume=True, **tiny.OPTIONS)
    with pytest.raises(ValueError, match="data was"):
        train(tiny.network(), lenses[:5], output=output, resume=True, **tiny.OPTIONS)
    assert checkpoint.read_bytes() == before
    assert not output.exists()


def test_a_damaged_checkpoint(lenses, tiny, tmp_path):
    output = tmp_path / "net.safetensors"
    checkpoint = tmp_path / "net.safetensors.checkpoint"
    checkpoint.write_bytes(b"\x80\x04 no pickle is ever read")
    with pytest.raises(FileFormatError, match=r"net\.safetensors\.checkpoint"):
        train(tiny.network(), lenses, output=output, resume=True, **tiny.OPTIONS)


def test_any_state_comes_back(tmp_path):
    state = {
        "a": [torch.arange(3), {"b": (1, 2.5, None, "x", True)}],
        0: {"step": torch.tensor(3.0), 1: float("inf")},
        "empty": [{}, [], ()],
    }
    write_state(tmp_path / "s", state)
    again = read_state(tmp_path / "s")
    assert torch.equal(again["a"].pop(0), state["a"].pop(0))
    assert torch.equal(again[0].pop("step"), state[0].pop("step"))
    assert again == state
    assert type(again["empty"][2]) is tuple
    assert [type(key) for key in again] == [str, int, str]


def test_what_a_state_cannot_hold(tmp_path):
    with pytest.raises(TypeError, match=r"state\.a\.0 is a function"):
        write_state(tmp_path / "s", {"a": [lambda: 1]})
    assert not (tmp_path / "s").exists()
