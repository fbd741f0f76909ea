"""``lenssuper train``: a network for super-resolution, from observed lenses alone."""

from __future__ import annotations

import argparse
import operator
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _inputs as inputs
from lenssuper.cli._common import (
    add_factor,
    add_overwrite,
    check_writable,
    natural,
    new_command,
    positive,
)
from lenssuper.cli._report import say

if TYPE_CHECKING:
    from lenssuper.datasets import LensDataset
    from lenssuper.networks import SourceNetwork
    from lenssuper.training import Loss

__all__ = ["add"]

# By the names of their architectures, without the number.
_NETWORKS = ("unrolled", "cnn", "unet", "transformer")
# By their names in `lenssuper.training`.
_LOSSES = {
    "split": "PixelSplitting",
    "r2r": "Recorrupted",
    "equivariance": "Equivariance",
    "chi2": "DataFidelity",
    "tv": "TotalVariationLoss",
    "sup": "Supervised",
}
_WEIGHTED = ("chi2", "tv")


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(
        commands, "train", _train, "train a network for super-resolution on observed lenses, without truth"
    )
    inputs.add_input(
        parser,
        "data",
        check=inputs.present,
        type=Path,
        nargs="+",
        metavar="DIR",
        help="what lenssuper simulate wrote (its training set), or FITS files with a lens beside each; "
        "several are joined",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="NET.safetensors", help="file of weights to write"
    )
    inputs.add_input(
        parser,
        "--validation",
        check=inputs.present,
        type=Path,
        metavar="DIR",
        help="lenses that choose the best weights (default: the validation set of DIR, or one in eight)",
    )
    _add_training(parser.add_argument_group("the training"))
    _add_machine(parser.add_argument_group("the machine"))
    parser.add_argument("--resume", action="store_true", help="resume a training that was interrupted")
    add_overwrite(parser)


def _add_training(group) -> None:
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--network", choices=_NETWORKS, default="unrolled", help="what to train (default: %(default)s)"
    )
    inputs.add_input(
        start,
        "--start",
        check=inputs.present,
        type=Path,
        metavar="FILE",
        help="weights to begin with (default: a new network)",
    )
    group.add_argument(
        "--loss",
        type=_loss,
        action="append",
        metavar="NAME[=WEIGHT]",
        help=f"one of {', '.join(_LOSSES)}; may be given several times (default: split=1)",
    )
    group.add_argument(
        "--weighting",
        choices=("coverage", "magnification"),
        help="weight over the source, for the losses chi2 and tv (default: none)",
    )
    group.add_argument(
        "--steps", type=positive, default=500, help="steps of the optimiser (default: %(default)s)"
    )
    group.add_argument(
        "--batch", type=positive, default=4, help="lenses a step, on each device (default: %(default)s)"
    )
    group.add_argument(
        "--lr", type=_rate, default=1e-3, help="the largest learning rate (default: %(default)s)"
    )
    group.add_argument(
        "--seed", type=natural, default=0, help="the same seed gives the same weights (default: %(default)s)"
    )
    group.add_argument(
        "--check-every",
        type=positive,
        default=50,
        metavar="STEPS",
        help="steps between two checks on held-out pixels, and checkpoints (default: %(default)s)",
    )
    group.add_argument(
        "--patience",
        type=natural,
        default=20,
        metavar="CHECKS",
        help="checks without improvement, after which it ends; 0 to do all steps (default: %(default)s)",
    )
    add_factor(group)
    group.add_argument(
        "--source-pixels",
        type=positive,
        default=128,
        metavar="N",
        help="pixels along a side of the source plane (default: %(default)s)",
    )
    group.add_argument(
        "--no-psf", action="store_true", help="take observations without PSF as not blurred, not as an error"
    )


def _add_machine(group) -> None:
    group.add_argument(
        "--devices", type=positive, default=1, help="GPUs, or processes without one (default: %(default)s)"
    )
    group.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed"),
        default="32-true",
        help="numbers of the network's layers (default: %(default)s)",
    )
    group.add_argument(
        "--workers", type=natural, default=0, help="processes that make lenses ready (default: %(default)s)"
    )
    group.add_argument("--compile", action="store_true", help="compile the network's layers")
    group.add_argument(
        "--minutes",
        type=_rate,
        metavar="T",
        help="stop after so many minutes, with a checkpoint for --resume; "
        "the weights do not depend on it (default: never)",
    )


def _loss(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    if name not in _LOSSES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(_LOSSES)}; got {name!r}")
    return name, _rate(weight) if weight else 1.0


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number; got {text!r}")
    return value


def _train(options: argparse.Namespace) -> None:
    if not options.resume:
        files = [options.output, options.output.with_suffix(".md")]
        check_writable(files, options)
    data, validation = _read(options)
    from lenssuper.training import train

    with _interruptible(options):
        result = train(
            _network(options),
            data,
            validation=0.125 if validation is None else validation,
            losses=_losses(options),
            output=options.output,
            steps=options.steps,
            batch_size=options.batch,
            learning_rate=options.lr,
            seed=options.seed,
            factor=options.factor,
            source_pixels=options.source_pixels,
            psf_required=not options.no_psf,
            check_every=options.check_every,
            patience=options.patience or None,
            resume=options.resume,
            overwrite=options.overwrite,
            max_minutes=options.minutes,
            precision=options.precision,
            devices=options.devices,
            strategy="auto" if options.devices == 1 else "ddp",
            workers=options.workers,
            compiled=options.compile,
            card={"command": _command(options), "data": _described(options, data)},
            progress=False if options.quiet else None,
        )
    if not result.finished:
        steps = result.history[-1]["step"]
        say(options, f"stopped  after {steps} of {options.steps} steps; add --resume to continue")
        return
    if "scores" not in result.card:  # another process has it
        return
    scores = result.card["scores"]
    say(options, f"held-out chi2  {scores['held_out_chi2']:.3f} per pixel, of pixels that were not shown")
    say(options, f"chi2           {scores['chi2']:.3f} per pixel")
    if "psnr" in scores:
        gain = scores["psnr"] - scores["psnr_cubic"]
        say(options, f"PSNR           {scores['psnr']:.2f} dB, {gain:+.2f} dB beside cubic interpolation")
    say(options, f"wrote          {options.output} and {options.output.with_suffix('.md').name}")


@contextmanager
def _interruptible(options: argparse.Namespace) -> Iterator[None]:
    """Say after Ctrl-C whether there is a checkpoint of this training."""
    from lenssuper.training.train import checkpoint_path

    path = checkpoint_path(options.output)
    former = path.stat().st_mtime_ns if path.exists() and not options.resume else None
    try:
        yield
    except KeyboardInterrupt:
        if path.exists() and path.stat().st_mtime_ns != former:
            say(options, "stopped  with the checkpoint of the latest check; add --resume to continue")
        else:
            say(options, "stopped  before the first check: nothing is kept")
        raise


def _read(options) -> tuple[LensDataset, LensDataset | None]:
    """Return the lenses to train on and those to validate with; None if no set has a validation part."""
    data = reduce(operator.add, [_part(path, "train") for path in options.data])
    if options.validation is not None:
        return data, _part(options.validation, "validation")
    divided = [path for path in options.data if "validation" in _parts(path)]
    return data, reduce(operator.add, [_part(path, "validation") for path in divided]) if divided else None


def _part(path: Path, name: str) -> LensDataset:
    """Return the named part of a divided set, or all of another."""
    from lenssuper.datasets import read_dataset

    return read_dataset(path, name if name in _parts(path) else None)


def _parts(path: Path) -> Collection[str]:
    from lenssuper.datasets.lenses import read_settings

    content = read_settings(path) if path.is_dir() else None
    return () if content is None else content["splits"]


def _network(options) -> SourceNetwork:
    import torch

    from lenssuper.networks.weights import architectures, read_network

    if options.start is not None:
        return read_network(options.start)
    kinds = {name.rpartition("-")[0]: kind for name, kind in architectures().items()}
    torch.manual_seed(options.seed)
    return kinds[options.network]()


def _losses(options) -> list[Loss]:
    from lenssuper import training

    by = {"by": getattr(training, f"by_{options.weighting}")} if options.weighting else {}
    return [
        getattr(training, _LOSSES[name])(weight=weight, **(by if name in _WEIGHTED else {}))
        for name, weight in options.loss or [("split", 1.0)]
    ]


def _command(options: argparse.Namespace) -> str:
    """Return the command that gives the same weights again from the same data."""
    words = ["lenssuper", "train", *(path.name for path in options.data), "--output", options.output.name]
    if options.validation is not None:
        words += ["--validation", options.validation.name]
    words += ["--start", options.start.name] if options.start else ["--network", options.network]
    for name, weight in options.loss or [("split", 1.0)]:
        words += ["--loss", f"{name}={weight:g}"]
    words += ["--weighting", options.weighting] if options.weighting else []
    for name in ("steps", "batch", "lr", "seed", "check_every", "patience", "factor", "source_pixels"):
        words += [f"--{name.replace('_', '-')}", f"{getattr(options, name):g}"]
    words += ["--devices", str(options.devices), "--precision", options.precision]
    words += ["--no-psf"] if options.no_psf else []
    return shlex.join([*words, "--compile"] if options.compile else words)


def _described(options, data: LensDataset) -> dict:
    settings = {f"simulated with {name}": value for name, value in data.settings.items()}
    return {"set": ", ".join(path.name for path in options.data), **settings}
