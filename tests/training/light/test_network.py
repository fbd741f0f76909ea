"""Training of the network: it learns, it can be repeated and resumed, and bad input stops it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy.nddata import NDData

from lenssuper._utils.weightfile import read_weights
from lenssuper.exceptions import FileFormatError, LensSuperError
from lenssuper.light.learned.network import SersicNetwork
from lenssuper.simulate import galaxy_stamp
from lenssuper.training.light import network as training
from lenssuper.training.light.images import augment, error_of, held_out, prepare_images
from lenssuper.training.light.network import train_network

SMALL = {"components": 2, "batch": 4, "progress": False}


@pytest.fixture(scope="module")
def galaxies():
    return [galaxy_stamp(np.random.default_rng([5, i])) for i in range(20)]


def same(one, other):
    a, b = read_weights(one)[0], read_weights(other)[0]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Killed(BaseException):
    """What a signal does to a training."""


def killed_at(monkeypatch, step):
    """Let the training be killed in a step."""
    loss, calls = training._loss, []

    def killing(residuals):
        calls.append(1)
        if len(calls) > step:
            raise Killed
        return loss(residuals)

    monkeypatch.setattr(training, "_loss", killing)


def test_it_learns(galaxies, tmp_path):
    before = train_network(galaxies, tmp_path / "a", steps=1, learning_rate=1e-9, **SMALL)
    after = train_network(galaxies, tmp_path / "b", steps=24, learning_rate=2e-3, **SMALL)
    first, last = before["held_out_error_percent"][-1], after["held_out_error_percent"][-1]
    assert last < 0.8 * first


def test_the_same_seed_gives_the_same_weights(galaxies, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_network(galaxies, tmp_path / name, steps=3, seed=seed, **SMALL)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


def test_the_global_random_numbers_are_left_alone(galaxies, tmp_path):
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    train_network(galaxies, tmp_path / "a", steps=1, **SMALL)
    assert torch.equal(torch.rand(3), expected)


def test_resuming_gives_what_an_uninterrupted_training_gives(galaxies, tmp_path, monkeypatch):
    options = {"steps": 5, "checkpoint_every": 2, **SMALL}
    train_network(galaxies, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        killed_at(patch, 3)
        with pytest.raises(Killed):
            train_network(galaxies, tmp_path / "w", **options)
    assert not (tmp_path / "w").exists()
    assert (tmp_path / "w.checkpoint").exists()
    train_network(galaxies, tmp_path / "w", resume=True, **options)
    assert same(tmp_path / "whole", tmp_path / "w")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w", "whole"]


def test_a_checkpoint_of_another_training_is_refused(galaxies, tmp_path, monkeypatch):
    options = {"steps": 3, "checkpoint_every": 1, **SMALL}
    with monkeypatch.context() as patch:
        killed_at(patch, 2)
        with pytest.raises(Killed):
            train_network(galaxies, tmp_path / "w", **options)
    with pytest.raises(ValueError, match="seed was 0, is 1"):
        train_network(galaxies, tmp_path / "w", seed=1, resume=True, **options)
    with pytest.raises(ValueError, match="images_sha256"):
        train_network(galaxies[::-1], tmp_path / "w", resume=True, **options)
    (tmp_path / "w.checkpoint").write_bytes(b"damaged")
    with pytest.raises(FileFormatError, match="checkpoint"):
        train_network(galaxies, tmp_path / "w", resume=True, **options)


def test_a_loss_that_is_not_finite_overwrites_nothing(galaxies, tmp_path, monkeypatch):
    (tmp_path / "w").write_text("mine")
    monkeypatch.setattr(training, "_loss", lambda residuals: residuals.sum() * torch.nan)
    with pytest.raises(LensSuperError, match=r"not finite at step 0 \(loss nan\)"):
        train_network(galaxies, tmp_path / "w", steps=2, overwrite=True, **SMALL)
    assert (tmp_path / "w").read_text() == "mine"


def test_files_are_not_overwritten_unasked(galaxies, tmp_path):
    (tmp_path / "w").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        train_network(galaxies, tmp_path / "w", steps=1, **SMALL)


def test_the_file_says_how_it_was_made(galaxies, tmp_path):
    train_network(galaxies, tmp_path / "w", steps=2, metadata={"command": "this"}, **SMALL)
    metadata = read_weights(tmp_path / "w", SersicNetwork.architecture)[1]
    assert metadata["command"] == "this"
    assert metadata["components"] == 2
    assert metadata["images"] == 20
    assert metadata["held_out_images"] == 2
    assert len(metadata["held_out_error_percent"]) == 2


def test_images_of_all_kinds_are_prepared(galaxies):
    stamp = galaxies[0]
    masked = stamp.copy()
    masked[:5] = 1e6
    mask = np.zeros(stamp.shape, bool)
    mask[:5] = True
    images = [stamp, stamp + 7, stamp.tolist(), NDData(masked, mask=mask), np.kron(stamp, np.ones((2, 2)))]
    plain, lifted, listed, covered, larger = prepare_images(images)
    torch.testing.assert_close(lifted, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(listed, plain)
    torch.testing.assert_close(larger, plain, atol=0.02, rtol=0)
    assert covered.abs().max() < 3
    torch.testing.assert_close(covered[8:], plain[8:], atol=0.05, rtol=0)


def test_images_that_cannot_be_used_are_named(galaxies):
    with pytest.raises(ValueError, match=r"images\[1\] .* no light above its sky"):
        prepare_images([galaxies[0], np.ones((20, 20))])
    with pytest.raises(ValueError, match=r"images\[0\] .* two-dimensional"):
        prepare_images([np.ones(20)])
    with pytest.raises(ValueError, match="at least one image"):
        prepare_images([])


def test_augmentation_moves_and_turns_but_keeps_the_light():
    image = torch.zeros(1, 64, 64)
    image[0, 30, 20:40] = 1
    image[0, 31, 20] = 1
    rng = np.random.default_rng(2)
    seen = [augment(image, rng)[0] for _ in range(20)]
    assert all(moved.sum() == image.sum() for moved in seen)
    assert len({moved.numpy().tobytes() for moved in seen}) > 15
    assert any(moved.sum(0).max() > 10 for moved in seen)  # upright
    assert any(moved.sum(1).max() > 10 for moved in seen)  # lying


def test_one_image_in_sixteen_is_held_out():
    images = torch.arange(40.0)[:, None, None].expand(-1, 64, 64)
    shown, kept = held_out(images)
    assert kept[:, 0, 0].tolist() == [0, 16, 32]
    assert len(shown) == 37
    assert len(held_out(images[:3])[1]) == 3


def test_error_is_the_mean_absolute_residual_in_percent():
    residuals = torch.zeros(2, 3, 64, 64)
    residuals[:, 1] = -0.02
    residuals[0, 2] = 0.01
    assert error_of(residuals) == [0.0, 2.0, 0.5]
