"""``lenssuper train``: what it reads, trains and writes."""

from __future__ import annotations

import argparse

import pytest

from lenssuper.cli import main
from lenssuper.cli import train as command
from lenssuper.datasets import write_dataset
from lenssuper.networks import Unrolled
from lenssuper.networks.weights import read_card, read_network, write_network
from lenssuper.observation import Observation, write_observation

pytest.importorskip("lightning")

QUICK = ["--steps", 2, "--check-every", 2, "--batch", 1, "--source-pixels", 32]


def train(*words):
    return main(["train", *map(str, [*words, *QUICK])])


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "mocks"
    write_dataset(path, 4, split=(0.5, 0.5, 0.0), shape=(24, 24), workers=1, progress=False)
    return path


@pytest.fixture(scope="module")
def lenses(unopened):
    return unopened


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory, lenses):
    """Observed lenses: FITS files, each with its lens, and no truth."""
    path = tmp_path_factory.mktemp("observed")
    for i, (observation, lens, _) in enumerate(lenses[:3]):
        write_observation(Observation.from_nddata(observation), path / f"ring{i}.fits")
        lens.write(path / f"ring{i}_lens.json")
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A network small enough to be tested with."""
    path = tmp_path_factory.mktemp("start") / "small.safetensors"
    write_network(path, Unrolled(n_stages=1, cg_steps=2, cg_steps_used=2, widths=(4, 8)), {})
    return path


def test_a_simulated_set(mocks, start, tmp_path, capsys):
    output = tmp_path / "net.safetensors"
    options = ["--start", start, "--loss", "split=2", "--loss", "tv=0.001", "--weighting", "coverage"]
    assert train(mocks, "--output", output, *options, "--debug") == 0
    out = capsys.readouterr().out
    assert "held-out chi2" in out
    assert "dB beside cubic interpolation" in out
    assert f"wrote          {output} and net.md" in out
    card = read_card(output)
    assert card["loss"] == {
        "split": {"weight": 2, "share": 0.15},
        "tv": {"weight": 0.001, "by": "by_coverage"},
    }
    assert (card["data"]["lenses"], card["data"]["validation lenses"]) == (2, 2)
    assert card["data"]["set"] == "mocks"
    assert card["command"] == (
        "lenssuper train mocks --output net.safetensors --start small.safetensors --loss split=2 "
        "--loss tv=0.001 --weighting coverage --steps 2 --batch 1 --lr 0.001 --seed 0 --check-every 2 "
        "--patience 20 --factor 2 --source-pixels 32 --devices 1 --precision 32-true"
    )
    assert isinstance(read_network(output), Unrolled)


def test_observed_lenses(cutouts, mocks, start, tmp_path, capsys):
    output = tmp_path / "net.safetensors"
    options = ["--output", output, "--start", start]
    assert train(cutouts, *options) == 0
    assert "cubic" not in capsys.readouterr().out
    card = read_card(output)
    assert (card["data"]["lenses"], card["data"]["validation lenses"]) == (2, 1)
    assert train(cutouts, *options, "--validation", mocks, "--overwrite", "--quiet") == 0
    assert capsys.readouterr().out == ""
    card = read_card(output)
    assert (card["data"]["lenses"], card["data"]["validation lenses"]) == (3, 2)


def test_several_directories(mocks, cutouts, start, tmp_path):
    output = tmp_path / "net.safetensors"
    assert train(mocks, cutouts, "--output", output, "--start", start) == 0
    card = read_card(output)
    assert card["data"]["set"] == f"{mocks.name}, {cutouts.name}"
    assert card["data"]["lenses"] == 2 + 3
    assert card["data"]["validation lenses"] == 2
    assert card["command"].startswith(f"lenssuper train {mocks.name} {cutouts.name} --output")


def test_stopped_and_gone_on_with(cutouts, start, tmp_path, capsys):
    files = {}
    for name, more in (("a", ["--minutes", "1e-9"]), ("b", [])):
        words = [cutouts, "--output", tmp_path / f"{name}.safetensors", "--start", start, "--steps", "4"]
        assert main(["train", *map(str, [*words, *QUICK[2:], *more])]) == 0
        if more:
            assert "stopped  after 2 of 4 steps; add --resume" in capsys.readouterr().out
            assert main(["train", *map(str, [*words, *QUICK[2:], "--resume"])]) == 0
        files[name] = read_network(tmp_path / f"{name}.safetensors").state_dict()
    assert all((value == files["b"][name]).all() for name, value in files["a"].items())


@pytest.mark.parametrize("check", [1, 2])
def test_ctrl_c_says_what_is_kept(cutouts, start, tmp_path, capsys, monkeypatch, check):
    """Before the first check nothing is, not even where a checkpoint of another training lies."""
    from lenssuper.training.module import TrainingModule

    (tmp_path / "net.safetensors.checkpoint").write_bytes(b"of another training")
    ended = TrainingModule.on_validation_epoch_end

    def interrupted(self):
        if len(self.history) == check - 1:
            raise KeyboardInterrupt
        ended(self)

    words = [cutouts, "--output", tmp_path / "net.safetensors", "--start", start, "--steps", 4]
    words = ["train", *map(str, [*words, *QUICK[2:]])]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "on_validation_epoch_end", interrupted)
        assert main(words) == 130
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "lenssuper: interrupted"
    assert ("lenssuper: step 2 of 4: " in err) == (check > 1)
    if check == 1:
        assert out == "stopped  before the first check: nothing is kept\n"
        return
    assert out == "stopped  with the checkpoint of the latest check; add --resume to continue\n"
    assert main([*words, "--resume"]) == 0
    assert "lenssuper: step 4 of 4: loss " in capsys.readouterr().err


def test_files_are_not_overwritten_unasked(cutouts, tmp_path, capsys):
    for name in ("net.safetensors", "net.md"):
        (tmp_path / name).write_text("mine")
        assert train(cutouts, "--output", tmp_path / "net.safetensors") == 1
        assert "--overwrite" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_no_lenses(tmp_path, capsys):
    assert train(tmp_path, "--output", tmp_path / "net.safetensors") == 1
    assert "holds no lens" in capsys.readouterr().err


def test_weights_that_are_none(cutouts, tmp_path, capsys):
    (tmp_path / "w").write_bytes(b"no weights")
    assert train(cutouts, "--output", tmp_path / "net.safetensors", "--start", tmp_path / "w") == 1
    assert "cannot be read as weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--loss", "best=1"], "must be one of split, r2r"),
        (["--loss", "tv=-1"], "must be a positive number"),
        (["--lr", "fast"], "must be a positive number"),
        (["--network", "cnn", "--start", "w"], "not allowed with"),
        (["--precision", "16"], "invalid choice"),
    ],
)
def test_options_that_make_no_sense(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path), "--output", str(tmp_path / "net.safetensors"), *words])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", command._NETWORKS)
def test_networks_by_name(name):
    options = argparse.Namespace(start=None, network=name, seed=3)
    one, other = (command._network(options).state_dict() for _ in range(2))
    assert all((value == other[key]).all() for key, value in one.items())


def test_losses_by_name():
    options = argparse.Namespace(loss=[(name, 0.5) for name in command._LOSSES], weighting="magnification")
    losses = command._losses(options)
    assert [loss.name for loss in losses] == list(command._LOSSES)
    assert {loss.weight for loss in losses} == {0.5}
    assert [loss.name for loss in losses if "by" in loss.config] == ["chi2", "tv"]
