"""The agent: its distribution, its training, and what is left of it without stable-baselines3."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from lenssuper._utils.weightfile import read_weights
from lenssuper.light.learned.network import PolicyNetwork
from lenssuper.simulate import galaxy_stamp
from lenssuper.training.light import policy
from lenssuper.training.light.environment import Episodes
from lenssuper.training.light.images import prepare_images
from lenssuper.training.light.policy import BetaDistribution, SersicVecEnv, network_of, train_policy


@pytest.fixture(scope="module")
def galaxies():
    return [galaxy_stamp(np.random.default_rng([7, i])) for i in range(18)]


@pytest.fixture
def small(monkeypatch):
    """Updates of 8 x 4 steps instead of 64 x 18."""
    monkeypatch.setattr(policy, "_COUNT", 8)
    monkeypatch.setattr(policy, "_LENGTH", 4)
    return {"steps": 96, "components": 2, "progress": False}


def same(one, other):
    a, b = read_weights(one)[0], read_weights(other)[0]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestBetaDistribution:
    answer = torch.tensor([[0.5, -1.0, 2.0, 1.0, 0.0, -2.0]])

    def distribution(self):
        return BetaDistribution(3).proba_distribution(self.answer)

    def test_its_density_integrates_to_one(self):
        x = torch.linspace(-1, 1, 2001)
        one = BetaDistribution(1).proba_distribution(torch.tensor([[0.5, 1.5]]))
        density = torch.exp(one.log_prob(x[:, None]))
        assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-4)

    def test_its_entropy_is_that_of_its_density(self):
        x = torch.linspace(-1, 1, 20001)[1:-1]
        one = BetaDistribution(1).proba_distribution(torch.tensor([[0.5, 1.5]]))
        log = one.log_prob(x[:, None])
        assert one.entropy().item() == pytest.approx(-torch.trapezoid(log.exp() * log, x).item(), abs=1e-3)

    def test_draws_stay_between_the_bounds_and_around_the_mean(self):
        torch.manual_seed(0)
        many = BetaDistribution(3).proba_distribution(self.answer.expand(4000, -1))
        draws = many.sample()
        assert draws.abs().max() < 1
        torch.testing.assert_close(draws.mean(0), many.mode()[0], atol=0.03, rtol=0)

    def test_an_action_on_a_bound_has_a_finite_probability(self):
        assert torch.isfinite(self.distribution().log_prob(torch.tensor([[-1.0, 1.0, 0.0]]))).all()


def test_the_batch_of_environments_follows_the_rules(galaxies):
    env = SersicVecEnv(prepare_images(galaxies), 3, components=2)
    env.draw_from(np.random.default_rng(0))
    first = env.reset()
    assert first.shape == (3, 4096)
    episodes = Episodes(3, 2, 1e-3)
    episodes.start(torch.ones(3, dtype=torch.bool), torch.from_numpy(first).view(3, 64, 64))
    actions = np.zeros((3, 7), np.float32)
    actions[:, 6] = [-0.8, -0.8, 1.0]
    actions[2, 2] = 1.0  # far too large and bright
    seen, rewards, over, infos = env.step(actions)
    expected, ends = episodes.step(torch.from_numpy(actions))
    np.testing.assert_allclose(rewards, expected)
    np.testing.assert_array_equal(over, ends)
    assert over[2]
    np.testing.assert_allclose(infos[2]["terminal_observation"], episodes.observations()[2])
    assert not np.allclose(seen[2], episodes.observations()[2])  # the next galaxy
    np.testing.assert_allclose(seen[~over], episodes.observations()[~over])


@pytest.mark.parametrize("discrete", [False, True])
def test_training_writes_what_the_agent_does(galaxies, tmp_path, small, discrete, monkeypatch):
    agents = []
    monkeypatch.setattr(policy, "_agent", lambda *a, f=policy._agent: agents.append(f(*a)) or agents[-1])
    known = train_policy(galaxies, tmp_path / "w", discrete=discrete, **small)
    bins = 21 if discrete else None
    assert known["bins"] == bins
    assert len(known["held_out_error_percent"]) == len(known["held_out_error_percent_at_start"]) == 2
    network = PolicyNetwork(bins)
    network.load_state_dict(read_weights(tmp_path / "w", network.architecture)[0])
    images = prepare_images(galaxies)
    by_agent, _ = agents[0].predict(images.flatten(1).numpy(), deterministic=True)
    by_agent = (2 * by_agent + 1) / 21 - 1 if discrete else by_agent
    with torch.no_grad():
        np.testing.assert_allclose(network(images), by_agent, atol=1e-5)
    assert network_of(agents[0], bins).architecture == network.architecture


def test_resuming_gives_what_an_uninterrupted_training_gives(galaxies, tmp_path, small, monkeypatch):
    train_policy(galaxies, tmp_path / "whole", checkpoint_every=1, **small)

    class Killed(BaseException):
        pass

    written = []

    def kill_after_the_second(*arguments, write=policy.write_state):
        write(*arguments)
        written.append(arguments[1]["updates"])
        if len(written) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(policy, "write_state", kill_after_the_second)
        with pytest.raises(Killed):
            train_policy(galaxies, tmp_path / "w", checkpoint_every=1, **small)
    assert not (tmp_path / "w").exists()
    train_policy(galaxies, tmp_path / "w", checkpoint_every=1, resume=True, **small)
    assert same(tmp_path / "whole", tmp_path / "w")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w", "whole"]


def test_the_seed_decides_and_global_random_numbers_are_left_alone(galaxies, tmp_path, small):
    torch.manual_seed(1)
    expected = torch.rand(2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(1)
        train_policy(galaxies, tmp_path / name, seed=seed, **{**small, "steps": 32})
        assert torch.equal(torch.rand(2), expected)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


def test_files_are_not_overwritten_unasked(galaxies, tmp_path, small):
    (tmp_path / "w").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        train_policy(galaxies, tmp_path / "w", **small)


def test_trained_policies_run_without_the_extra(galaxies, tmp_path, small, monkeypatch):
    train_policy(galaxies, tmp_path / "w", **small)
    for name in ("gymnasium", "stable_baselines3"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("lenssuper.light.learned.")]:
        monkeypatch.delitem(sys.modules, name)
    additions = importlib.import_module("lenssuper.light.learned.additions")
    assert additions.load_network("ppo", tmp_path / "w").bins is None
