"""``lenssuper substructure``: an observation and a fitted lens in, maps and candidates of dark matter out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _common as common
from lenssuper.cli import _inputs as inputs
from lenssuper.cli._data import add_data, prepared

if TYPE_CHECKING:
    from lenssuper.lens import LensModel
    from lenssuper.substructure import Perturber

__all__ = ["add"]

_PROFILES = ("halo", "jaffe", "point", "line")


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(
        commands, "substructure", _run, "look for dark-matter subhaloes, and map which could be seen"
    )
    common.add_observation(parser)
    inputs.add_input(
        parser,
        "--lens",
        check=inputs.json_file,
        type=Path,
        required=True,
        metavar="LENS.json",
        help="fitted lens, of lenssuper fit-lens",
    )
    _add_perturber(parser.add_argument_group("perturber"))
    common.add_factor(parser, "the lensed image")
    parser.add_argument(
        "--seed", type=common.natural, default=0, help="for random vectors (default: %(default)s)"
    )
    _add_output(parser.add_argument_group("output"))
    common.add_psf(parser.add_argument_group("point spread function"))
    add_data(parser.add_argument_group("data"))


def _add_perturber(group):
    group.add_argument(
        "--z-lens", type=float, metavar="Z", help="redshift of the lens, for masses (default: none)"
    )
    group.add_argument(
        "--z-source", type=float, metavar="Z", help="redshift of the source, for masses (default: none)"
    )
    group.add_argument(
        "--profile",
        choices=_PROFILES,
        default="halo",
        help="truncated NFW halo, pseudo-Jaffe clump, point mass, or line of mass (default: %(default)s)",
    )
    group.add_argument(
        "--mass",
        type=float,
        default=1e9,
        metavar="MSUN",
        help="of the map, in solar masses (default: %(default)g)",
    )
    group.add_argument(
        "--fit-concentration", action="store_true", help="with --profile halo: fit it at the peaks"
    )
    group.add_argument(
        "--multipoles",
        type=common.natural,
        nargs="*",
        default=[3, 4],
        metavar="M",
        help="orders of the multipoles of the smooth lens (default: 3 4)",
    )
    group.add_argument(
        "--candidates",
        type=common.natural,
        default=3,
        metavar="N",
        help="peaks that are fitted at most (default: %(default)s)",
    )


def _add_output(group):
    group.add_argument(
        "--output", type=Path, metavar="OUT.fits", help="maps and candidates (default: OBS_substructure.fits)"
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the maps (default: OUT.png, beside it)"
    )
    group.add_argument(
        "--html", type=Path, metavar="OUT.html", help="page on the search for a browser (default: none)"
    )
    common.add_overwrite(group)


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.observation.stem}_substructure.fits")
    picture = common.picture_beside(options, output, "FITS")
    pages = [] if options.html is None else [options.html]
    common.check_writable([output, picture, *pages], options, text=pages)
    import astropy.units as u

    from lenssuper.lens import LensModel
    from lenssuper.plotting.pages import write_report
    from lenssuper.substructure import SubstructureMap

    lens = LensModel.read(options.lens)
    search = SubstructureMap(
        lens,
        _perturber(options, lens),
        multipoles=options.multipoles,
        mass=options.mass * u.Msun,
        concentration=options.fit_concentration,
        candidates=options.candidates,
        factor=options.factor,
        rng=options.seed,
        progress=False if options.quiet else None,  # None shows a bar on a terminal
    )
    (observation,) = prepared(common.changed(options, observations=[options.observation]), lens)
    result = search(observation)
    result.write(output, overwrite=options.overwrite)
    common.write_png(result, picture, overwrite=options.overwrite)
    for page in pages:
        write_report(result, page, overwrite=options.overwrite)
    common.say(options, result.summary())
    common.say(options, "wrote    " + "\n         ".join(map(str, (output, picture, *pages))))


def _perturber(options: argparse.Namespace, lens: LensModel) -> Perturber:
    """Return the kind of perturber of the options."""
    from lenssuper.substructure import JaffeClump, MassLine, PointClump, TidalHalo

    redshifts = options.z_lens, options.z_source
    if options.profile == "jaffe":
        return JaffeClump(*redshifts, theta_E=lens.einstein_radius())
    return {"halo": TidalHalo, "point": PointClump, "line": MassLine}[options.profile](*redshifts)
