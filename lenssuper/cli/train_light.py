"""``lenssuper train-light``: weights for the learned methods of SersicFitter, from images of galaxies."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenssuper.cli import _inputs as inputs
from lenssuper.cli._common import add_overwrite, check_writable, natural, new_command, positive
from lenssuper.cli._report import say

__all__ = ["add"]

_STEPS = {"cnn": 5000, "ppo": 500_000, "ppo-discrete": 500_000}


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(
        commands,
        "train-light",
        _train_light,
        "train what SersicFitter's methods cnn and ppo use, on images of galaxies",
    )
    parser.add_argument(
        "--method",
        choices=list(_STEPS),
        required=True,
        help="a network through the renderer's gradient, or a policy by PPO (continuous or discrete actions)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="OUT.safetensors", help="file of weights to write"
    )
    inputs.add_input(
        parser,
        "--galaxies",
        check=inputs.present,
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE|DIR",
        help="FITS files, or directories of them, with galaxies to train "
        "on beside the simulated ones (default: none)",
    )
    parser.add_argument(
        "--simulated",
        type=natural,
        default=6000,
        help="number of galaxies to simulate (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=positive,
        help="steps of the optimiser (default for cnn: 5000) or of the agent (default for ppo: 500000)",
    )
    parser.add_argument(
        "--components", type=positive, default=6, help="Sersics added to an image (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="the same seed gives the same weights (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="resume a training that was interrupted")
    add_overwrite(parser)


def _train_light(options: argparse.Namespace) -> None:
    check_writable([options.output], options)
    train: Callable[..., Any]
    if options.method == "cnn":
        from lenssuper.training.light.network import train_network

        train = train_network
    else:
        from lenssuper.training.light.policy import train_policy

        train = train_policy
    images = _read(options.galaxies) + _simulated(options)
    given = {} if options.method == "cnn" else {"discrete": options.method == "ppo-discrete"}
    known = train(
        images,
        options.output,
        steps=options.steps or _STEPS[options.method],
        components=options.components,
        seed=options.seed,
        resume=options.resume,
        overwrite=options.overwrite,
        metadata={"command": _command(options), "data": _data(options)},
        progress=False if options.quiet else None,
        **given,
    )
    errors = " ".join(f"{e:.2f}" for e in known["held_out_error_percent"])
    say(options, f"error    {errors} % of held-out images after 1, 2, ... Sersics")
    say(options, f"wrote    {options.output}")


def _simulated(options):
    import numpy as np

    from lenssuper._utils.progress import progress_bar
    from lenssuper.simulate.stamps import galaxy_stamp

    shown, numbers = False if options.quiet else None, range(options.simulated)
    numbers = progress_bar(shown, numbers, unit="galaxy", desc="simulate")
    return [galaxy_stamp(np.random.default_rng([options.seed, i])) for i in numbers]


def _read(paths: list[Path]):
    """Return all two-dimensional images of the files, and of the FITS files in the directories."""
    from lenssuper._utils.files import reading
    from lenssuper.exceptions import FileFormatError
    from lenssuper.observation.opening import open_fits

    images: list[Any] = []
    for path in paths:
        found = sorted(path.glob("*.fits*")) if path.is_dir() else [path]
        if not found:
            raise FileNotFoundError(f"{path} holds no FITS files")
        for file in found:
            before = len(images)
            with reading(file, "a FITS image"), open_fits(file) as hdus:
                images += _galaxies_of(hdus)
            if len(images) == before:
                raise FileFormatError(f"{file} holds no two-dimensional image")
    return images


def _galaxies_of(hdus):
    """Return the images of a file that are data, with the mask of the CCDData layout if there is one."""
    import numpy as np

    beside = {"UNCERT", "MASK", "PSFIMAGE", "LENSLIGHT"}
    masks = [hdu.data for hdu in hdus if hdu.name == "MASK" and hdu.data is not None]
    images = [
        np.asarray(hdu.data, dtype=float)
        for hdu in hdus
        if hdu.is_image and hdu.header["NAXIS"] == 2 and hdu.name not in beside
    ]
    return [
        np.where(masks[0] != 0, np.nan, image) if masks and masks[0].shape == image.shape else image
        for image in images
    ]


def _command(options: argparse.Namespace) -> str:
    words = ["lenssuper", "train-light", "--method", options.method, "--seed", str(options.seed)]
    words += ["--simulated", str(options.simulated), "--components", str(options.components)]
    words += ["--steps", str(options.steps or _STEPS[options.method])]
    words += ["--galaxies", *map(str, options.galaxies)] if options.galaxies else []
    return shlex.join([*words, "--output", options.output.name])


def _data(options: argparse.Namespace) -> str:
    words = [f"{options.simulated} simulated galaxies (simulate.galaxy_stamp, seed {options.seed})"]
    return ", ".join([*words, *(f"images of {path.name}" for path in options.galaxies)])
