"""``lenssuper fit-light``: take the light of the galaxy in front off an observation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _inputs as inputs
from lenssuper.cli._common import (
    add_observation,
    add_overwrite,
    add_psf,
    add_reading,
    check_writable,
    like,
    natural,
    new_command,
    picture_beside,
    positive,
    read_image,
    read_inputs,
    write_png,
)
from lenssuper.cli._report import add_json, report

if TYPE_CHECKING:
    import numpy as np
    from astropy.units import Quantity

    from lenssuper.observation import Observation

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(
        commands, "fit-light", _run, "subtract the light of the lens galaxy from an observation"
    )
    add_observation(parser)
    parser.add_argument(
        "--components",
        type=_components,
        metavar="K|auto",
        help="Sersic profiles of the galaxy (default: auto, one to three)",
    )
    parser.add_argument(
        "--modes",
        type=natural,
        default=4,
        metavar="M",
        help="corrections to its isophotes: Fourier modes up to this one (default: 4)",
    )
    _add_arcs(parser.add_argument_group("arcs"))
    _add_output(parser.add_argument_group("output"))
    add_psf(parser.add_argument_group("point spread function"))
    add_reading(parser.add_argument_group("data"))


def _components(text):
    return None if text == "auto" else positive(text)


def _add_arcs(group):
    arcs = group.add_mutually_exclusive_group()
    arcs.add_argument(
        "--arcs-annulus",
        type=float,
        nargs=2,
        metavar=("IN", "OUT"),
        help="leave what is between these distances from the galaxy, in arcsec, out of the fit "
        "(default: find the arcs)",
    )
    inputs.add_input(
        arcs,
        "--arcs",
        check=inputs.fits_file,
        type=Path,
        metavar="FILE",
        help="FITS image, not 0 where arcs are (default: find the arcs)",
    )
    group.add_argument(
        "--einstein-radius",
        type=float,
        metavar="ARCSEC",
        help="rough radius of the ring in arcsec: look for arcs from 0.35 to 1.9 of it (default: anywhere)",
    )
    inputs.add_input(
        group,
        "--lens",
        check=inputs.json_file,
        type=Path,
        metavar="LENS.json",
        help="fit a source behind this lens with the galaxy (default: none)",
    )
    group.add_argument(
        "--source-components", type=positive, default=1, metavar="K", help="its Sersic profiles (default: 1)"
    )


def _add_output(group):
    group.add_argument(
        "--output",
        type=Path,
        metavar="OUT.fits",
        help="the observation without the galaxy, for lenssuper run (default: OBS_subtracted.fits, here)",
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the fit (default: OUT.png, beside it)"
    )
    add_overwrite(group)
    add_json(group)


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.observation.stem}_subtracted.fits")
    picture = picture_beside(options, output, "FITS")
    check_writable([output, picture], options)
    from lenssuper.lens import LensModel
    from lenssuper.light import ForegroundFitter

    observation = read_inputs(options)
    fitter = ForegroundFitter(
        options.components,
        lens=None if options.lens is None else LensModel.read(options.lens),
        n_source=options.source_components,
        arcs=_arcs(options, observation),
        modes=options.modes,
        einstein_radius=_radius(options.einstein_radius),
    )
    fit = fitter(observation)
    fit.write(output, overwrite=options.overwrite)
    write_png(fit, picture, overwrite=options.overwrite)
    report(options, fit, (output, picture))


def _radius(arcsec: float | None) -> Quantity | None:
    from astropy import units as u

    return None if arcsec is None else arcsec * u.arcsec


def _arcs(options: argparse.Namespace, observation: Observation) -> str | np.ndarray | Quantity:
    if options.arcs is not None:
        return like(read_image(options.arcs), observation, "--arcs") != 0
    if options.arcs_annulus is None:
        return "mask"
    inner, outer = options.arcs_annulus
    if not 0 <= inner < outer:
        raise ValueError(f"--arcs-annulus must be two distances, the smaller first; got {inner} and {outer}")
    from astropy import units as u

    return [inner, outer] * u.arcsec
