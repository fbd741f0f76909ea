"""The loop of a training with Lightning: rounds of steps with a checkpoint after each."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

try:
    from lightning.fabric.plugins import CheckpointIO
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(
        'training needs Lightning, which is not installed: pip install "lenssuper[train]"'
    ) from error

from torch.utils.data import DataLoader, Dataset, Sampler

from lenssuper._utils.progress import progress_bar
from lenssuper.exceptions import FileFormatError, LensSuperError
from lenssuper.training.checkpoint import check_settings, read_state, write_state

__all__ = ["SteppedModule", "run"]

_LOG = logging.getLogger("lenssuper")
_LARGEST_GRADIENT = 1.0
# Consecutive steps with a gradient that is not finite after which the training is given up.
_HOPELESS = 10
# Warnings of Lightning about what is intended here, and of torch about what Lightning itself does.
_ADVICE = (
    ".*does not have many workers",
    ".*in eval mode",
    ".*available but not used",
    ".*LeafSpec",
    ".*is zero",
)


class SteppedModule(LightningModule):
    """
    A network in training.

    All random numbers of a step, and its data, follow from a seed and the number of the step: a training that
    was interrupted continues as if it had not been. A check and a checkpoint follow every ``round_length`` of
    the ``steps``. ``settings`` must be the same when the training is resumed; ``workers`` processes prepare
    the data.
    """

    # attributes, beside the weights, that a checkpoint holds
    kept: ClassVar[tuple[str, ...]] = ("settings", "history", "_not_finite")

    def __init__(
        self,
        network: torch.nn.Module,
        steps: int,
        round_length: int,
        settings: dict[str, Any],
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.steps, self.round_length, self.settings = steps, round_length, settings
        self.latest: dict[str, torch.Tensor] = {}
        self.history: list[dict[str, float]] = []
        self._workers, self._not_finite = workers, 0
        self._loader: DataLoader | None = None

    def batches(self) -> Dataset:
        """Return the data, indexed by the number of the step."""
        raise NotImplementedError

    def optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimiser with the largest learning rate."""
        raise NotImplementedError

    def rate(self, step: int) -> float:
        """Return the learning rate of a step as a share of the largest one."""
        raise NotImplementedError

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to do."""
        return self.global_step >= self.steps

    def train_dataloader(self) -> DataLoader:
        """Return the data up to the next check: always the same loader, so that its workers stay alive."""
        if self._loader is None:
            self._loader = DataLoader(
                self.batches(),
                batch_size=None,
                sampler=_StepsOfRound(self),
                num_workers=self._workers,
                persistent_workers=self._workers > 0,
            )
        return self._loader

    def noted(self, loss: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of a step, if it is finite; it and its parts are kept for the progress bar."""
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} {float(value):.4g}" for name, value in parts.items())
            raise LensSuperError(
                f"the loss is not finite at step {self.global_step} ({values}); lower the learning rate, or "
                "look at the data"
            )
        self.latest = {"loss": loss.detach(), **parts}
        return loss

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        """Limit the norm of the gradient; one that is not finite is set to zero."""
        parameters = list(self.network.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        if torch.isfinite(norm):
            self._not_finite = 0
            return
        self._not_finite += 1
        if self._not_finite >= _HOPELESS:
            raise LensSuperError(
                f"the gradient was not finite in {_HOPELESS} consecutive steps, up to step "
                f"{self.global_step}; lower the learning rate"
            )
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()

    def configure_optimizers(self):
        """Return the optimiser, and its learning rate as a function of the step."""
        optimizer = self.optimizer()
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def on_train_start(self):
        """Stop at once if there is nothing more to do."""
        if self.finished:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint):
        """Add the attributes that Lightning does not know."""
        checkpoint["training"] = {name: getattr(self, name) for name in self.kept}

    def on_load_checkpoint(self, checkpoint):
        """Restore them, if the training is the same."""
        state = dict(checkpoint["training"])
        check_settings(state.pop("settings"), self.settings)
        for name, value in state.items():
            setattr(self, name, value)


class _StepsOfRound(Sampler):
    """The numbers of the steps up to the next check."""

    def __init__(self, module: SteppedModule) -> None:
        self._module = module

    def _range(self):
        start = self._module.global_step
        return range(start, min(start + self._module.round_length, self._module.steps))

    def __iter__(self) -> Iterator[int]:
        return iter(self._range())

    def __len__(self) -> int:
        return len(self._range())


def run(
    module: SteppedModule,
    checkpoint: Path | None,
    *,
    resume: bool,
    max_minutes: float | None = None,
    progress: bool | None = None,
    **options,
) -> Trainer:
    """
    Train a module; the state of the random numbers and the signal handlers are the same afterwards.

    Parameters
    ----------
    module : SteppedModule
        The number of processes is added to its settings.
    checkpoint : Path or None
        Where a checkpoint is written after each round.
    resume : bool
        Whether to continue from ``checkpoint``.
    max_minutes : float, optional
        Stop at the end of the first round after that time.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.
    **options
        For `lightning.pytorch.Trainer`.
    """
    with _quiet():
        trainer = Trainer(
            max_epochs=-1,
            max_steps=module.steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            inference_mode=False,
            plugins=[_CheckpointsWithoutPickle()],
            callbacks=[_KeepCheckpoint(checkpoint, max_minutes), _ShowProgress(progress)],
            **options,
        )
        module.settings["processes"] = trainer.world_size
        before, main = torch.get_rng_state(), threading.current_thread() is threading.main_thread()
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, ckpt_path=str(checkpoint) if resume else None, weights_only=True)
        except SystemExit as error:
            # Lightning turns Ctrl-C into this
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            torch.set_rng_state(before)
            if main and on_interrupt is not None:
                signal.signal(signal.SIGINT, on_interrupt)  # after one Ctrl-C, Lightning ignores the next
    return trainer


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the messages of Lightning below errors, and its advice."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for words in _ADVICE:
                warnings.filterwarnings("ignore", words)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _CheckpointsWithoutPickle(CheckpointIO):
    """Lightning's checkpoints as files that hold no code, and are complete or not there."""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        write_state(path, checkpoint)

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict[str, Any]:
        state = read_state(path)
        if "training" not in state:
            raise FileFormatError(f"{path} is the checkpoint of another kind of training")
        return state

    def remove_checkpoint(self, path) -> None:
        os.unlink(path)


class _KeepCheckpoint(Callback):
    """
    Writes a checkpoint after each round, and stops when the time is over.

    Lightning's Timer would not do: it counts the time of the interrupted run too, so that a second run of as
    many minutes stops before its first step.
    """

    def __init__(self, path: Path | None, max_minutes: float | None) -> None:
        self._path, self._max_minutes = path, max_minutes
        self._start, self._first_step = time.monotonic(), 0

    def on_train_start(self, trainer, pl_module):
        self._first_step = trainer.global_step

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.global_step == self._first_step:
            return  # resumed, Lightning first ends the round again after which the checkpoint was written
        if self._path is not None:
            trainer.save_checkpoint(self._path)
        if self._max_minutes is not None:
            over = time.monotonic() - self._start > 60 * self._max_minutes
            if trainer.strategy.reduce_boolean_decision(over, all=False):
                trainer.should_stop = True


class _ShowProgress(Callback):
    """One bar for all steps, with the loss and the latest held-out chi-square; a log entry for each check."""

    def __init__(self, shown: bool | None) -> None:
        self._shown, self._bar = shown, None

    def on_train_start(self, trainer, pl_module):
        shown = self._shown if trainer.is_global_zero else False
        steps, done = pl_module.steps, pl_module.global_step
        self._bar = progress_bar(shown, total=steps, initial=done, unit="step", at_once=True)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._bar.update()
        if not self._bar.disable and batch_idx % 10 == 0:
            values = {name: f"{float(value):.4f}" for name, value in pl_module.latest.items()}
            if pl_module.history:
                values["held_out_chi2"] = f"{pl_module.history[-1]['held_out_chi2']:.4f}"
            self._bar.set_postfix(values)

    def on_validation_start(self, trainer, pl_module):
        self._bar.set_description("checking")

    def on_validation_end(self, trainer, pl_module):
        self._bar.set_description("")
        if trainer.is_global_zero and pl_module.history:
            check = dict(pl_module.history[-1])
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in check.items() if name != "step")
            _LOG.info("step %d of %d: %s", check["step"], pl_module.steps, numbers.replace("_", " "))

    def on_train_end(self, trainer, pl_module):
        self._bar.close()

    def on_exception(self, trainer, pl_module, exception):
        if self._bar is not None:
            self._bar.close()
