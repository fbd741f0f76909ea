"""
The command ``lenssuper``: a thin layer over the classes, which say all there is to say.

Each subcommand is a module with its options and the function that runs it. What takes long to import is
imported where it is used, so that ``--help`` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from lenssuper._utils.version import __version__
from lenssuper.cli import batch, demo, fit_lens, fit_light, prepare, run, simulate, train, train_light
from lenssuper.exceptions import LensSuperError

__all__ = ["main"]

_COMMANDS = (demo, simulate, prepare, run, fit_light, fit_lens, batch, train, train_light)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the name of the command; by default that of this process.

    Returns
    -------
    int
        The exit status: 0, 1 if it failed, 130 if it was interrupted. Options that make no sense end the
        process with status 2.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            options.command(options)
    except KeyboardInterrupt:
        print("lenssuper: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        print(f"lenssuper: error: {_in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, (LensSuperError, OSError, ValueError, TypeError)):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"lenssuper: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lenssuper", description="Super-resolution of gravitationally lensed galaxies."
    )
    parser.add_argument("--version", action="version", version=f"lenssuper {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser
