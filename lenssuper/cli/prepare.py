"""``lenssuper prepare``: an image from an archive in, an observation fit for the other commands out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _inputs as inputs
from lenssuper.cli._common import (
    add_overwrite,
    add_psf,
    add_reading,
    check_writable,
    new_command,
    positive,
    psf_options_of,
    read_lens_light,
    reading_of,
    say_history,
)
from lenssuper.cli._report import say

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(
        commands, "prepare", _run, "cut out a lens; subtract the sky, find noise and mask, add the PSF"
    )
    inputs.add_input(
        parser,
        "image",
        check=inputs.fits_file,
        type=Path,
        metavar="IMAGE.fits",
        help="an image, or a mosaic to cut from",
    )
    parser.add_argument(
        "--output", type=Path, metavar="OUT.fits", help="observation (default: IMAGE_prepared.fits, here)"
    )
    add_overwrite(parser)
    _add_cutout(parser.add_argument_group("cutout"))
    _add_noise(parser.add_argument_group("sky and noise"))
    _add_psf(parser.add_argument_group("point spread function"))
    add_reading(parser.add_argument_group("what is what in the file"))
    _add_objects(parser.add_argument_group("what not to use"))


def _add_cutout(group):
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--sky",
        nargs=2,
        metavar=("RA", "DEC"),
        help='centre, as "150.1 2.2" in degrees or 10h0m24s 2d12m0s (default: the whole image)',
    )
    where.add_argument(
        "--pixel",
        nargs=2,
        type=float,
        metavar=("COLUMN", "ROW"),
        help="centre in pixels, counted from 0 (default: the whole image)",
    )
    group.add_argument(
        "--size", type=float, metavar="ARCSEC", help="side of the square in arcsec (default: the whole image)"
    )


def _add_noise(group):
    group.add_argument(
        "--rms",
        type=float,
        metavar="X",
        help="noise of the sky in the unit of the data (default: that of the file, or measured)",
    )
    group.add_argument(
        "--exposure-time",
        type=float,
        metavar="S",
        help="in seconds, to add the photons' noise (default: EXPTIME, where the noise is measured)",
    )
    group.add_argument(
        "--gain",
        type=float,
        metavar="X",
        help="electrons (per second, with --exposure-time) per unit of "
        "the data (default: GAIN, where the noise is measured)",
    )
    group.add_argument("--no-rescale", action="store_true", help="take the noise map as it is given")
    group.add_argument("--keep-sky", action="store_true", help="do not subtract the level of the sky")


def _add_psf(group):
    psf = group.add_mutually_exclusive_group()
    add_psf(group, others=psf)
    psf.add_argument(
        "--gaussian",
        type=float,
        metavar="ARCSEC",
        help="a Gaussian of this full width at half maximum in arcsec (default: none)",
    )
    psf.add_argument(
        "--stars",
        type=float,
        metavar="ARCSEC",
        help="from the image's stars, of about this full width at half maximum in arcsec (default: none)",
    )
    group.add_argument(
        "--psf-size",
        type=positive,
        default=25,
        metavar="N",
        help="side of the PSF from stars in pixels (default: 25)",
    )


def _add_objects(group):
    inputs.add_input(
        group,
        "--lens-light",
        check=inputs.fits_or_extension,
        metavar="EXT|FILE",
        help="image of the lens galaxy's light to subtract, in the unit of the data (default: none)",
    )
    inputs.add_input(
        group,
        "--lens",
        check=inputs.json_file,
        type=Path,
        metavar="LENS.json",
        help="lens model, which says where arcs can be (default: none)",
    )
    group.add_argument(
        "--einstein-radius",
        type=float,
        metavar="ARCSEC",
        help="rough radius of the ring in arcsec, in place of --lens (default: none)",
    )
    group.add_argument(
        "--arc-radius",
        type=float,
        metavar="ARCSEC",
        help="mask other objects that are further from the centre, in arcsec; all arcs must lie within "
        "(default: 1.6 Einstein radii of --lens, or 2 of --einstein-radius, else nothing is masked)",
    )
    group.add_argument(
        "--arcs-only", action="store_true", help="mask all but the arcs and their counter-images"
    )


def _run(options: argparse.Namespace) -> None:
    output = options.output or Path(f"{options.image.stem}_prepared.fits")
    check_writable([output], options)
    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation, write_observation
    from lenssuper.preparation import prepare

    ready = prepare(
        options.image,
        **_place(options),
        **_noise(options),
        **reading_of(options),
        psf=_psf(options),
        psf_options=psf_options_of(options),
        foreground=None if options.lens_light is None else read_lens_light(options.lens_light, options.image),
        lens=None if options.lens is None else LensModel.read(options.lens),
        einstein_radius=_arcsec(options.einstein_radius),
        arc_radius=_arcsec(options.arc_radius),
        arcs_only=options.arcs_only,
    )
    write_observation(Observation.from_nddata(ready), output, overwrite=options.overwrite)
    for mark in ("lenssuper read: ", "lenssuper prepare: "):
        say_history(options, ready.meta, mark)
    say(options, f"wrote    {output}")


def _arcsec(value):
    from astropy import units as u

    return None if value is None else value * u.arcsec


def _place(options):
    center = None if options.pixel is None else tuple(options.pixel)
    if options.sky is not None:
        center = _on_sky(*(part.strip() for part in options.sky))
    if (center is None) != (options.size is None):
        raise ValueError("--size goes with --sky or --pixel: give both, or neither")
    return {"center": center, "size": _arcsec(options.size)}


def _on_sky(ra, dec):
    """A position in degrees, or sexagesimal, with the letters of units or with colons (hours and degrees)."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    try:
        return SkyCoord(float(ra), float(dec), unit=u.deg)
    except ValueError:
        pass
    try:
        return SkyCoord(ra, dec, unit=(u.hourangle, u.deg))
    except ValueError as error:
        raise ValueError(
            "--sky must be right ascension and declination, as 150.1 2.2, 10h0m24s -2d12m0s or "
            f"10:00:24 -2:12:00; got {ra} {dec}: {error}"
        ) from None


def _noise(options):
    from astropy import units as u

    arguments = {"rms": options.rms, "rescale": not options.no_rescale, "subtract_sky": not options.keep_sky}
    if options.exposure_time is not None:
        arguments["exposure_time"] = options.exposure_time * u.s
    if options.gain is not None:
        with _opened(options) as layers:
            time = u.one if options.exposure_time is None else u.s
            arguments["gain"] = options.gain * u.electron / time / layers.unit
    return arguments


def _opened(options):
    from lenssuper.observation.reader import Reading, open_image

    return open_image(options.image, Reading(**reading_of(options)), _place(options)["center"])


def _psf(options) -> Path | np.ndarray | None:
    from lenssuper.preparation import cut_out, find_stars, gaussian_psf, star_psf

    if options.gaussian is not None:
        with _opened(options) as layers:
            return gaussian_psf(_arcsec(options.gaussian), layers.pixel_scale())
    if options.stars is not None:
        image = cut_out(options.image, **reading_of(options))
        return star_psf(image, find_stars(image, _arcsec(options.stars)), size=options.psf_size)
    return options.psf
