"""``lenssuper run``: an observation and a lens model in, a super-resolution out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli._common import (
    add_factor,
    add_mask,
    add_observation,
    add_overwrite,
    add_psf,
    check_writable,
    like,
    natural,
    new_command,
    read_image,
    read_inputs,
    repacked,
    say,
    super_resolve,
    write_png,
)

if TYPE_CHECKING:
    import numpy as np

    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation
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
    parser.add_argument("--seed", type=natural, help="the same seed gives the same result")
    _add_output(parser.add_argument_group("output"))
    add_psf(parser.add_argument_group("point spread function"))
    _add_data(parser.add_argument_group("data"))


def _add_output(group):
    group.add_argument(
        "--output", type=Path, metavar="OUT.fits", help="result (default: OBS_lenssuper.fits, here)"
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the result (default: OUT.png, beside it)"
    )
    group.add_argument("--html", type=Path, metavar="OUT.html", help="page on the result for a browser")
    add_overwrite(group)


def _add_data(group):
    group.add_argument(
        "--lens-light",
        metavar="EXT|FILE",
        help="image of the lens galaxy to subtract: an extension of OBS.fits, e.g. LENSLIGHT, or a FITS file",
    )
    add_mask(group)
    group.add_argument(
        "--annulus",
        type=float,
        nargs=2,
        metavar=("IN", "OUT"),
        help="use the data only between these distances from the centre of the lens, in arcsec",
    )
    group.add_argument(
        "--noise-scale", type=float, metavar="X", help="multiply the standard deviations by this"
    )


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.observation.stem}_lenssuper.fits")
    check_writable([output], overwrite=options.overwrite)
    picture = options.png or output.with_suffix(".png")
    if picture == output:
        raise ValueError(f"--output is the FITS file, and must not have the name of the picture, {picture}")
    pages = [] if options.html is None else [options.html]
    check_writable([picture, *pages], overwrite=options.overwrite)
    from lenssuper.lens import LensModel

    lens = LensModel.read(options.lens)
    result = super_resolve(options, lens, _prepared(options, lens))
    result.write(output, overwrite=options.overwrite)
    write_png(result, picture, overwrite=options.overwrite)
    for page in pages:
        _write_page(result, page, options.overwrite)
    say(options, result.summary())
    say(options, "wrote    " + "\n         ".join(map(str, (output, picture, *pages))))


def _write_page(result: SuperResolution, path: Path, overwrite: bool) -> None:
    from lenssuper.report import write_report

    write_report(result, path, overwrite=overwrite)


def _prepared(options: argparse.Namespace, lens: LensModel) -> Observation:
    """Read the observation and do to it what the options ask for."""
    observation = read_inputs(options)
    nddata = observation.to_nddata()
    if options.lens_light is not None:
        nddata.data -= like(_lens_light(options), observation, "--lens-light")
    if options.annulus is not None:
        nddata.mask |= ~_in_annulus(observation, lens, *options.annulus)
    if options.noise_scale is not None:
        if not 0 < options.noise_scale < float("inf"):
            raise ValueError(f"--noise-scale must be positive; got {options.noise_scale}")
        nddata.uncertainty.array *= options.noise_scale
    return repacked(nddata, observation)


def _in_annulus(observation: Observation, lens: LensModel, inner: float, outer: float) -> np.ndarray:
    import numpy as np

    if not 0 <= inner < outer:
        raise ValueError(f"--annulus must be two distances, the smaller first; got {inner} and {outer}")
    centers = lens._centers()
    x0, y0 = np.mean(centers, axis=0) if centers else (0.0, 0.0)
    x, y = observation.grid._centers()
    radius = np.hypot(x - x0, y - y0)
    return (radius >= inner) & (radius <= outer)


def _lens_light(options: argparse.Namespace) -> np.ndarray:
    path = Path(options.lens_light)
    return read_image(path) if path.is_file() else read_image(options.observation, options.lens_light)
