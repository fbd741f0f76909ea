"""The training as Lightning sees it: steps, checks and checkpoints. Needs Lightning to be imported."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm.auto import tqdm

from lenssuper.exceptions import LensSuperError
from lenssuper.networks.base import SourceNetwork
from lenssuper.training.checkpoint import check_settings, read_state, write_state
from lenssuper.training.data import Batch, LensProblems, Stack, indices_of_step, seeded
from lenssuper.training.losses import Loss, weighted_sum
from lenssuper.training.scores import held_out_chi2

__all__ = ["Checkpoints", "KeepCheckpoint", "Schedule", "ShowProgress", "TrainingModule"]

# Steps in which the rate rises to its largest, and the largest norm of a gradient.
_WARM_UP, _LARGEST_GRADIENT = 30, 1.0
_UNCOUNTED = -1
# Steps with a gradient that is not finite, one after another, that are too many.
_HOPELESS = 10
_WEIGHT_DECAY = 1e-4
# The average of the weights remembers about a hundred steps, early on fewer.
_MEMORY, _EARLY = 0.99, 20


@dataclass(frozen=True)
class Schedule:
    """
    How long and how fast.

    Attributes
    ----------
    steps : int
        Steps of the optimiser.
    batch_size : int
        Lenses a step, of each process.
    learning_rate : float
        The largest one.
    seed : int
    check_every : int
        Steps from one check and checkpoint to the next.
    patience : int or None
        Checks without improvement after which the training ends.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    check_every: int
    patience: int | None

    def rate(self, step: int) -> float:
        """Share of the largest learning rate: from zero to one in 30 steps, and to zero along a cosine."""
        return min(1.0, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * min(1.0, step / self.steps))) / 2


class TrainingModule(LightningModule):
    """
    A network in training, with the running average of its weights and the best of these so far.

    All that is random in a step follows from the seed and the number of the step, and so does which lenses it
    sees: a training that was interrupted goes on as if it had not been.
    """

    def __init__(
        self,
        network: SourceNetwork,
        problems: LensProblems,
        chosen: Sequence[int],
        watched: tuple[LensProblems, Sequence[int]],
        losses: Sequence[Loss],
        schedule: Schedule,
        settings: dict[str, Any],
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.best = copy.deepcopy(self.average)
        self.best_score, self.best_step, self.stale = math.inf, 0, 0
        self.history: list[dict[str, float]] = []
        self.losses, self.schedule, self.settings = losses, schedule, settings
        self.latest: dict[str, float] = {}
        self._problems, self._chosen = problems, chosen
        self._watched, self._watch = watched
        self._workers, self._loader = workers, None
        self._not_finite = 0
        self._checks: list[torch.Tensor] = []
        for loss in losses:
            loss.begin(schedule.seed)

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or nothing got better for long."""
        patience = self.schedule.patience
        return self.global_step >= self.schedule.steps or (patience is not None and self.stale >= patience)

    # --- data

    def train_dataloader(self) -> DataLoader:
        """Give the batches up to the next check; the same loader each time, whose workers stay."""
        if self._loader is None:
            part = (self.global_rank, self.trainer.world_size)
            steps = _Stacks(self._problems, self._chosen, self.schedule, part, self._truth_needed)
            self._loader = DataLoader(
                steps,
                batch_size=None,
                sampler=_Steps(self),
                num_workers=self._workers,
                persistent_workers=self._workers > 0,
            )
        return self._loader

    def val_dataloader(self) -> DataLoader:
        """Give the batches of the check that are this process's."""
        size = self.schedule.batch_size
        parts = [list(self._watch[i : i + size]) for i in range(0, len(self._watch), size)]
        own = list(enumerate(parts))[self.global_rank :: self.trainer.world_size]
        # one without any would not come to where all wait for each other; what it finds is not counted
        own = own or [(_UNCOUNTED, parts[0])]
        return DataLoader(_Watched(self._watched, own), batch_size=None)

    @property
    def _truth_needed(self):
        return any(loss.name == "sup" for loss in self.losses)

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        """Make the problem where it is to be solved."""
        if isinstance(batch, Stack):
            return Batch(batch, device=device)
        number, stack = batch
        return number, Batch(stack, device=device)

    # --- steps

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Give the loss of a batch whose sources are looked at from a random side."""
        step = self.global_step
        generator = seeded(self.schedule.seed, step, self.global_rank)
        quarters, mirrored, own = (int(torch.randint(k, (), generator=generator)) for k in (4, 2, 2**31))
        torch.manual_seed(own)  # for networks with random layers
        batch = batch.turned(quarters, bool(mirrored))
        total, values = weighted_sum(self.losses, self.network, batch, generator)
        if not torch.isfinite(total):
            said = ", ".join(f"{name} {float(value):.4g}" for name, value in values.items())
            raise LensSuperError(
                f"the loss is not finite at step {step} ({said}); lower the learning rate, or look at the "
                "data"
            )
        self.latest = {"loss": total.detach(), **values}
        return total

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        """Limit the gradient; one that is not finite is dropped."""
        parameters = list(self.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        if torch.isfinite(norm):
            self._not_finite = 0
            return
        self._not_finite += 1
        if self._not_finite >= _HOPELESS:
            raise LensSuperError(
                f"the gradient was not finite in {_HOPELESS} steps one after another, up to step "
                f"{self.global_step}; lower the learning rate"
            )
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        """Add the weights to their running average."""
        step = self.global_step
        keep = min(_MEMORY, step / (step + _EARLY))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.mul_(keep).add_(value, alpha=1 - keep)
            for mean, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mean.copy_(value)

    def configure_optimizers(self):
        """AdamW, and a rate that rises and falls."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.schedule.learning_rate, weight_decay=_WEIGHT_DECAY
        )
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    # --- checks

    def validation_step(self, batch, batch_idx):
        """Predict pixels that are not shown with the average of the weights."""
        number, batch = batch
        if number != _UNCOUNTED:
            found = held_out_chi2(self.average, batch, seed=self.schedule.seed, number=number)
            self._checks.append(found.double())

    def on_validation_epoch_end(self):
        """Keep the best weights, and stop when nothing gets better."""
        checks = torch.cat(self._checks) if self._checks else torch.zeros(0, dtype=torch.float64)
        self._checks = []
        sums = torch.tensor([float(checks.sum()), float(len(checks))], device=self.device)
        total, count = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        score = total / count
        if score < self.best_score:
            self.best.load_state_dict(self.average.state_dict())
            self.best_score, self.best_step, self.stale = score, self.global_step, 0
        else:
            self.stale += 1
        values = {name: float(value) for name, value in self.latest.items()}
        self.history.append({"step": self.global_step, **values, "held_out_chi2": score})
        if self.finished:
            self.trainer.should_stop = True

    def on_train_start(self):
        """Stop at once if there is nothing more to do."""
        if self.finished:
            self.trainer.should_stop = True

    # --- checkpoints

    def on_save_checkpoint(self, checkpoint):
        """Add what Lightning knows nothing of."""
        names = ("best_score", "best_step", "stale", "history", "settings", "_not_finite")
        checkpoint["training"] = {name: getattr(self, name) for name in names}
        checkpoint["losses"] = {loss.name: loss.state() for loss in self.losses}

    def on_load_checkpoint(self, checkpoint):
        """Take it back."""
        state = dict(checkpoint["training"])
        check_settings(state.pop("settings"), self.settings)
        for name, value in state.items():
            setattr(self, name, value)
        for loss in self.losses:
            loss.restore(checkpoint["losses"][loss.name])


class _Stacks(Dataset):
    """The lenses of each step."""

    def __init__(self, problems, chosen, schedule, part, truth):
        self._problems, self._chosen, self._schedule = problems, chosen, schedule
        self._part, self._truth = part, truth

    def __getitem__(self, step: int) -> Stack:
        size, seed = self._schedule.batch_size, self._schedule.seed
        places = indices_of_step(len(self._chosen), step, size, seed, *self._part)
        return self._problems.stack([self._chosen[i] for i in places], truth=self._truth)


class _Watched(Dataset):
    """The lenses of the checks."""

    def __init__(self, problems, parts):
        self._problems, self._parts = problems, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, place: int) -> tuple[int, Stack]:
        number, indices = self._parts[place]
        return number, self._problems.stack(indices)


class _Steps(Sampler):
    """The numbers of the steps up to the next check."""

    def __init__(self, module: TrainingModule) -> None:
        self._module = module

    def _range(self):
        start, schedule = self._module.global_step, self._module.schedule
        return range(start, min(start + schedule.check_every, schedule.steps))

    def __iter__(self) -> Iterator[int]:
        return iter(self._range())

    def __len__(self) -> int:
        return len(self._range())


class Checkpoints(CheckpointIO):
    """Checkpoints of Lightning without pickle."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        """Write it beside its place and move it there."""
        write_state(path, checkpoint)

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict[str, Any]:
        """Read it; no code in it is ever run."""
        return read_state(path)

    def remove_checkpoint(self, path) -> None:
        """Remove it."""
        os.unlink(path)


class KeepCheckpoint(Callback):
    """Writes a checkpoint after each check, and ends the training when time is over."""

    def __init__(self, path: str | os.PathLike | None, max_minutes: float | None) -> None:
        self._path, self._max_minutes = path, max_minutes
        self._start, self._first_step = time.monotonic(), 0

    def on_train_start(self, trainer, pl_module):
        """Note where it begins."""
        self._first_step = trainer.global_step

    def on_train_epoch_end(self, trainer, pl_module):
        """Write where it stands."""
        if trainer.global_step == self._first_step:
            return  # Lightning ends the round that a checkpoint was written at the end of once more
        if self._path is not None:
            trainer.save_checkpoint(self._path)
        if self._max_minutes is not None:
            over = time.monotonic() - self._start > 60 * self._max_minutes
            if trainer.strategy.reduce_boolean_decision(over, all=False):
                trainer.should_stop = True


class ShowProgress(Callback):
    """One bar for all steps, with the loss and the latest held-out chi-square."""

    def __init__(self, shown: bool | None) -> None:
        self._shown, self._bar = shown, None

    def on_train_start(self, trainer, pl_module):
        """Begin where it stands."""
        hidden = None if self._shown is None else not self._shown
        self._bar = tqdm(
            total=pl_module.schedule.steps,
            initial=pl_module.global_step,
            disable=hidden if trainer.is_global_zero else True,
            unit="step",
        )

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Count a step."""
        self._bar.update()
        if not self._bar.disable and batch_idx % 10 == 0:
            said = {name: f"{float(value):.4f}" for name, value in pl_module.latest.items()}
            if pl_module.history:
                said["held_out_chi2"] = f"{pl_module.history[-1]['held_out_chi2']:.4f}"
            self._bar.set_postfix(said)

    def on_train_end(self, trainer, pl_module):
        """Leave the bar as it is."""
        self._bar.close()

    def on_exception(self, trainer, pl_module, exception):
        """Leave it here too."""
        if self._bar is not None:
            self._bar.close()
