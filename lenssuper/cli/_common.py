"""What several commands share: options, files and words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation
    from lenssuper.result import SuperResolution
    from lenssuper.simulate import MockLens

_DPI = 150


def new_command(commands, name: str, function: Callable, summary: str) -> argparse.ArgumentParser:
    """Add a subcommand that calls ``function`` with its parsed options."""
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(command=function)
    parser.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def add_factor(parser: argparse.ArgumentParser, what: str = "the super-resolved image") -> None:
    """Add the option ``--factor``."""
    text = f"pixels of {what} along the side of an observed one (default: %(default)s)"
    parser.add_argument("--factor", type=positive, default=2, metavar="N", help=text)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def natural(text: str) -> int:
    """Read an integer, 0 or more."""
    return _integer(text, 0)


def positive(text: str) -> int:
    """Read an integer, 1 or more."""
    return _integer(text, 1)


def _integer(text, least):
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"must be an integer, {least} or more; got {text!r}")
    return int(text)


def check_writable(paths: Iterable[Path], *, overwrite: bool) -> None:
    """See to it that files can be written, before the work is done rather than after."""
    for path in paths:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"the directory {path.parent} does not exist")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a directory")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; add --overwrite to replace it")


def say(options: argparse.Namespace, text: str) -> None:
    """Print to standard output, unless asked to be quiet."""
    if not options.quiet:
        print(text, flush=True)


def super_resolve(options: argparse.Namespace, lens: LensModel, observation: Observation) -> SuperResolution:
    """Call `~lenssuper.SuperResolver` with the options of the command line."""
    from lenssuper.superresolver import SuperResolver

    progress = False if options.quiet else None  # None shows a bar on a terminal
    return SuperResolver(lens, factor=options.factor, rng=options.seed, progress=progress)(observation)


def write_png(result: SuperResolution, path: Path, *, overwrite: bool) -> None:
    """Write the picture of a result, whole or not at all."""
    from lenssuper._files import atomic_write

    with atomic_write(path, overwrite=overwrite) as beside:
        result.plot().savefig(beside, format="png", dpi=_DPI)


def write_inputs(mock: MockLens, observed: Path, lens: Path, *, overwrite: bool) -> None:
    """Write what ``lenssuper run`` reads: an observation and a lens model."""
    from lenssuper.observation import Observation, write_observation

    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    write_observation(observation, observed, overwrite=overwrite)
    mock.lens.write(lens, overwrite=overwrite)
