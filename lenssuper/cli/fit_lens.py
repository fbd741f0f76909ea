"""``lenssuper fit-lens``: an observation and a guess in, a lens model out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli._common import (
    add_factor,
    add_observation,
    add_overwrite,
    add_psf,
    check_writable,
    like,
    natural,
    new_command,
    picture_beside,
    read_lens_light,
    say,
    write_png,
)
from lenssuper.cli._data import add_data, prepared

if TYPE_CHECKING:
    from astropy.units import Quantity

    from lenssuper.lens import LensModel

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(commands, "fit-lens", _run, "fit the parameters of a lens to an observation")
    add_observation(parser)
    guess = parser.add_mutually_exclusive_group(required=True)
    guess.add_argument(
        "--lens", type=Path, metavar="GUESS.json", help="lens model to start from, about 10%% from the truth"
    )
    guess.add_argument(
        "--einstein-radius",
        type=float,
        metavar="ARCSEC",
        help="rough radius of the ring: fit an SIE with external shear",
    )
    parser.add_argument(
        "--fix",
        nargs="+",
        default=[],
        metavar="NAME",
        help="parameters that stay as they are, e.g. SIE.x SIE.y, or a whole component, ExternalShear",
    )
    add_factor(parser, "the lensed image")
    parser.add_argument("--seed", type=natural, default=0, help="for random vectors (default: %(default)s)")
    parser.add_argument(
        "--fit-lens-light",
        action="store_true",
        help="with --lens-light: fit how bright it is together with the lens, and a sky",
    )
    _add_output(parser.add_argument_group("output"))
    add_psf(parser.add_argument_group("point spread function"))
    add_data(parser.add_argument_group("data"))


def _add_output(group):
    group.add_argument(
        "--output",
        type=Path,
        metavar="FIT.json",
        help="fitted lens, for run --lens, with its errors (default: OBS_lens.json, here)",
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the fit (default: FIT.png, beside it)"
    )
    add_overwrite(group)


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.observation.stem}_lens.json")
    picture = picture_beside(options, output, "JSON")
    check_writable([output, picture], overwrite=options.overwrite)
    lens, guess = _guess(options)
    observation = prepared(options, lens)
    foreground = None
    if options.fit_lens_light:
        foreground, observation = _with_lens_light(options, lens)
    from lenssuper.lensfit import LensFitter

    fit = LensFitter(
        guess,
        fixed=options.fix,
        factor=options.factor,
        foreground=foreground,
        noise_correlation=_correlation(options, lens),
        rng=options.seed,
        progress=False if options.quiet else None,  # None shows a bar on a terminal
    )(observation)
    fit.write(output, overwrite=options.overwrite)
    write_png(fit, picture, overwrite=options.overwrite)
    say(options, fit.summary())
    say(options, f"wrote    {output}\n         {picture}")


def _with_lens_light(options, lens):
    """The light of the lens galaxy, and the observation with it."""
    if options.lens_light is None:
        raise ValueError("--fit-lens-light needs --lens-light, the light whose brightness it fits")
    observation = prepared(_changed(options, lens_light=None), lens)
    light = read_lens_light(options.lens_light, options.observation)
    return like(light, observation, "--lens-light"), observation


def _correlation(options, lens):
    """By how much the noise is correlated: in all of the image, as an annulus leaves little sky to tell."""
    if options.annulus is None:
        return None
    from lenssuper.noise import noise_correlation

    correlation = noise_correlation(prepared(_changed(options, annulus=None), lens))
    if correlation > 1:
        say(options, f"noise    correlated between neighbours: {correlation:.2f} times the variance is used")
    return correlation


def _changed(options: argparse.Namespace, **changes) -> argparse.Namespace:
    return argparse.Namespace(**vars(options) | changes)


def _guess(options: argparse.Namespace) -> tuple[LensModel | None, LensModel | Quantity]:
    """The lens around whose centre there may be an annulus, and what the fit starts from."""
    if options.lens is None:
        import astropy.units as u

        return None, options.einstein_radius * u.arcsec
    from lenssuper.lens import LensModel

    lens = LensModel.read(options.lens)
    return lens, lens
