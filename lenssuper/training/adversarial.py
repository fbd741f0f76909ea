"""A loss that is learned: what the network says must look, observed again, like what is observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lenssuper.networks.discriminator import PatchDiscriminator
from lenssuper.training.data import Batch
from lenssuper.training.equivariance import Equivariance
from lenssuper.training.losses import Answers, Loss

__all__ = ["Adversarial"]

# Steady while both sides learn (Radford, Metz & Chintala 2016, ICLR, arXiv:1511.06434, section 4)
_BETAS = (0.5, 0.99)


@dataclass(frozen=True)
class Adversarial(Loss):
    """
    A discriminator must not tell the network's answers, observed anew, from the observations.

    The network's sources are turned and moved, and each is sent through the lens, the PSF and the noise of
    another lens of the batch: there its mistakes show that its own lens hides. To be used with a small weight
    beside a loss that looks at the data, such as `PixelSplitting`, as it does not know which source is
    behind which image.

    The discriminator learns in the same steps, with an optimiser of its own, and is in the checkpoints.

    Parameters
    ----------
    weight : float, optional
    shift : float, optional
        The farthest that sources are moved along each axis, in source pixels.
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
    _player: _Player = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive; got {self.learning_rate}")
        # it checks the shift; a discriminator is there even if nobody begins a training
        object.__setattr__(self, "_placement", Equivariance(shift=self.shift))
        self.begin(0)

    @property
    def config(self) -> dict[str, Any]:
        """The settings, of what JSON can hold."""
        return {"weight": self.weight, "shift": self.shift, "learning_rate": self.learning_rate}

    def begin(self, seed: int) -> None:
        """Forget all that the discriminator has learned."""
        object.__setattr__(self, "_player", _Player(seed, self.learning_rate))

    def state(self) -> dict[str, Any]:
        """Give what the discriminator and its optimiser know."""
        return self._player.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self._player.restore(state)

    def __call__(self, network: Answers, batch: Batch, generator: torch.Generator) -> Tensor:
        problem = batch.problem
        # the other losses' draws do not depend on whether this one is there: it comes last
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
        """Move to a device, if it is not there."""
        if next(self._network.parameters()).device != device:
            self.restore(self.state(), device)
        return self

    def learn(self, observed: Tensor, imitated: Tensor) -> None:
        """Take a step towards telling these apart."""
        self._network.requires_grad_(True)
        self._optimiser.zero_grad()
        loss = softplus(-self._network(observed)).mean() + softplus(self._network(imitated)).mean()
        loss.backward()
        gradients = [parameter.grad for parameter in self._network.parameters()]
        _average(gradients)
        if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            self._optimiser.step()

    def judge(self, images: Tensor) -> Tensor:
        """Give the odds of images (n, ny, nx); gradients go to the images alone."""
        self._network.requires_grad_(False)
        return self._network(images)

    def state(self) -> dict[str, Any]:
        """Give all that is to be kept."""
        return {"network": self._network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go back to a state."""
        rate = self._optimiser.param_groups[0]["lr"]
        fresh = PatchDiscriminator().to(device)
        fresh.load_state_dict(state["network"])
        self._network = fresh
        self._optimiser = torch.optim.Adam(fresh.parameters(), rate, betas=_BETAS)
        self._optimiser.load_state_dict(state["optimiser"])


def _average(tensors: list[Tensor]) -> None:
    """Make them the mean over all processes, where there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
            tensor /= torch.distributed.get_world_size()
