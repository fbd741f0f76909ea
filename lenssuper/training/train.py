"""Training of a network on observed lenses without truth; it can be killed at any moment and resumed."""

from __future__ import annotations

import copy
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lenssuper._utils.checks import check_choice, check_kind
from lenssuper._utils.version import __version__
from lenssuper._utils.warn import warn
from lenssuper.exceptions import LensSuperError
from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.weights import card_path, write_network
from lenssuper.observation.grid import PixelGrid
from lenssuper.training.data import LensProblems, split_off
from lenssuper.training.losses import Loss, PixelSplitting
from lenssuper.training.scores import evaluate

__all__ = ["Training", "checkpoint_path", "train"]

# Lenses of the checks during the training; the scores at its end are of all that were kept.
_WATCHED = 32
# Settings that the model card names
_IN_CARD = (
    "steps",
    "batch_size",
    "learning_rate",
    "seed",
    "check_every",
    "patience",
    "precision",
    "processes",
)


@dataclass(frozen=True)
class Training:
    """
    The result of a training.

    Attributes
    ----------
    network : SourceNetwork
        With the best weights, in evaluation mode, on the CPU.
    finished : bool
        Whether it came to its end; if not, the time was over, and there is a checkpoint to resume from.
    card : dict
        Data, loss, settings, versions and scores.
    history : list of dict
        Step, losses and held-out chi-square of each check.
    """

    network: SourceNetwork = field(repr=False)
    finished: bool
    card: dict[str, Any] = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)


def checkpoint_path(output: str | os.PathLike) -> Path:
    """Return the path of the checkpoint of a training that writes to ``output``."""
    output = Path(output)
    return output.with_name(output.name + ".checkpoint")


def train(
    network: SourceNetwork,
    data: Sequence,
    *,
    validation: Sequence | float = 0.125,
    losses: Sequence[Loss] | None = None,
    output: str | os.PathLike | None = None,
    steps: int = 500,
    batch_size: int = 4,
    learning_rate: float = 1e-3,
    seed: int = 0,
    factor: int = 2,
    source_pixels: int = 128,
    source_grid: PixelGrid | None = None,
    psf_required: bool = True,
    check_every: int = 50,
    patience: int | None = 20,
    resume: bool = False,
    overwrite: bool = False,
    max_minutes: float | None = None,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int | str | list[int] = 1,
    strategy: str = "auto",
    num_nodes: int = 1,
    workers: int = 0,
    compiled: bool = False,
    memory: int = 4 * 2**30,
    card: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Training:
    """
    Train a network on observed lenses.

    Parameters
    ----------
    network : SourceNetwork
        Initial weights. It is not changed.
    data : sequence
        Pairs (observation, lens), or a data set of ``lenssuper.simulate``; see
        `~lenssuper.training.LensProblems`.
    validation : sequence or float, optional
        Other lenses, or the share of ``data`` that is kept: the best weights are those that predict their
        held-out pixels best.
    losses : sequence of Loss, optional
        Summed with their weights; by default `~lenssuper.training.PixelSplitting`.
    output : str or path-like, optional
        File of weights to write, ending in ``.safetensors``, with a model card ``.md`` beside it. While the
        training runs, ``OUTPUT.checkpoint`` is there.
    steps, batch_size : int, optional
        Steps of AdamW, and lenses a step (of each process).
    learning_rate : float, optional
        The largest one, after a start from zero and before the descent along a cosine.
    seed : int, optional
        The same data, settings and seed give the same weights, on one kind of machine with as many threads.
    factor, source_pixels, source_grid, psf_required, memory : optional
        See `~lenssuper.training.LensProblems`.
    check_every : int, optional
        Steps between two checks on held-out pixels; a checkpoint follows each.
    patience : int, optional
        Checks without improvement after which the training ends; None to do all steps.
    resume : bool, optional
        Whether to continue from the checkpoint of an interrupted training, if there is one. The weights are
        the same as without the interruption.
    overwrite : bool, optional
        Whether ``output`` may be replaced.
    max_minutes : float, optional
        Stop at the first check after that time. The checkpoint can be resumed from; no weights are written.
    precision : {"32-true", "bf16-mixed"}, optional
        Of the layers of the network. Lenses, PSFs and all sums over pixels are float32 in any case.
    accelerator, devices, strategy, num_nodes : optional
        As for Lightning's Trainer, e.g. ``devices=4, strategy="ddp"``.
    workers : int, optional
        Processes that prepare the lenses.
    compiled : bool, optional
        Whether to compile the layers of the network with `torch.compile`.
    card : mapping, optional
        Further entries of the model card, e.g. the command and the origin of the data.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.

    Returns
    -------
    Training

    Raises
    ------
    ImportError
        If Lightning is not installed.
    FileExistsError
        If ``output`` is there and ``overwrite`` is not set.
    LensSuperError
        If the loss is not finite. Nothing is overwritten.
    ValueError
        If the data cannot be used, or the checkpoint is of another training.

    Warns
    -----
    LensSuperWarning
        If a check was worse than the best one by more than 5%.

    Notes
    -----
    The result has the averages of the weights over about a hundred steps (Polyak & Juditsky 1992, SIAM J.
    Control Optim. 30, 838), up to the check with the least held-out chi-square.

    Where a check is worse than the best one by more than 5%, the training continues from the best weights
    with half the learning rate, and warns at its end.
    """
    from lenssuper.training.loop import run  # these load Lightning
    from lenssuper.training.module import Schedule, TrainingModule

    _check_arguments(network, precision, output, compiled)
    losses = [PixelSplitting()] if losses is None else list(losses)
    _check_losses(losses)
    checkpoint = None if output is None else checkpoint_path(output)
    resumed = resume and checkpoint is not None and checkpoint.exists()
    if output is not None and not (overwrite or resumed):
        _check_free(output)
    options: dict[str, Any] = {
        "factor": factor,
        "source_pixels": source_pixels,
        "source_grid": source_grid,
        "psf_required": psf_required,
        "memory": memory,
    }
    problems = LensProblems(data, **options)
    chosen, watched = _divide(problems, validation, seed, options)
    schedule = Schedule(steps, batch_size, float(learning_rate), seed, check_every, patience)
    module = TrainingModule(
        copy.deepcopy(network),
        problems,
        chosen,
        (watched[0], _evenly(watched[1], _WATCHED)),
        losses,
        schedule,
        _settings(network, problems, watched, losses, schedule, precision),
        workers,
    )
    if compiled:
        for layers in module.network.children():
            layers.compile()
    trainer = run(
        module,
        checkpoint,
        resume=resumed,
        max_minutes=max_minutes,
        progress=progress,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        num_nodes=num_nodes,
        precision=precision,
    )
    if module.setbacks:
        warn(_setbacks_in_words(module.setbacks))
    best = copy.deepcopy(network)
    best.load_state_dict(module.best.state_dict())
    best = best.cpu().eval()
    known = _card(problems, chosen, watched, module, card or {})
    if module.finished and trainer.is_global_zero:
        if not all(torch.isfinite(p).all() for p in best.parameters()):
            raise LensSuperError("the training ended with weights that are not finite; nothing is written")
        scores = evaluate(best, *watched, batch_size=batch_size, seed=seed)
        known["scores"] = {name: round(value, 4) for name, value in scores.items()}
        if output is not None and checkpoint is not None:
            write_network(output, best, known, overwrite=overwrite or resumed)
            checkpoint.unlink(missing_ok=True)
    return Training(best, module.finished, known, module.history)


def _setbacks_in_words(setbacks):
    """Return what a user should know of checks that were much worse than the best one."""
    each = ", ".join(f"{setback['held_out_chi2']:.3g} at step {setback['step']}" for setback in setbacks)
    return (
        f"the held-out chi-square rose well above its least value: {each}; the training then continued from "
        "its best weights, each time with half the learning rate: a lower learning rate may do better"
    )


def _card(problems, chosen, watched, module, more):
    """Return the model card without the scores; entries of ``more`` are added."""
    known = {
        "data": {
            "lenses": len(chosen),
            "validation lenses": len(watched[1]),
            "image shape": list(problems.shape),
            "factor": problems.factor,
            "source pixels": problems.source_pixels,
            "sha256": problems.fingerprint,
        },
        "loss": {loss.name: loss.config for loss in module.losses},
        "training": {name: module.settings[name] for name in _IN_CARD}
        | {"best_step": module.best_step, "setbacks": len(module.setbacks)},
        "versions": _versions(),
    }
    for name, content in more.items():
        both = isinstance(content, Mapping) and isinstance(known.get(name), Mapping)
        known[name] = known[name] | content if both else content
    return known


def _check_arguments(network, precision, output, compiled):
    check_kind(network, "network", SourceNetwork)
    check_choice(precision, "precision", ("32-true", "bf16-mixed"))
    if output is not None:
        path = Path(output)
        if path.suffix != ".safetensors":
            raise ValueError(f"output must end in .safetensors; got {os.fspath(output)!r}")
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"the directory {path.parent} does not exist")
    if compiled and not torch.cuda.is_available():
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise LensSuperError(
                f"compiled=True needs a C++ compiler, and there is no {compiler}: install one, set CXX, or "
                "leave compiled out"
            )


def _check_losses(losses):
    for loss in losses:
        check_kind(loss, "losses", Loss, "a list of Loss")
    names = [loss.name for loss in losses]
    if not names:
        raise ValueError("losses must hold at least one Loss; got none")
    if len(set(names)) < len(names):
        raise ValueError(f"losses must be of different kinds; got {', '.join(names)}")


def _check_free(output):
    for file in (Path(output), card_path(output)):
        if file.exists():
            raise FileExistsError(f"{file} exists; pass overwrite=True to replace it")


def _divide(problems, validation, seed, options):
    """Return the lenses to train on, and the set and numbers of those that are kept for the checks."""
    if isinstance(validation, (int, float)):
        if not 0 < validation < 1:
            raise ValueError(f"validation must be lenses, or a share between 0 and 1; got {validation}")
        chosen, kept = split_off(len(problems), validation, seed)
        return chosen, (problems, kept)
    try:
        watched = LensProblems(validation, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation: {error}") from error
    return list(range(len(problems))), (watched, list(range(len(watched))))


def _evenly(indices, most):
    if len(indices) <= most:
        return indices
    return [indices[int(i)] for i in np.linspace(0, len(indices) - 1, most)]


def _settings(network, problems, watched, losses, schedule, precision):
    """Return what must be the same when a training is resumed."""
    return asdict(schedule) | {
        "architecture": network.architecture,
        "config": dict(network.config),
        "data": problems.fingerprint,
        "validation": watched[0].fingerprint,
        "losses": {loss.name: loss.config for loss in losses},
        "factor": problems.factor,
        "source_pixels": problems.source_pixels,
        "source_grid": repr(problems.source_grid),
        "precision": precision,
    }


def _versions():
    own = {"lenssuper": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in ("numpy", "torch", "lightning")}
