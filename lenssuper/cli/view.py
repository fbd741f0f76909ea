"""``lenssuper view``: a result as a page to explore in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from lenssuper.cli import _common as common
from lenssuper.cli._inputs import add_input, fits_file
from lenssuper.cli._report import say

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(commands, "view", _view, "make a page to explore a result in a browser")
    add_input(
        parser, "result", check=fits_file, type=Path, metavar="RESULT.fits", help="result of lenssuper run"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="OUT.html",
        help="the page, which holds all it needs (default: RESULT_view.html, here)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    common.add_overwrite(parser)


def _view(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.result.stem}_view.html")
    common.check_writable([output], options, text=[output])
    from lenssuper.superres.result import SuperResolution

    SuperResolution.read(options.result).view(output, overwrite=options.overwrite)
    say(options, f"wrote    {output}")
    if options.open:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())
