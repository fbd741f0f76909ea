"""The game of adding Sersics: what gymnasium and stable-baselines3 expect, rewards and ends."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch

gymnasium = pytest.importorskip("gymnasium")

from lenssuper.light.learned.actions import shapes_of  # noqa: E402
from lenssuper.light.learned.torchsersic import render_shapes  # noqa: E402
from lenssuper.simulate import galaxy_stamp  # noqa: E402
from lenssuper.training.light.environment import Episodes, SersicEnv  # noqa: E402
from lenssuper.training.light.images import prepare_images  # noqa: E402


@pytest.fixture(scope="module")
def galaxies():
    return [galaxy_stamp(np.random.default_rng([6, i])) for i in range(3)]


@pytest.mark.parametrize("bins", [None, 9])
def test_gymnasium_accepts_it(galaxies, bins):
    from gymnasium.utils.env_checker import check_env

    check_env(SersicEnv(galaxies, bins=bins), skip_render_check=True)


@pytest.mark.parametrize("bins", [None, 9])
def test_stable_baselines_accepts_it(galaxies, bins):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env

    check_env(SersicEnv(galaxies, bins=bins), warn=True)


def test_the_observation_is_what_is_left(galaxies, render):
    env = SersicEnv(galaxies)
    seen, info = env.reset(options={"image": 1})
    image = prepare_images(galaxies)[1]
    assert info["image"] == 1
    np.testing.assert_array_equal(seen, image.flatten())
    action = np.linspace(-0.3, 0.3, 7).astype(np.float32)
    left, _, _, truncated, info = env.step(action)
    model = render_shapes(shapes_of(torch.from_numpy(action)), (64, 64), oversampling=1)
    np.testing.assert_allclose(left, (image - model).flatten(), atol=1e-6)
    again = render(torch.from_numpy(info["parameters"]), (64, 64), oversampling=1)
    torch.testing.assert_close(again, model, atol=1e-4, rtol=1e-4)
    assert info["error_percent"] == pytest.approx(100 * np.abs(left).mean())
    assert not truncated


def test_rewards_add_up_to_the_part_of_the_error_that_is_gone(galaxies):
    env = SersicEnv(galaxies, min_gain=-np.inf)
    first, _ = env.reset(seed=1)
    faint = np.array([0, 0, 0.2, -0.3, 0, 0, -0.6], np.float32)
    total, over, steps = 0.0, False, 0
    while not over:
        last, reward, over, _, _ = env.step(faint)
        total, steps = total + reward, steps + 1
    assert steps == 6
    assert total == pytest.approx(1 - np.mean(last**2) / np.mean(first**2), abs=1e-5)


def test_a_sersic_that_helps_earns_and_one_that_harms_ends_the_episode(galaxies):
    action = torch.tensor([[0.1, -0.1, 0.2, 0.0, 0.3, 0.2, 0.3]])
    image = render_shapes(shapes_of(action), (64, 64), oversampling=1)
    episode = Episodes(1, 6, 1e-3)
    episode.start(torch.tensor([True]), image)
    reward, over = episode.step(action)
    assert reward.item() == pytest.approx(1, abs=1e-6)
    assert not over
    reward, over = episode.step(action)
    assert reward.item() == pytest.approx(-1, abs=1e-5)
    assert over


def test_a_reward_is_never_below_minus_one(galaxies):
    episode = Episodes(1, 6, 1e-3)
    episode.start(torch.tensor([True]), prepare_images(galaxies)[:1])
    reward, over = episode.step(torch.tensor([[0.0, 0, 1, -1, 0, 0, 1]]))
    assert reward.item() == -1
    assert over


def test_the_observation_stays_in_its_space(galaxies):
    env = SersicEnv(galaxies, min_gain=-np.inf)
    env.reset(seed=0)
    for n in (-1.0, 1.0):
        action = np.array([0.015625, 0.015625, 1, n, 0, 0, 1], np.float32)
        seen = env.step(action)[0]
        assert env.observation_space.contains(seen)


def test_the_same_seed_draws_the_same_images(galaxies):
    env, other = SersicEnv(galaxies), SersicEnv(galaxies)
    first = [env.reset(seed=4)[1]["image"], *(env.reset()[1]["image"] for _ in range(8))]
    second = [other.reset(seed=4)[1]["image"], *(other.reset()[1]["image"] for _ in range(8))]
    assert first == second
    assert len(set(first)) > 1


def test_bins_are_steps_of_the_continuous_actions(galaxies):
    fine, coarse = SersicEnv(galaxies), SersicEnv(galaxies, bins=5)
    for env in (fine, coarse):
        env.reset(options={"image": 0})
    left = fine.step(np.array([0, 0, 0.4, -0.8, 0, 0.4, -0.4], np.float32))[0]
    np.testing.assert_allclose(coarse.step(np.array([2, 2, 3, 0, 2, 3, 1]))[0], left, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"components": 0}, "components must be at least 1; got 0"),
        ({"bins": 1}, "bins must be at least 2; got 1"),
    ],
)
def test_bad_options(galaxies, options, words):
    with pytest.raises(ValueError, match=words):
        SersicEnv(galaxies, **options)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("environment", "gymnasium", "rl"),
        ("policy", "stable_baselines3", "rl"),
        ("network", "lightning.pytorch", "train"),
    ],
)
def test_without_the_extra_the_error_says_what_to_install(monkeypatch, module, missing, extra):
    name = f"lenssuper.training.light.{module}"
    monkeypatch.setitem(sys.modules, missing, None)
    for loaded in (name, "lenssuper.training.light.environment", "lenssuper.training.loop"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    with pytest.raises(ImportError, match=rf'pip install "lenssuper\[{extra}\]"'):
        importlib.import_module(name)
