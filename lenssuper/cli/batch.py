"""``lenssuper batch``: all lenses of a catalogue, on the cores of this machine or on a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from lenssuper.cli import _common as common
from lenssuper.cli import _inputs as inputs
from lenssuper.cli._report import add_json, say, say_json

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(commands, "batch", _run, "super-resolve all lenses of a catalogue")
    parser.description = f"{parser.description}" + (
        " Exit status: 0 if all lenses are super-resolved, 3 if some are not (reasons are printed, and in "
        "the table), 1 if none is or the command itself failed, 2 for options that make no sense, 130 after "
        "Ctrl-C, 143 after SIGTERM. What is done is kept."
    )
    inputs.add_input(
        parser,
        "catalogue",
        check=inputs.present,
        type=Path,
        metavar="CATALOGUE.ecsv",
        help="table with the columns file and lens (or theta_E, q, phi, x, y, gamma1, gamma2), and name; ra, "
        "dec and size to cut out of a larger image; or a directory of COOLEST templates",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of the results; what an earlier run left there is not done again",
    )
    common.add_factor(parser)
    common.add_network(parser)
    parser.add_argument(
        "--seed",
        type=common.natural,
        default=0,
        help="the same seed gives the same results (default: %(default)s)",
    )
    parser.add_argument("--no-pictures", action="store_true", help="draw nothing")
    parser.add_argument("--retry-failed", action="store_true", help="try again what failed in an earlier run")
    parser.add_argument(
        "--draws", type=_even, metavar="N", help="draws of each source, for its error bars (default: 16)"
    )
    add_json(parser)
    _add_stages(parser.add_argument_group("what is done before"))
    where = parser.add_argument_group("where the work is done")
    where.add_argument("--workers", type=common.positive, metavar="N", help="processes (default: one a core)")
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a dask scheduler, e.g. tcp://host:8786 (default: processes here)",
    )
    where.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="do the I-th of N parts, for array jobs, e.g. 3/100 (default: all)",
    )


def _add_stages(group):
    group.add_argument(
        "--prepare", action="store_true", help="sky off, noise measured or corrected, other objects masked"
    )
    group.add_argument(
        "--no-rescale", action="store_true", help="with --prepare: take the noise maps as they are"
    )
    group.add_argument("--fit-light", action="store_true", help="take the light of the lens galaxy off")
    group.add_argument(
        "--fit-lens",
        action="store_true",
        help="fit the lens, from the catalogue's or from its theta_E alone",
    )
    group.add_argument(
        "--fix",
        nargs="+",
        default=[],
        metavar="NAME",
        help="with --fit-lens: parameters that stay as they are (default: none)",
    )
    group.add_argument(
        "--lens-errors",
        action="store_true",
        help="with --fit-lens: error bars that contain the errors of the lens, as those of run; a lens then "
        "takes 1.2 to 1.5 times as long",
    )
    group.add_argument(
        "--substructure",
        action="store_true",
        help="look for dark-matter subhaloes; the catalogue has z_lens and z_source",
    )


def _even(text: str) -> int:
    number = common.positive(text)
    if number % 2:
        raise argparse.ArgumentTypeError(f"must be even; got {text!r}")
    return number


def _shard(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    try:
        return common.positive(first), common.positive(second)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must be I/N, such as 3/100; got {text!r}") from None


def _run(options: argparse.Namespace) -> int:
    from lenssuper.catalog import run

    summary = run(
        options.catalogue,
        options.output,
        stages=_stages(options),
        factor=options.factor,
        solver=common.solver_of(options),
        lens_errors=options.lens_errors,
        workers=options.workers,
        scheduler=options.scheduler,
        shard=options.shard,
        retry_failed=options.retry_failed,
        pictures=not options.no_pictures,
        seed=options.seed,
        progress=False if options.quiet else None,
    )
    done = summary["status"] == "done"
    say(options, f"{done.sum()} of {len(summary)} lenses are super-resolved, in {options.output}")
    if options.json:
        rows = [{name: row[name] for name in ("name", "status", "reason")} for row in summary]
        say_json({"output": str(options.output), "done": int(done.sum()), "lenses": rows})
    for row in summary[~done]:
        say(options, f"{row['status']:<9}{row['name']}: {row['reason']}")
    say(options, _verdicts(summary["verdict"][done]))
    if len(summary) and not done.any():
        raise ValueError("no lens could be super-resolved")
    return 0 if done.all() else 3


def _verdicts(verdicts):
    """Return the last line: how many results have which verdict."""
    from lenssuper.forward.judgement import GRADES

    counts = [f"{(verdicts == grade).sum()} {grade}" for grade in GRADES]
    return f"verdicts: {', '.join(counts)}"


def _stages(options):
    from lenssuper.catalog import FindSubstructure, FitLens, FitLight, Prepare

    if options.fix and not options.fit_lens:
        raise ValueError("--fix is for the fit of the lens; add --fit-lens")
    if options.lens_errors and not options.fit_lens:
        raise ValueError("--lens-errors are those of the fit of the lens; add --fit-lens")
    if options.no_rescale and not options.prepare:
        raise ValueError("--no-rescale is for the preparation; add --prepare")
    return [
        *([Prepare(rescale=not options.no_rescale)] if options.prepare else []),
        *([FitLight()] if options.fit_light else []),
        *([FitLens(options.fix)] if options.fit_lens else []),
        *([FindSubstructure()] if options.substructure else []),
    ]
