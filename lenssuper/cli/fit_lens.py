"""``lenssuper fit-lens``: observations and a guess in, a lens model out."""

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

    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(
        commands, "fit-lens", _run, "fit the parameters of a lens to an observation, or several"
    )
    common.add_observations(parser)
    guess = parser.add_mutually_exclusive_group(required=True)
    inputs.add_input(
        guess,
        "--lens",
        check=inputs.json_file,
        type=Path,
        metavar="GUESS.json",
        help="lens model to start from, about 10%% from the truth (default: --einstein-radius)",
    )
    guess.add_argument(
        "--einstein-radius",
        type=float,
        metavar="ARCSEC",
        help="rough radius of the ring in arcsec: fit an SIE with external shear (default: --lens)",
    )
    parser.add_argument(
        "--fix",
        nargs="+",
        default=[],
        metavar="NAME",
        help="parameters that stay as they are, e.g. SIE.x SIE.y, or a "
        "whole component, ExternalShear (default: none)",
    )
    common.add_factor(parser, "the lensed image")
    parser.add_argument(
        "--seed",
        type=common.natural,
        default=0,
        help="of random vectors; the same seed gives the same fit (default: %(default)s)",
    )
    parser.add_argument(
        "--fit-lens-light",
        action="store_true",
        help="with --lens-light: fit how bright it is together with the lens, and a sky",
    )
    parser.add_argument(
        "--fit-light",
        action="store_true",
        help="the lens galaxy has not been subtracted: fit its light and the lens in turn",
    )
    _add_output(parser.add_argument_group("output"))
    common.add_psf(parser.add_argument_group("point spread function"))
    add_data(parser.add_argument_group("data"))


def _add_output(group):
    group.add_argument(
        "--output",
        type=Path,
        metavar="FIT.json",
        help="fitted lens, for run --lens, with its errors (default: OBS_lens.json, here; OBS is the first)",
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the fit (default: FIT.png, beside it)"
    )
    group.add_argument(
        "--subtracted",
        type=Path,
        metavar="OUT.fits",
        help="with --fit-light: the observation without the galaxy, for lenssuper run (default: "
        "OBS_subtracted.fits, here)",
    )
    common.add_overwrite(group)
    add_json(group)


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.observations[0].stem}_lens.json")
    picture = common.picture_beside(options, output, "JSON")
    light = _light_output(options)
    common.check_writable([output, picture, *light], options, text=[output])
    lens, guess = _guess(options)
    if options.fit_lens_light:
        foregrounds, observations = _with_lens_light(options, lens)
    else:
        foregrounds, observations = None, prepared(options, lens)
    several = len(observations) > 1
    from lenssuper.lensfit import LensFitter

    fitter = LensFitter(
        guess,
        fixed=options.fix,
        factor=options.factor,
        foreground=foregrounds if several or foregrounds is None else foregrounds[0],
        rng=options.seed,
        progress=False if options.quiet else None,  # None shows a bar on a terminal
    )
    if options.fit_light:
        galaxy, fit = fitter.with_light(observations[0])
        galaxy.write(light[0], overwrite=options.overwrite)
    elif not several:
        fit = fitter(observations[0])
    elif options.exposures:
        fit = fitter.joint(observations)
    else:
        fit = fitter.bands(observations)
    fit.write(output, overwrite=options.overwrite)
    common.write_png(fit, picture, overwrite=options.overwrite)
    report(options, fit, (output, picture, *light))


def _light_output(options) -> list[Path]:
    """Return the file of the observation without the galaxy, [] if its light is not fitted."""
    if not options.fit_light:
        if options.subtracted is not None:
            raise ValueError("--subtracted is for --fit-light: only then a galaxy is subtracted")
        return []
    if len(options.observations) > 1 or options.fit_lens_light:
        raise ValueError("--fit-light is for one observation, and not for --fit-lens-light")
    return [options.subtracted or Path(f"{options.observations[0].stem}_subtracted.fits")]


def _with_lens_light(options, lens) -> tuple[list, list[Observation]]:
    """Return the light of the lens galaxy in each observation, and the observations with it."""
    if options.lens_light is None:
        raise ValueError("--fit-lens-light needs --lens-light, the light whose brightness it fits")
    observations = prepared(common.changed(options, lens_light=None), lens)
    lights = [
        common.like(common.read_lens_light(options.lens_light, path), observation, "--lens-light")
        for path, observation in zip(options.observations, observations, strict=True)
    ]
    return lights, observations


def _guess(options: argparse.Namespace) -> tuple[LensModel | None, LensModel | Quantity]:
    """Return the lens whose centre is that of an annulus, None if unknown, and the start of the fit."""
    if options.lens is None:
        import astropy.units as u

        return None, options.einstein_radius * u.arcsec
    from lenssuper.lens import LensModel

    lens = LensModel.read(options.lens)
    return lens, lens
