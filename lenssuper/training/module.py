"""Training on observed lenses as a module of Lightning: steps, and checks on held-out pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lenssuper._utils.checks import check_count
from lenssuper.networks.base import SourceNetwork
from lenssuper.training.data import Batch, LensProblems, PreparedLenses, indices_of_step, seeded
from lenssuper.training.loop import SteppedModule
from lenssuper.training.losses import Loss, weighted_sum
from lenssuper.training.scores import held_out_chi2

__all__ = ["Schedule", "TrainingModule"]

# Steps in which the learning rate rises to its largest value
_WARM_UP = 30
# Number of a batch that only keeps a process busy
_UNCOUNTED = -1
_WEIGHT_DECAY = 1e-4
# The average of the weights extends over about a hundred steps, early on over fewer.
_MEMORY, _EARLY = 0.99, 20
# A held-out chi-square so many times the least one is a setback: checks of a training that goes well rise by
# less than 1%, those of one that went astray by 12 to 19% (200 lenses of ``lenssuper simulate``).
_SETBACK = 1.05
# Factor on the learning rate after each setback
_SLOWER = 0.5


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int  # of the optimiser
    batch_size: int  # lenses a step, of each process
    learning_rate: float  # the largest one
    seed: int
    check_every: int  # steps from one check and checkpoint to the next
    patience: int | None  # checks without improvement after which the training ends

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "check_every"):
            check_count(getattr(self, name), name)
        if self.patience is not None:
            check_count(self.patience, "patience")

    def rate(self, step: int, *, start: int = 0) -> float:
        """
        Share of the largest learning rate: from zero to one in 30 steps, and to zero along a cosine.

        It rises from zero again after a new ``start``.
        """
        rise = min(1.0, (step - start + 1) / _WARM_UP)
        return rise * (1 + math.cos(math.pi * min(1.0, step / self.steps))) / 2


class TrainingModule(SteppedModule):
    """
    A network in training, with the running average of its weights and the best of these so far.

    When a check is much worse than the best one, the training continues from the best weights at half the
    learning rate.

    The average and the early stop are not those of Lightning: WeightAveraging copies the whole module with
    its data, and begins with the weights after the first step; EarlyStopping, resumed after it had decided to
    stop, asks for a score that there is not yet.
    """

    kept = (*SteppedModule.kept, "best_score", "best_step", "stale", "setbacks")

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
        super().__init__(network, schedule.steps, schedule.check_every, settings, workers)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.best = copy.deepcopy(self.average)
        self.best_score, self.best_step, self.stale = math.inf, 0, 0
        self.setbacks: list[dict[str, float]] = []
        self.losses, self.schedule = losses, schedule
        self._problems, self._chosen = problems, chosen
        self._watched, self._watch = watched
        self._checks: list[torch.Tensor] = []

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or there was no improvement for long."""
        patience = self.schedule.patience
        return super().finished or (patience is not None and self.stale >= patience)

    # --- data

    def batches(self) -> Dataset:
        """Return the lenses of each step that are this process's."""
        part = (self.global_rank, self.trainer.world_size)
        truth = any(loss.name == "sup" for loss in self.losses)
        return _LensesOfStep(self._problems, self._chosen, self.schedule, part, truth)

    def val_dataloader(self) -> DataLoader:
        """Return the batches of the check that are this process's."""
        size = self.schedule.batch_size
        parts = [list(self._watch[i : i + size]) for i in range(0, len(self._watch), size)]
        own = list(enumerate(parts))[self.global_rank :: self.trainer.world_size]
        # a process without a batch would not arrive where all wait for each other; its result is not counted
        own = own or [(_UNCOUNTED, parts[0])]
        return DataLoader(_LensesOfCheck(self._watched, own), batch_size=None)

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        """Make the problem on the device where it is to be solved."""
        if isinstance(batch, PreparedLenses):
            return Batch(batch, device=device)
        number, lenses = batch
        return number, Batch(lenses, device=device)

    # --- steps

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch, its sources turned and mirrored at random."""
        generator = seeded(self.schedule.seed, self.global_step, self.global_rank)
        quarters, mirrored, own = (int(torch.randint(k, (), generator=generator)) for k in (4, 2, 2**31))
        torch.manual_seed(own)  # for networks with random layers
        batch = batch.turned(quarters, bool(mirrored))
        return self.noted(*weighted_sum(self.losses, self.network, batch, generator))

    def on_train_batch_end(self, outputs, batch, batch_idx):
        """Add the weights to their running average."""
        step = self.global_step
        keep = min(_MEMORY, step / (step + _EARLY))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.mul_(keep).add_(value, alpha=1 - keep)
            for mean, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mean.copy_(value)

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        rate = self.schedule.learning_rate
        return torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY)

    def rate(self, step: int) -> float:
        """Return the share of the largest learning rate, which is lower after each setback."""
        start = self.setbacks[-1]["step"] if self.setbacks else 0
        return _SLOWER ** len(self.setbacks) * self.schedule.rate(step, start=int(start))

    # --- checks

    def validation_step(self, batch, batch_idx):
        """Predict held-out pixels with the average of the weights."""
        number, batch = batch
        if number != _UNCOUNTED:
            found = held_out_chi2(self.average, batch, seed=self.schedule.seed, number=number)
            self._checks.append(found.double())

    def on_validation_epoch_end(self):
        """Keep the best weights or go back to them, and stop if there was no improvement for long."""
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
            if not score <= _SETBACK * self.best_score:  # it may be nan
                self._go_back(score)
        values = {name: float(value) for name, value in self.latest.items()}
        self.history.append({"step": self.global_step, **values, "held_out_chi2": score})
        if self.finished:
            self.trainer.should_stop = True

    def _go_back(self, score):
        """Continue from the best weights at a lower rate, with a new optimiser."""
        self.setbacks.append({"step": self.global_step, "held_out_chi2": score})
        for network in (self.network, self.average):
            network.load_state_dict(self.best.state_dict())
        optimizer = self.trainer.optimizers[0]
        optimizer.state.clear()
        for group in optimizer.param_groups:  # the next step has its rate already
            group["lr"] = self.schedule.learning_rate * self.rate(self.global_step)


class _LensesOfStep(Dataset):
    def __init__(self, problems, chosen, schedule, part, truth):
        self._problems, self._chosen, self._schedule = problems, chosen, schedule
        self._part, self._truth = part, truth

    def __getitem__(self, step: int) -> PreparedLenses:
        size, seed = self._schedule.batch_size, self._schedule.seed
        drawn = indices_of_step(len(self._chosen), step, size, seed, *self._part)
        return self._problems.prepared([self._chosen[i] for i in drawn], truth=self._truth)


class _LensesOfCheck(Dataset):
    def __init__(self, problems, parts):
        self._problems, self._parts = problems, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> tuple[int, PreparedLenses]:
        number, indices = self._parts[index]
        return number, self._problems.prepared(indices)
