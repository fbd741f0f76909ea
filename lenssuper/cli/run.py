"""``lenssuper run``: an observation and a lens model in, a super-resolution out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli._common import (
    add_factor,
    add_network,
    add_observation,
    add_overwrite,
    add_psf,
    check_writable,
    natural,
    new_command,
    picture_beside,
    say,
    super_resolve,
    write_png,
)
from lenssuper.cli._data import add_data, prepared

if TYPE_CHECKING:
    from lenssuper.result import SuperResolution

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(commands, "run", _run, "super-resolve an observation with a lens model")
    add_observation(parser)
    parser.add_argument(
        "--lens",
        type=Path,
        required=True,
        metavar="LENS.json",
        help="lens model, as lenssuper writes it or in a COOLEST template",
    )
    add_factor(parser)
    add_network(parser)
    parser.add_argument("--seed", type=natural, help="the same seed gives the same result")
    parser.add_argument(
        "--noise-correlation",
        type=float,
        metavar="X",
        help="fit with X times the variance, for noise that pixels share (default: measured in the sky)",
    )
    _add_output(parser.add_argument_group("output"))
    add_psf(parser.add_argument_group("point spread function"))
    add_data(parser.add_argument_group("data"))


def _add_output(group):
    group.add_argument(
        "--output", type=Path, metavar="OUT.fits", help="result (default: OBS_lenssuper.fits, here)"
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the result (default: OUT.png, beside it)"
    )
    group.add_argument("--html", type=Path, metavar="OUT.html", help="page on the result for a browser")
    add_overwrite(group)


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.observation.stem}_lenssuper.fits")
    check_writable([output], overwrite=options.overwrite)
    picture = picture_beside(options, output, "FITS")
    pages = [] if options.html is None else [options.html]
    check_writable([picture, *pages], overwrite=options.overwrite)
    from lenssuper.lens import LensModel

    lens = LensModel.read(options.lens)
    result = super_resolve(options, lens, prepared(options, lens))
    result.write(output, overwrite=options.overwrite)
    write_png(result, picture, overwrite=options.overwrite)
    for page in pages:
        _write_page(result, page, options.overwrite)
    say(options, result.summary())
    say(options, "wrote    " + "\n         ".join(map(str, (output, picture, *pages))))


def _write_page(result: SuperResolution, path: Path, overwrite: bool) -> None:
    from lenssuper.report import write_report

    write_report(result, path, overwrite=overwrite)
