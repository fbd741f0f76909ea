"""``lenssuper run``: observations and a lens model in, a super-resolution of each out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _common as common
from lenssuper.cli import _inputs as inputs
from lenssuper.cli._data import add_data, prepared
from lenssuper.cli._report import add_json, report

if TYPE_CHECKING:
    from astropy.units import Quantity

    from lenssuper.lensfit import LensFit

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(commands, "run", _run, "super-resolve an observation with a lens model")
    common.add_observations(parser)
    inputs.add_input(
        parser,
        "--lens",
        check=inputs.json_file,
        type=Path,
        required=True,
        metavar="LENS.json",
        help="lens model, as lenssuper writes it or in a COOLEST template; from a fit to several "
        "observations come their offsets too",
    )
    common.add_factor(parser)
    common.add_network(parser)
    parser.add_argument(
        "--seed",
        type=common.natural,
        help="the same seed gives the same result (default: another one each time)",
    )
    parser.add_argument(
        "--noise-correlation",
        type=float,
        metavar="X",
        help="fit with X times the variance, for noise that pixels share "
        "(default: their covariance, measured in the sky)",
    )
    parser.add_argument(
        "--exact-lens",
        action=argparse.BooleanOptionalAction,
        help="take the lens of a fit as exact, or not: its errors are part of those of the result, in two "
        "to five times the time (default: not, but for several observations, and with --network)",
    )
    _add_measure(parser.add_argument_group("measures"))
    _add_output(parser.add_argument_group("output"))
    common.add_psf(parser.add_argument_group("point spread function"))
    add_data(parser.add_argument_group("data"))


def _add_measure(group):
    group.add_argument(
        "--measure",
        type=common.positive,
        nargs="?",
        const=100,
        metavar="N",
        help="measure flux, size, shape and magnification of the source in N draws (100), and write them, "
        "with percentiles, to OUT_measures.ecsv (default: not)",
    )
    group.add_argument(
        "--z-source",
        type=float,
        metavar="Z",
        help="redshift of the source, for its size in kpc (default: none)",
    )


def _add_output(group):
    group.add_argument(
        "--output",
        type=Path,
        metavar="OUT.fits",
        help="result (default: OBS_lenssuper.fits, here); of several observations the directory for them",
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the result (default: OUT.png, beside it)"
    )
    group.add_argument(
        "--html", type=Path, metavar="OUT.html", help="page on the result for a browser (default: none)"
    )
    common.add_overwrite(group)
    add_json(group)


def _run(options: argparse.Namespace) -> None:
    several = len(options.observations) > 1
    outputs, pictures = _outputs_of_several(options) if several else _output_of_one(options)
    pages = [] if options.html is None else [options.html]
    tables = [_table_beside(output) for output in outputs] if options.measure else []
    if several and options.exact_lens is False:
        raise ValueError("--no-exact-lens is for one observation")
    if options.z_source is not None and not tables:
        raise ValueError("--z-source is for the size of the source; add --measure")
    common.check_writable([*outputs, *pictures, *pages, *tables], options, text=pages)
    from lenssuper.lens import LensModel
    from lenssuper.superres.budget import BUDGET_DRAWS
    from lenssuper.superres.systematics import Systematics

    lens = LensModel.read(options.lens)
    fit = _fit_in(options.lens)
    offsets, judgement = _offsets(options.lens, fit, len(outputs)), None if fit is None else fit.judgement
    resolver, observations = common.resolver_of(options, lens), prepared(options, lens)
    exact = bool(options.network) if options.exact_lens is None else options.exact_lens
    if fit is not None and not (several or exact):
        resolver.systematics = Systematics(lens=fit)
    resolver.budget_draws = options.measure and max(options.measure, BUDGET_DRAWS)
    if several:
        results = (resolver.joint if options.exposures else resolver)(observations, offsets=offsets)
    else:
        results = [resolver(observations[0])]
    results = [result.judged_with(judgement) for result in results]
    measured = [_measure(options, result, table) for result, table in zip(results, tables, strict=False)]
    for k, (result, output, picture) in enumerate(zip(results, outputs, pictures, strict=True)):
        result.write(output, overwrite=options.overwrite)
        common.write_png(result, picture, overwrite=options.overwrite)
        for page in pages:
            from lenssuper.plotting.pages import write_report

            write_report(result, page, overwrite=options.overwrite)
        report(options, result, (output, picture, *pages, *tables[k : k + 1]), *measured[k : k + 1])


def _measure(options, result, path):
    """Measure the source, and write the table beside the result."""
    from lenssuper._utils.files import atomic_write

    n = options.measure
    rng = None if n <= len(result.posterior.draws) else options.seed
    table = result.measure(n, rng=rng, z_source=options.z_source)
    with atomic_write(path, overwrite=options.overwrite) as beside:
        table.write(beside, format="ascii.ecsv", overwrite=True)
    return table


def _table_beside(output):
    return output.with_name(f"{output.stem}_measures.ecsv")


def _output_of_one(options):
    output = options.output or _name(options.observations[0])
    return [output], [common.picture_beside(options, output, "FITS")]


def _outputs_of_several(options):
    for name in ("png", "html"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is for one observation; got {len(options.observations)}")
    outputs = [(options.output or Path()) / _name(path) for path in options.observations]
    if len(set(outputs)) < len(outputs):
        raise ValueError("of several observations each must have a name of its own, for the results")
    if options.output is not None:
        if options.output.exists() and not options.output.is_dir():
            raise ValueError(
                f"--output must be a directory for several observations; {options.output} is none"
            )
        options.output.mkdir(parents=True, exist_ok=True)
    return outputs, [output.with_suffix(".png") for output in outputs]


def _name(observation):
    return Path(f"{observation.stem}_lenssuper.fits")


def _fit_in(path: Path) -> LensFit | None:
    """Return the fit that a file of a lens holds, None if it holds none."""
    import json

    if "fit" not in json.loads(path.read_text(encoding="utf-8")):
        return None
    from lenssuper.lensfit import LensFit

    return LensFit.read(path)


def _offsets(path: Path, fit: LensFit | None, n: int) -> Quantity:
    """Return the offsets of n observations of a lens: those of a fit to them, or zero."""
    import astropy.units as u
    import numpy as np

    if fit is None or len(fit.offsets) == 1:
        return np.zeros((n, 2)) * u.arcsec
    if len(fit.offsets) != n:
        raise ValueError(
            f"{path} was fitted to {len(fit.offsets)} observations: give all of them, in the same order, as "
            f"their offsets belong together; got {n}"
        )
    return fit.offsets
