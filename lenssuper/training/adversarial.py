"""A learned loss: a discriminator compares new observations of the network's sources with the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lenssuper._utils.checks import check_number
from lenssuper.networks.discriminator import PatchDiscriminator
from lenssuper.training.data import Batch
from lenssuper.training.equivariance import Equivariance
from lenssuper.training.losses import Answers, Loss

__all__ = ["Adversarial"]

# Stable while both sides learn (Radford, Metz & Chintala 2016, ICLR, arXiv:1511.06434, section 4)
_BETAS = (0.5, 0.99)


@dataclass(frozen=True)
class Adversarial(Loss):
    """
    Make new observations of the network's sources indistinguishable from the data for a discriminator.

    The sources are turned and moved, and each is observed with the lens, the PSF and the noise of another
    lens of the batch, which reveals errors that its own lens hides. Use it with a small weight beside a loss
    of the data like `PixelSplitting`, as it does not know which source is behind which image.

    The discriminator learns in the same steps, with its own optimiser, and is part of the checkpoints.

    Parameters
    ----------
    weight : float, optional
    shift : float, optional
        Largest shift of the sources along each axis, in source pixels.
    learning_rate : float, optional
        Of the discriminator.

    Notes
    -----
    AmbientGAN: Bora, Price & Dimakis (2018, ICLR). With the odds D of a patch y of the data, and of one y' of
    A' T f(y) + n, the discriminator takes a step down the mean of softplus(-D(y)) + softplus(D(y')), and the
    loss is the mean of softplus(-D(y')) (non-saturating: Goodfellow et al. 2014, NeurIPS, section 3).
    """

    weight: float = 0.02
    shift: float = 4.0
    learning_rate: float = 2e-4
    name: ClassVar[str] = "adversarial"
    regularises: ClassVar[bool] = True
    _player: _Player | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_number(self.learning_rate, "learning_rate", above=0)
        # it checks the shift; there is a discriminator even before a training begins
        object.__setattr__(self, "_placement", Equivariance(shift=self.shift))
        self.begin(0)

    @property
    def config(self) -> dict[str, Any]:
        """The settings, as JSON can hold them."""
        return {"weight": self.weight, "shift": self.shift, "learning_rate": self.learning_rate}

    def begin(self, seed: int) -> None:
        """Begin with a new discriminator."""
        object.__setattr__(self, "_player", _Player(seed, self.learning_rate))

    def state(self) -> dict[str, Any]:
        """Return the state of the discriminator and its optimiser."""
        return self._player.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._player.restore(state)

    def __call__(self, network: Answers, batch: Batch, generator: torch.Generator) -> Tensor:
        problem = batch.problem
        # this loss comes last, so that the random numbers of the others do not depend on it
        sources = self._placement.transformed(network.any(problem)[-1], generator)
        noise = torch.randn(problem.white.shape, generator=generator).to(sources)
        imitated = torch.where(problem.used, problem.forward(sources) + noise, 0.0)
        player = self._player.on(sources.device)
        if torch.is_grad_enabled():
            player.learn(problem.white, imitated.detach())
        return softplus(-player.judge(imitated)).mean()


class _Player:
    """A discriminator and its optimiser."""

    def __init__(self, seed: int, learning_rate: float) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = PatchDiscriminator()
        self._optimiser = torch.optim.Adam(self._network.parameters(), learning_rate, betas=_BETAS)

    def on(self, device: torch.device) -> _Player:
        """Return this on a device."""
        if next(self._network.parameters()).device != device:
            self.restore(self.state(), device)
        return self

    def learn(self, observed: Tensor, imitated: Tensor) -> None:
        """Take a step towards distinguishing the two kinds of images."""
        self._network.requires_grad_(True)
        self._optimiser.zero_grad()
        loss = softplus(-self._network(observed)).mean() + softplus(self._network(imitated)).mean()
        loss.backward()
        gradients = [parameter.grad for parameter in self._network.parameters() if parameter.grad is not None]
        _average(gradients)
        if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            self._optimiser.step()

    def judge(self, images: Tensor) -> Tensor:
        """Return the log odds of images (n, ny, nx); gradients flow to the images only."""
        self._network.requires_grad_(False)
        return self._network(images)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"network": self._network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Restore a state."""
        rate = self._optimiser.param_groups[0]["lr"]
        fresh = PatchDiscriminator().to(device)
        fresh.load_state_dict(state["network"])
        self._network = fresh
        self._optimiser = torch.optim.Adam(fresh.parameters(), rate, betas=_BETAS)
        self._optimiser.load_state_dict(state["optimiser"])


def _average(tensors: list[Tensor]) -> None:
    """Replace tensors by their mean over all processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
            tensor /= torch.distributed.get_world_size()
