"""
The command ``lenssuper``: a thin layer over the classes, which say all there is to say.

Each subcommand is a module with its options and the function that runs it. What takes long to import is
imported where it is used, so that ``--help`` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext

from lenssuper._utils.memory import keep_freed_memory
from lenssuper._utils.version import __version__
from lenssuper.cli import (
    batch,
    demo,
    doctor,
    fit_lens,
    fit_light,
    prepare,
    run,
    show,
    simulate,
    substructure,
    train,
    train_light,
    view,
)
from lenssuper.cli._inputs import check_inputs
from lenssuper.cli._words import in_one_line, in_shell_words

__all__ = ["main", "run_process"]

_BELOW_ZERO = re.compile(r"-\d[\d.]*([dhms:\u00b0]|[eE][+-]?\d)")
# Followed by bash, zsh or tcsh.
_COMPLETION = "--print-completion"
_COMMANDS = (
    demo,
    simulate,
    prepare,
    run,
    view,
    fit_light,
    fit_lens,
    substructure,
    batch,
    train,
    train_light,
    show,
    doctor,
)


# Of the garbage collector, in place of (700, 10, 10): imports make a million objects, none of them garbage.
_THRESHOLD = (20_000, 20, 20)


def run_process() -> int:
    """
    Run the command in a process that ends with it.

    Garbage is collected less often, and not once more at the end: both together take half a second, as much
    as a third of the imports. Memory that is freed stays with the process, see `keep_freed_memory`. OpenMP's
    threads, torch's among them, sleep while they wait for each other, unless ``OMP_WAIT_POLICY`` says
    otherwise: those that spin lose most of their time on cores that other processes use too. A network's
    answer took 11 s of CPU time instead of 57 s on two cores with two other processes.

    Returns
    -------
    int
        As `main`.
    """
    gc.set_threshold(*_THRESHOLD)
    keep_freed_memory()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return main()
    finally:
        gc.freeze()


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
        The exit status: 0, 1 if it failed, 3 if some lenses of a catalogue did, 130 if it was interrupted by
        Ctrl-C and 143 by SIGTERM. Options that make no sense end the process with status 2. A verdict, of
        whatever kind, does not change it: it is in the output and in the files.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # a sexagesimal declination below zero is no option; argparse takes what has a space in it as it is
    if _COMPLETION in arguments:
        return _print_completion(arguments)
    options = _parser().parse_args([f" {text}" if _BELOW_ZERO.match(text) else text for text in arguments])

    options.said = set()

    def show_warning(message, category, filename, lineno, file=None, line=None):
        if str(message) not in options.said:  # once, however many observations it is true of
            with _beside_bars():
                print(f"lenssuper: warning: {in_shell_words(message, options)}", file=sys.stderr)
        options.said.add(str(message))

    try:
        with warnings.catch_warnings(), _stopped_by_sigterm(), _logged(options):
            check_inputs(options)
            import astropy  # noqa: F401  when it is loaded, it takes the showing of warnings over

            warnings.showwarning = show_warning
            return options.command(options) or 0
    except KeyboardInterrupt as stop:
        print("lenssuper: interrupted", file=sys.stderr)
        return 143 if isinstance(stop, _Terminated) else 130
    except Exception as error:
        if options.debug:
            raise
        print(f"lenssuper: error: {in_one_line(error, options)}", file=sys.stderr)
        return 1


def _print_completion(arguments: Sequence[str]) -> int:
    """Print what makes a shell complete commands and options."""
    try:
        import shtab
    except ImportError:
        print(f'lenssuper: error: {_COMPLETION} needs: pip install "lenssuper[completion]"', file=sys.stderr)
        return 1
    shell = arguments[-1] if arguments[-1] in shtab.SUPPORTED_SHELLS else "bash"
    print(shtab.complete(_parser(), shell=shell))
    return 0


def _beside_bars():
    """Return a context in which what is printed does not end up in the line of a progress bar."""
    bars = sys.modules.get("tqdm")  # where it is not loaded there is no bar
    return nullcontext() if bars is None else bars.tqdm.external_write_mode(sys.stderr)


class _BesideBars(logging.StreamHandler):
    def emit(self, record):
        with _beside_bars():
            super().emit(record)


@contextmanager
def _logged(options: argparse.Namespace):
    """Print what the package says while it works."""
    log, handler = logging.getLogger("lenssuper"), _BesideBars()
    handler.setFormatter(logging.Formatter("lenssuper: %(message)s"))
    former = log.level
    log.addHandler(handler)
    log.setLevel(logging.WARNING if options.quiet else logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(former)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send before SIGKILL: what was begun is cleaned up, as after Ctrl-C."""


@contextmanager
def _stopped_by_sigterm():
    def stop(*_):
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # signals come to that one only
        yield
        return
    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lenssuper", description="Super-resolution of gravitationally lensed galaxies."
    )
    parser.add_argument("--version", action="version", version=f"lenssuper {__version__}")
    parser.add_argument(
        _COMPLETION, metavar="SHELL", help="print what makes bash, zsh or tcsh complete commands and options"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser
