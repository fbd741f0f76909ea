"""``lenssuper run``: an observation and a lens model in, a super-resolution out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli._common import (
    add_factor,
    add_overwrite,
    check_writable,
    natural,
    new_command,
    positive,
    say,
    super_resolve,
    write_png,
)

if TYPE_CHECKING:
    import numpy as np

    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(commands, "run", _run, "super-resolve an observation with a lens model")
    parser.add_argument(
        "observation",
        type=Path,
        metavar="OBS.fits",
        help="image, with extensions UNCERT (standard deviation), MASK (1 = do not use) and PSFIMAGE",
    )
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
    _add_psf(parser.add_argument_group("point spread function"))
    _add_data(parser.add_argument_group("data"))


def _add_output(group):
    group.add_argument(
        "--output", type=Path, metavar="OUT.fits", help="result (default: OBS_lenssuper.fits, here)"
    )
    group.add_argument(
        "--png", type=Path, metavar="OUT.png", help="picture of the result (default: OUT.png, beside it)"
    )
    add_overwrite(group)


def _add_psf(group):
    group.add_argument("--psf", type=Path, metavar="FILE", help="FITS image of the PSF, instead of PSFIMAGE")
    group.add_argument(
        "--psf-oversampling", type=positive, metavar="N", help="samples of the PSF per pixel (default: 1)"
    )
    group.add_argument(
        "--optical-psf",
        action="store_true",
        help="the PSF does not contain the averaging over a pixel (that of a star does)",
    )


def _add_data(group):
    group.add_argument(
        "--lens-light",
        metavar="EXT|FILE",
        help="image of the lens galaxy to subtract: an extension of OBS.fits, e.g. LENSLIGHT, or a FITS file",
    )
    group.add_argument(
        "--mask", type=Path, metavar="FILE", help="FITS image, not 0 where not to use the data"
    )
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
    check_writable([picture], overwrite=options.overwrite)
    from lenssuper.lens import LensModel

    lens = LensModel.read(options.lens)
    result = super_resolve(options, lens, _prepared(options, lens))
    result.write(output, overwrite=options.overwrite)
    write_png(result, picture, overwrite=options.overwrite)
    say(options, result.summary())
    say(options, f"wrote    {output}\n         {picture}")


def _prepared(options: argparse.Namespace, lens: LensModel) -> Observation:
    """Read the observation and do to it what the options ask for."""
    from lenssuper.observation import Observation, read_observation

    observation = read_observation(
        options.observation,
        psf_oversampling=options.psf_oversampling,
        psf_includes_pixel=False if options.optical_psf else None,
    )
    nddata = observation.to_nddata()
    if options.psf is not None:
        nddata.psf = _image(options.psf)
    if options.lens_light is not None:
        nddata.data -= _like(_lens_light(options), observation, "--lens-light")
    if options.mask is not None:
        nddata.mask |= _like(_image(options.mask), observation, "--mask") != 0
    if options.annulus is not None:
        nddata.mask |= ~_in_annulus(observation, lens, *options.annulus)
    if options.noise_scale is not None:
        if not 0 < options.noise_scale < float("inf"):
            raise ValueError(f"--noise-scale must be positive; got {options.noise_scale}")
        nddata.uncertainty.array *= options.noise_scale
    return Observation.from_nddata(
        nddata,
        grid=observation.grid,
        psf_oversampling=observation.psf_oversampling,
        psf_includes_pixel=observation.psf_includes_pixel,
    )


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
    return _image(path) if path.is_file() else _image(options.observation, extension=options.lens_light)


def _image(path: Path, extension: str | None = None) -> np.ndarray:
    """Read an extension of a FITS file, by default the first that is an image."""
    from astropy.io import fits

    from lenssuper.exceptions import FileFormatError

    try:
        with fits.open(path, memmap=False) as hdus:
            names = [hdu.name for hdu in hdus]
            images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] == 2]
            if extension is not None:
                images = [hdu for hdu in images if hdu.name == extension.upper()]
            image = images[0].data if images else None
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, TypeError, fits.VerifyError) as error:
        raise FileFormatError(f"{path} cannot be read as a FITS image: {error}") from error
    if image is not None:
        return image
    if extension is None:
        raise FileFormatError(f"{path} holds no image")
    raise FileFormatError(
        f"{extension!r} is neither a file nor an image in {path}, which has {', '.join(names)}"
    )


def _like(image: np.ndarray, observation: Observation, option: str) -> np.ndarray:
    if image.shape != observation.shape:
        raise ValueError(f"{option} must have the shape of the data, {observation.shape}; got {image.shape}")
    return image
