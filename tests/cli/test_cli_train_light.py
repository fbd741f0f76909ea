"""``lenssuper train-light``: what it reads, trains and writes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy.io import fits

from lenssuper._utils.weightfile import read_weights
from lenssuper.cli import main, train_light
from lenssuper.simulate import galaxy_stamp


def train(output, *options, method="cnn"):
    words = ["train-light", "--method", method, "--output", str(output), "--components", "1"]
    return main([*words, *map(str, options)])


def test_simulated_galaxies_are_enough(tmp_path, capsys):
    assert train(tmp_path / "w", "--simulated", 3, "--steps", 2) == 0
    out = capsys.readouterr().out
    assert "% of held-out images" in out
    assert f"wrote    {tmp_path / 'w'}" in out
    metadata = read_weights(tmp_path / "w", "cnn-1")[1]
    assert metadata["images"] == 3
    assert metadata["command"] == (
        "lenssuper train-light --method cnn --seed 0 --simulated 3 --components 1 --steps 2 --output w"
    )
    assert metadata["data"] == "3 simulated galaxies (simulate.galaxy_stamp, seed 0)"


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(tmp_path / name, "--simulated", 2, "--steps", 1, "--seed", seed, "--quiet")
    hashes = [read_weights(tmp_path / name)[1]["images_sha256"] for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_own_galaxies_are_read_from_files_and_directories(tmp_path):
    stamps = [galaxy_stamp(i, size=size) for i, size in enumerate((40, 50, 60, 64))]
    (tmp_path / "many").mkdir()
    images = [fits.ImageHDU(stamp) for stamp in stamps[:2]]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "two.fits")
    mask = np.zeros(stamps[2].shape, np.uint8)
    mask[0, 0] = 1
    spoilt = np.where(mask, 1e9, stamps[2])
    extensions = [fits.ImageHDU(np.ones_like(spoilt), name="UNCERT"), fits.ImageHDU(mask, name="MASK")]
    fits.HDUList([fits.PrimaryHDU(spoilt), *extensions]).writeto(tmp_path / "many" / "one.fits")
    fits.PrimaryHDU(stamps[3]).writeto(tmp_path / "many" / "other.fits")
    given = ["--galaxies", tmp_path / "two.fits", tmp_path / "many", "--simulated", 0, "--steps", 1]
    assert train(tmp_path / "w", *given, "--debug") == 0
    metadata = read_weights(tmp_path / "w")[1]
    assert metadata["images"] == 4
    assert metadata["held_out_error_percent"][0] < 50  # the masked pixel has not set the scale
    assert metadata["data"].endswith("images of two.fits, images of many")


@pytest.mark.parametrize("method", ["ppo", "ppo-discrete"])
def test_policies(tmp_path, method, monkeypatch):
    pytest.importorskip("stable_baselines3")
    from lenssuper.training.light import policy

    monkeypatch.setattr(policy, "_COUNT", 4)
    monkeypatch.setattr(policy, "_LENGTH", 4)
    assert train(tmp_path / "w", "--simulated", 2, "--steps", 1, "--quiet", method=method) == 0
    assert read_weights(tmp_path / "w")[1]["bins"] == (None if method == "ppo" else 21)


@pytest.mark.parametrize(
    ("method", "missing", "extra"), [("ppo", "gymnasium", "rl"), ("cnn", "lightning.pytorch", "train")]
)
def test_without_the_extra_the_error_comes_before_the_work(
    tmp_path, monkeypatch, capsys, method, missing, extra
):
    monkeypatch.setitem(sys.modules, missing, None)
    for name in ("light.environment", "light.policy", "light.network", "loop"):
        monkeypatch.delitem(sys.modules, f"lenssuper.training.{name}", raising=False)
    monkeypatch.setattr(train_light, "_simulated", lambda options: pytest.fail("the work has begun"))
    assert train(tmp_path / "w", method=method) == 1
    assert f'pip install "lenssuper[{extra}]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nothing", "cannot be read as a FITS image"),
        (None, "does not exist|No such file"),
        ("dir", "holds no FITS"),
    ],
)
def test_galaxies_that_cannot_be_read(tmp_path, capsys, content, words):
    path = tmp_path / "g.fits"
    if content == "dir":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    assert train(tmp_path / "w", "--galaxies", path, "--simulated", 0) == 1
    err = capsys.readouterr().err
    assert err.startswith("lenssuper: error:")
    assert str(path) in err
    assert any(word in err for word in words.split("|"))


def test_a_file_without_images_is_refused(tmp_path, capsys):
    fits.PrimaryHDU().writeto(tmp_path / "g.fits")
    assert train(tmp_path / "w", "--galaxies", tmp_path / "g.fits", "--simulated", 0) == 1
    assert "holds no two-dimensional image" in capsys.readouterr().err


def test_nothing_to_train_on(tmp_path, capsys):
    assert train(tmp_path / "w", "--simulated", 0) == 1
    assert "at least one image" in capsys.readouterr().err


def test_files_are_not_overwritten_unasked(tmp_path, capsys):
    (tmp_path / "w").write_text("mine")
    assert train(tmp_path / "w", "--simulated", 2, "--steps", 1) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "w").read_text() == "mine"
    assert train(tmp_path / "w", "--simulated", 2, "--steps", 1, "--overwrite", "--quiet") == 0
