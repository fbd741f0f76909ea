"""
Adding Sersics to an image as a Markov decision process, an environment of gymnasium.

The state is the residual image, an action is the next Sersic, the reward is the reduction of the mean squared
error. Needs the extra ``rl``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

try:
    import gymnasium
except ImportError as error:
    raise ImportError(
        'the environment of SersicFitter\'s method "ppo" needs gymnasium: pip install "lenssuper[rl]"'
    ) from error

from lenssuper._utils.checks import check_count
from lenssuper.light.learned.actions import N_ACTIONS, SIZE, parameters_of, shapes_of
from lenssuper.light.learned.network import action_of_bin
from lenssuper.light.learned.torchsersic import render_shapes
from lenssuper.training.light.images import prepare_images

__all__ = ["Episodes", "SersicEnv", "action_space", "observation_space"]

_LIMIT = 30.0
BINS = 21


class Episodes:
    """
    Several episodes side by side, each with its own image.

    An episode ends after ``components`` Sersics, or if one reduces the mean squared error by less than
    ``min_gain`` of the first one.
    """

    def __init__(self, count: int, components: int, min_gain: float) -> None:
        self.components, self.min_gain = components, min_gain
        self.residual = torch.zeros(count, SIZE, SIZE)
        self.first, self.error = torch.ones(count), torch.ones(count)
        self.added = torch.zeros(count, dtype=torch.long)

    def start(self, which: torch.Tensor, images: torch.Tensor) -> None:
        """Begin the episodes ``which`` (a boolean mask) with images (n, 64, 64)."""
        self.residual[which] = images
        self.first[which] = self.error[which] = images.square().mean((1, 2))
        self.added[which] = 0

    def step(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add a Sersic to each by actions (count, 7); return rewards (count,) and whether episodes end."""
        with torch.no_grad():
            self.residual -= render_shapes(shapes_of(actions), (SIZE, SIZE), oversampling=1)
        error = self.residual.square().mean((1, 2))
        gain = (self.error - error) / self.first
        self.error = error
        self.added += 1
        return gain.clamp_min(-1.0), (self.added >= self.components) | (gain < self.min_gain)

    def observations(self) -> np.ndarray:
        """Return the residual images row by row, (count, 4096), float32."""
        return self.residual.flatten(1).clamp(-_LIMIT, _LIMIT).numpy().copy()


def observation_space() -> gymnasium.spaces.Box:
    """
    Return the space of residual images, as vectors.

    stable-baselines3 takes arrays of three axes for 8-bit colour images.
    """
    return gymnasium.spaces.Box(-_LIMIT, _LIMIT, (SIZE * SIZE,), np.float32)


def action_space(bins: int | None) -> gymnasium.Space:
    """Return the space of actions: continuous, or of ``bins`` values each."""
    if bins is None:
        return gymnasium.spaces.Box(-1.0, 1.0, (N_ACTIONS,), np.float32)
    return gymnasium.spaces.MultiDiscrete([bins] * N_ACTIONS)


class SersicEnv(gymnasium.Env):
    """
    Add Sersics to an image of a galaxy until only noise is left.

    An observation is the residual image, 64 rows of 64 pixels one after another: without sky, in units of the
    brightest part of the image, limited to +-30. An action is the next Sersic as seven numbers from -1 to 1,
    including its amplitude (`lenssuper.light.learned.actions`). The reward is the reduction of the mean
    squared error as a share of that of the image itself, so that the sum over an episode is at most 1; it is
    at least -1. An episode ends after ``components`` Sersics, or if one reduces the error by less than
    ``min_gain`` of that of the image.

    Parameters
    ----------
    images : sequence of array_like (ny, nx) or `~astropy.nddata.NDData`
        Galaxies of any sizes; each episode takes one at random.
    components : int, optional
    bins : int, optional
        Make each action one of so many values (``MultiDiscrete``) instead of a continuous one.
    min_gain : float, optional

    Examples
    --------
    ``env.reset(options={"image": 3})`` starts with image 3.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self, images, *, components: int = 6, bins: int | None = None, min_gain: float = 1e-3
    ) -> None:
        check_count(components, "components")
        if bins is not None:
            check_count(bins, "bins", 2)
        self._images = prepare_images(images)
        self._bins = bins
        self._episode = Episodes(1, components, min_gain)
        self.observation_space = observation_space()
        self.action_space = action_space(bins)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start with an image drawn at random, or with ``options["image"]``."""
        super().reset(seed=seed)
        number = (options or {}).get("image")
        if number is None:
            number = int(self.np_random.integers(len(self._images)))
        self._episode.start(torch.tensor([True]), self._images[number][None])
        return self._episode.observations()[0], {"image": number, **self._info()}

    def step(self, action):
        """Add a Sersic; ``info`` has its parameters and the mean absolute error in percent."""
        if self._bins is None:
            values = torch.as_tensor(np.asarray(action, dtype=np.float32))
        else:
            values = action_of_bin(torch.as_tensor(np.asarray(action)), self._bins)
        rewards, over = self._episode.step(values[None])
        info = {"parameters": parameters_of(shapes_of(values)).numpy(), **self._info()}
        return self._episode.observations()[0], float(rewards[0]), bool(over[0]), False, info

    def _info(self):
        return {
            "error_percent": 100 * float(self._episode.residual.abs().mean()),
            "components": int(self._episode.added[0]),
        }
