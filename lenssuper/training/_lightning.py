"""Lightning without surprises: a clear error where it is missing, no advice, and Ctrl-C as it always is."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["fit", "lightning_or_error", "quiet"]

# What Lightning warns of that is as it should be here, and what it does itself that torch warns of.
_ADVICE = (
    ".*does not have many workers",
    ".*in eval mode",
    ".*available but not used",
    ".*LeafSpec",
    ".*is zero",
)


def lightning_or_error():
    """Import Lightning."""
    try:
        import lightning.pytorch
    except ImportError as error:
        raise ImportError(
            "training needs Lightning, which is not installed: pip install lenssuper[train]"
        ) from error
    return lightning.pytorch


def fit(trainer, module, checkpoint: str | None) -> None:
    """Train, from a checkpoint on if there is one; random numbers and signals stay as they were."""
    before, own = torch.get_rng_state(), threading.current_thread() is threading.main_thread()
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        # what Lightning makes of Ctrl-C
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        torch.set_rng_state(before)
        if own and on_interrupt is not None:
            signal.signal(signal.SIGINT, on_interrupt)  # after one Ctrl-C, Lightning has all others ignored


@contextmanager
def quiet() -> Iterator[None]:
    """Be without what Lightning says of itself and advises."""
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
