"""
An agent that adds Sersics, trained by proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

Continuous actions follow beta distributions (Chou, Maturana & Scherer 2017, PMLR 70, 834), which are bounded;
a truncated Gaussian would accumulate at the bounds. Needs the extra ``rl``; trained networks do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from lenssuper.training.light.environment import BINS, Episodes, action_space, observation_space

try:
    from stable_baselines3 import PPO
    from stable_baselines3.common.distributions import Distribution
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError(
        'training the method "ppo" needs stable-baselines3: pip install "lenssuper[rl]"'
    ) from error

from lenssuper._utils.progress import progress_bar
from lenssuper._utils.weightfile import load_into
from lenssuper.exceptions import LensSuperError
from lenssuper.light.learned.actions import SIZE
from lenssuper.light.learned.network import PolicyNetwork, action_of_bin, beta_of, policy_architecture
from lenssuper.training.checkpoint import check_settings, read_state, write_state
from lenssuper.training.light.images import TrainingImages, augment

__all__ = ["BetaDistribution", "BetaPolicy", "SersicVecEnv", "train_policy"]


class BetaDistribution(Distribution):
    """Independent beta distributions between -1 and 1, one for each action."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def proba_distribution_net(self, latent_dim: int) -> nn.Module:
        """Return the layer that predicts the parameters."""
        return nn.Linear(latent_dim, 2 * self.dimensions)

    def proba_distribution(self, answer: torch.Tensor) -> BetaDistribution:
        """Set the parameters."""
        self.distribution = torch.distributions.Beta(*beta_of(answer), validate_args=False)
        return self

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the probability density of actions."""
        # In float32 a draw can be exactly 0 or 1, where the logarithm is infinite.
        inside = ((actions + 1) / 2).clamp(1e-6, 1 - 1e-6)
        return (self.distribution.log_prob(inside) - np.log(2)).sum(-1)

    def entropy(self) -> torch.Tensor:
        """Return the entropy, summed over actions."""
        return (self.distribution.entropy() + np.log(2)).sum(-1)

    def sample(self) -> torch.Tensor:
        """Draw actions."""
        return 2 * self.distribution.rsample() - 1

    def mode(self) -> torch.Tensor:
        """Return the mean, the action without exploration."""
        return 2 * self.distribution.mean - 1

    def actions_from_params(self, answer: torch.Tensor, deterministic: bool = False) -> torch.Tensor:
        """Return actions of the distribution with these parameters."""
        return self.proba_distribution(answer).get_actions(deterministic=deterministic)

    def log_prob_from_params(self, answer: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return actions and the logarithm of their probability density."""
        actions = self.actions_from_params(answer)
        return actions, self.log_prob(actions)


class _Features(BaseFeaturesExtractor):
    """The convolutions of a `PolicyNetwork`, as stable-baselines3 needs them."""

    def __init__(self, observation_space, hidden: int = 128) -> None:
        super().__init__(observation_space, hidden)
        self.network = PolicyNetwork(hidden=hidden)
        self.network.last = nn.Identity()  # the policy has its own

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.network.features(observations.view(-1, 1, SIZE, SIZE))


class BetaPolicy(ActorCriticPolicy):
    """A policy of stable-baselines3 with beta distributions."""

    def _build(self, lr_schedule) -> None:
        super()._build(lr_schedule)
        self.action_dist = BetaDistribution(int(np.prod(self.action_space.shape)))
        self.action_net = self.action_dist.proba_distribution_net(self.mlp_extractor.latent_dim_pi)
        nn.init.orthogonal_(self.action_net.weight, gain=0.01)
        nn.init.zeros_(self.action_net.bias)
        del self.log_std  # the width of a Gaussian
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> BetaDistribution:
        return self.action_dist.proba_distribution(self.action_net(latent_pi))


class SersicVecEnv(VecEnv):
    """
    A number ``count`` of environments `SersicEnv` whose Sersics are rendered as one batch.

    The images (n, 64, 64) are those of `prepare_images`, turned, mirrored and shifted at random.
    """

    def __init__(
        self,
        images: torch.Tensor,
        count: int = 64,
        *,
        components: int = 6,
        bins: int | None = None,
        min_gain: float = 1e-3,
    ) -> None:
        self._images, self._bins = images, bins
        self._episodes = Episodes(count, components, min_gain)
        self._rng = np.random.default_rng(0)
        self._actions = None
        self.render_mode = None
        super().__init__(count, observation_space(), action_space(bins))

    def draw_from(self, rng: np.random.Generator) -> None:
        """Use this generator of random numbers from now on."""
        self._rng = rng

    def reset(self) -> np.ndarray:
        self._start(torch.ones(self.num_envs, dtype=torch.bool))
        return self._episodes.observations()

    def _start(self, which):
        number = self._rng.integers(len(self._images), size=int(which.sum()))
        self._episodes.start(which, augment(self._images[number], self._rng))

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = torch.as_tensor(actions)

    def step_wait(self):
        values = self._actions if self._bins is None else action_of_bin(self._actions, self._bins)
        rewards, over = self._episodes.step(values.float())
        infos: list[dict] = [{} for _ in range(self.num_envs)]
        if over.any():
            last = self._episodes.observations()
            for i in torch.nonzero(over)[:, 0].tolist():
                infos[i] = {"terminal_observation": last[i], "TimeLimit.truncated": False}
            self._start(over)
        return self._episodes.observations(), rewards.numpy(), over.numpy(), infos

    def close(self) -> None:
        pass

    def get_attr(self, attr_name, indices=None):
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError(f"the environments of a batch share their attributes; got {attr_name}")

    def env_method(self, method_name, *args, indices=None, **kwargs):
        raise NotImplementedError(f"the environments of a batch have no methods; got {method_name}")

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * len(list(self._get_indices(indices)))


_COUNT = 64  # environments
_LENGTH = 18  # steps of each between two updates


def train_policy(
    images: Sequence,
    output: str | os.PathLike,
    *,
    steps: int = 500_000,
    components: int = 6,
    discrete: bool = False,
    learning_rate: float = 5e-4,
    seed: int = 0,
    checkpoint_every: int = 50,
    resume: bool = False,
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """
    Train an agent by PPO and write the network of its most probable actions.

    Parameters
    ----------
    images : sequence of array_like or `~astropy.nddata.NDData`
        Galaxies; one in sixteen is kept for the score if there are sixteen.
    output : str or path-like
        File of weights to write. ``OUTPUT.checkpoint`` beside it is there while the training runs.
    steps : int, optional
        Total number of Sersics added, rounded up to whole updates of 1152.
    components : int, optional
        Sersics added to an image.
    discrete : bool, optional
        Whether each action is one of 21 values instead of a continuous one.
    learning_rate : float, optional
        The initial one; it falls to a twentieth.
    seed : int, optional
        The same images and seed give the same weights.
    checkpoint_every : int, optional
        Updates between two checkpoints.
    resume, overwrite, metadata, progress
        As in `~lenssuper.training.light.network.train_network`.

    Returns
    -------
    dict
        The metadata of the file, with the scores before and after.

    Raises
    ------
    LensSuperError
        If a weight is not finite. Nothing is overwritten.
    """
    bins = BINS if discrete else None
    updates = -(-steps // (_COUNT * _LENGTH))
    given = TrainingImages(
        images,
        output,
        components,
        overwrite,
        architecture=policy_architecture(bins),
        bins=bins,
        updates=updates,
        learning_rate=learning_rate,
        seed=seed,
    )
    environment = SersicVecEnv(given.shown, _COUNT, components=components, bins=bins)
    with _seeded(seed):
        agent = _agent(environment, discrete)
    at_start = given.scores(network_of(agent, bins))["held_out_error_percent"]
    start = _restore(given, agent.policy) if resume and given.checkpoint.exists() else 0
    bar = progress_bar(progress, range(start, updates), initial=start, total=updates, unit="update")
    for update in bar:
        environment.draw_from(np.random.default_rng([seed, update]))
        rate = learning_rate * (1 - 0.95 * update / updates)
        agent.lr_schedule = lambda _, rate=rate: rate
        with _seeded(hash((seed, update)) % 2**32):
            agent.learn(_COUNT * _LENGTH)  # of new episodes, so that it does not depend on earlier ones
        buffer = agent.rollout_buffer
        reward = buffer.rewards.sum() / buffer.episode_starts.sum()
        if not all(torch.isfinite(p).all() for p in agent.policy.parameters()):
            raise LensSuperError(f"weights are not finite after update {update}; lower the learning rate")
        bar.set_postfix(reward=f"{reward:.3f}")
        if (update + 1) % checkpoint_every == 0 and update + 1 < updates:
            write_state(given.checkpoint, _state(given, agent.policy, update + 1))
    network = network_of(agent, bins)
    return given.write(network, {"held_out_error_percent_at_start": at_start, **(metadata or {})})


def _state(given, policy, updates):
    optimizer = policy.optimizer.state_dict()
    weights = policy.state_dict()
    return {"settings": given.settings, "network": weights, "optimizer": optimizer, "updates": updates}


def _restore(given, policy):
    """Load the state of the checkpoint into a policy and return the number of updates done."""
    state = read_state(given.checkpoint)
    check_settings(state.get("settings", {}), given.settings)
    load_into(policy, state["network"], given.checkpoint)
    policy.optimizer.load_state_dict(state["optimizer"])
    return state["updates"]


def _agent(environment, discrete):
    return PPO(
        ActorCriticPolicy if discrete else BetaPolicy,
        environment,
        n_steps=_LENGTH,
        batch_size=_COUNT * _LENGTH // 4,
        n_epochs=4,
        gamma=1.0,  # an episode is short, and the sum of its rewards is the goal
        gae_lambda=0.9,
        ent_coef=1e-3,
        max_grad_norm=0.5,
        policy_kwargs={
            "features_extractor_class": _Features,
            "net_arch": {"pi": [], "vf": [64]},
            "ortho_init": False,
        },
        device="cpu",
    )


def network_of(agent: PPO, bins: int | None) -> PolicyNetwork:
    """Return the part of an agent that acts, independent of stable-baselines3."""
    policy = agent.policy
    with torch.random.fork_rng(devices=[]):
        network = PolicyNetwork(bins)
    weights = {
        name: value
        for name, value in policy.features_extractor.network.state_dict().items()
        if not name.startswith("last.")
    }
    weights |= {f"last.{name}": value for name, value in policy.action_net.state_dict().items()}
    network.load_state_dict(weights)
    return network


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch and numpy, which PPO uses for shuffling, and restore their states afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
