"""What several commands share: options, files and words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenssuper.cli import _inputs as inputs
from lenssuper.cli._report import say

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from lenssuper.lens import LensModel
    from lenssuper.lensfit import LensFit
    from lenssuper.light import ForegroundFit
    from lenssuper.observation import Observation
    from lenssuper.observation.psffile import PsfOptions
    from lenssuper.simulate import MockLens
    from lenssuper.solvers import Solver
    from lenssuper.substructure import SubstructureResult
    from lenssuper.superres.result import SuperResolution
    from lenssuper.superres.superresolver import SuperResolver

_DPI = 120


# What follows the name of each command in the example at the end of its help.
_EXAMPLES = {
    "demo": "",
    "prepare": "mosaic.fits --sky 150.1 2.2 --size 5 --psf psf.fits --einstein-radius 0.8 --output lens.fits",
    "fit-light": "lens.fits --output arcs.fits",
    "fit-lens": "lens.fits --einstein-radius 0.8 --fit-light --output lens.json --subtracted arcs.fits",
    "run": "arcs.fits --lens lens.json --output result.fits",
    "view": "result.fits --output result.html",
    "substructure": "arcs.fits --lens lens.json --z-lens 0.2 --z-source 0.6 --output maps.fits",
    "batch": "catalogue.ecsv --output results --prepare --fit-light --fit-lens --workers 4",
    "simulate": "--n 200 --output lenses",
    "train": "lenses --output net.safetensors",
    "train-light": "--method cnn --output net.safetensors",
    "show": "result.fits lens.json",
    "doctor": "",
}


def new_command(commands, name: str, function: Callable, summary: str) -> argparse.ArgumentParser:
    """Add a subcommand that calls ``function`` with its parsed options; its help ends with an example."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"Example: lenssuper {name} {_EXAMPLES[name]}".rstrip(),
    )
    parser.set_defaults(command=function)
    parser.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def add_factor(parser: argparse.ArgumentParser, what: str = "the super-resolved image") -> None:
    """Add the option ``--factor``."""
    text = f"pixels of {what} along the side of an observed one (default: %(default)s)"
    parser.add_argument("--factor", type=positive, default=2, metavar="N", help=text)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def add_observation(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``OBS.fits``."""
    inputs.add_input(
        parser,
        "observation",
        check=inputs.fits_file,
        type=Path,
        metavar="OBS.fits",
        help="image with noise, flags and PSF, in a survey's layout or in UNCERT, MASK and PSFIMAGE",
    )


def add_observations(parser: argparse.ArgumentParser) -> None:
    """Add the arguments ``OBS.fits ...``, and what several of them are."""
    inputs.add_input(
        parser,
        "observations",
        check=inputs.fits_file,
        nargs="+",
        type=Path,
        metavar="OBS.fits",
        help="image, with extensions UNCERT (standard deviation), MASK (1 = do not use) and PSFIMAGE; "
        "several are bands of one lens, each with a source of its own",
    )
    parser.add_argument(
        "--exposures",
        action="store_true",
        help="several observations are exposures of one band, and have one source",
    )


def changed(options: argparse.Namespace, **changes) -> argparse.Namespace:
    """Return the options with some of them changed."""
    return argparse.Namespace(**vars(options) | changes)


def add_psf(group, *, others=None) -> None:
    """Add the options that tell of the PSF; ``others`` is a group of options that exclude ``--psf``."""
    inputs.add_input(
        others or group,
        "--psf",
        check=inputs.fits_file,
        type=Path,
        metavar="FILE",
        help="FITS image of the PSF, or a file of STPSF or PSFEx (default: the PSF in the image's file)",
    )
    group.add_argument("--psf-ext", metavar="NAME|N", help="extension of that file (default: by its name)")
    group.add_argument(
        "--psf-scale",
        type=float,
        metavar="ARCSEC",
        help="side of a sample of the PSF in arcsec, which need not divide the pixel "
        "(default: as its header says)",
    )
    group.add_argument(
        "--psf-oversampling",
        type=positive,
        metavar="N",
        help="samples of the PSF per pixel (default: as its header says, else 1)",
    )
    group.add_argument(
        "--optical-psf",
        action="store_true",
        help="the PSF does not contain the averaging over a pixel (default: as its file "
        "says, else it does, as a star)",
    )
    group.add_argument(
        "--center-psf", action="store_true", help="move the centre of the PSF to the middle of its array"
    )


def add_reading(group) -> None:
    """Add the options that say what a file does not say of itself."""
    group.add_argument(
        "--ext",
        metavar="NAME|N",
        help="extension with the image (default: by its name); NAME,VER, or NAME:PLANE of a cube",
    )
    group.add_argument("--unit", metavar="UNIT", help="unit of the data (default: BUNIT)")
    inputs.add_input(
        group,
        "--noise",
        check=inputs.fits_or_extension,
        metavar="EXT|FILE",
        help="map of the standard deviation, or of what its name says, in the unit of "
        "the data; or none (default: by its name)",
    )
    inputs.add_input(
        group,
        "--weight",
        check=inputs.fits_or_extension,
        metavar="EXT|FILE",
        help="map of the inverse variance, or of weights in any unit (default: by its name)",
    )
    inputs.add_input(
        group,
        "--mask",
        check=inputs.fits_or_extension,
        metavar="EXT|FILE",
        help="FITS image, not 0 where not to use the data, or flags, or regions of DS9 (*.reg), "
        "besides that of the file (default: none)",
    )
    group.add_argument(
        "--mask-bits",
        metavar="FLAGS",
        help='flags that make a pixel unfit, as "SAT,CR", "1,4" or "~64" (default: by instrument, else all)',
    )
    group.add_argument(
        "--pixel-scale",
        type=float,
        metavar="ARCSEC",
        help="side of a pixel in arcsec, of an image without WCS (default: the WCS says it)",
    )


def reading_of(options: argparse.Namespace) -> dict[str, Any]:
    """Give what `add_reading`'s options say, for `~lenssuper.observation.reader.Reading`."""
    from astropy import units as u

    names = ("ext", "unit", "noise", "weight", "mask", "mask_bits", "pixel_scale")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "pixel_scale" in given:
        given["pixel_scale"] = given["pixel_scale"] * u.arcsec
    return given


def psf_options_of(options: argparse.Namespace) -> PsfOptions:
    """Give what `add_psf`'s options say of the file of the PSF."""
    from astropy import units as u

    from lenssuper.observation.psffile import PsfOptions

    return PsfOptions(
        ext=options.psf_ext,
        scale=None if options.psf_scale is None else options.psf_scale * u.arcsec,
        oversampling=options.psf_oversampling,
        includes_pixel=False if options.optical_psf else None,
        recentre=options.center_psf,
    )


def natural(text: str) -> int:
    """Read an integer, 0 or more."""
    return _integer(text, 0)


def positive(text: str) -> int:
    """Read an integer, 1 or more."""
    return _integer(text, 1)


def _integer(text, least):
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"must be an integer, {least} or more; got {text!r}")
    return int(text)


def check_writable(paths: Iterable[Path], options: argparse.Namespace, *, text: Iterable[Path] = ()) -> None:
    """Check that files can be written and are none of the inputs, before the work is done rather than after.

    Those in ``text`` may be pipes and terminals too.
    """
    from lenssuper._utils.files import check_output

    paths, inputs = list(paths), []
    if len(set(paths)) < len(paths):
        raise ValueError(f"each output must have a name of its own; got {', '.join(map(str, paths))}")
    for name, value in vars(options).items():
        if name not in ("output", "png", "html"):
            inputs += [
                item
                for item in (value if isinstance(value, list) else [value])
                if isinstance(item, str | Path) and item
            ]
    for path in paths:
        check_output(path, overwrite=options.overwrite, stream=path in text, inputs=inputs)


def read_inputs(options: argparse.Namespace) -> Observation:
    """Read the observation, with the PSF of the options, and say what was read as what."""
    from lenssuper.observation import read_observation
    from lenssuper.observation.psffile import PsfOptions, read_psf
    from lenssuper.observation.reader import Reading

    of_psf = psf_options_of(options)
    observation = read_observation(
        options.observation,
        noise_correlation=getattr(options, "noise_correlation", None),
        reading=Reading(psf=of_psf if options.psf is None else PsfOptions(), **reading_of(options)),
    )
    say_history(options, observation.meta, "lenssuper read: ")
    if options.psf is not None:
        psf = read_psf(options.psf, observation.grid.side_arcsec, of_psf)
        for sentence in psf.found:
            say(options, sentence)
        observation = observation.with_psf(
            psf.values, oversampling=psf.oversampling, includes_pixel=psf.includes_pixel
        )
    return observation


def say_history(options: argparse.Namespace, header, mark: str) -> None:
    """Print the sentences in the HISTORY of a header that begin with a mark, but not those of a warning."""
    text = "".join(f"{line:<72}" for line in header.get("HISTORY", []))
    for part in text.split(mark)[1:]:
        sentence = part.partition("lenssuper ")[0].strip()
        if not any(warning.startswith(sentence) for warning in getattr(options, "said", ())):
            say(options, sentence)


def read_image(path: Path, extension: str | None = None) -> np.ndarray:
    """Read an extension of a FITS file, by default the first that is an image."""
    from lenssuper._utils.files import reading
    from lenssuper.exceptions import FileFormatError
    from lenssuper.observation.opening import open_fits

    with reading(path, "a FITS image"), open_fits(path) as hdus:
        names = [hdu.name for hdu in hdus]
        images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] == 2]
        if extension is not None:
            images = [hdu for hdu in images if hdu.name == extension.upper()]
        image = images[0].data if images else None
    if image is not None:
        return image
    if extension is None:
        raise FileFormatError(f"{path} holds no image")
    raise FileFormatError(
        f"{extension!r} is neither a file nor an image in {path}, which has {', '.join(names)}"
    )


def read_lens_light(text: str, image: Path) -> np.ndarray:
    """Read the light of the lens galaxy: a file, or else an extension of the image."""
    path = Path(text)
    return read_image(path) if path.is_file() else read_image(image, text)


def picture_beside(options: argparse.Namespace, output: Path, kind: str) -> Path:
    """Return the name of the picture, which must not be that of the result."""
    if output.is_dir():
        raise IsADirectoryError(f"{output} is a directory")
    picture = options.png or output.with_suffix(".png")
    if picture == output:
        raise ValueError(f"--output is the {kind} file, and must not have the name of the picture, {picture}")
    return picture


def like(image: np.ndarray, observation: Observation, option: str) -> np.ndarray:
    """Return an image if it has the shape of the data."""
    if image.shape != observation.shape:
        raise ValueError(f"{option} must have the shape of the data, {observation.shape}; got {image.shape}")
    return image


def add_network(group) -> None:
    """Add the options that let a network do the work."""
    inputs.add_input(
        group,
        "--network",
        check=inputs.network,
        metavar="NAME|FILE",
        help="find the source with the network that comes with lenssuper (space), or one of "
        "lenssuper train (FILE.safetensors), in about a second "
        "(default: none, but a log-normal prior, in several)",
    )
    group.add_argument(
        "--refine",
        action="store_true",
        help="improve the network's source with a fit to each observation",
    )


def solver_of(options: argparse.Namespace) -> Solver | None:
    """Return the solver that `add_network`'s options and ``--draws`` ask for; None for the default."""
    draws = {} if getattr(options, "draws", None) is None else {"n_draws": options.draws}
    if getattr(options, "network", None) is None:
        if getattr(options, "refine", False):
            raise ValueError("--refine improves the answer of a network; add --network")
        if not draws:
            return None
        from lenssuper.solvers import LogNormal

        return LogNormal(**draws)
    from lenssuper.solvers import NetworkSolver

    settings = {"refine": options.refine, **draws}
    if options.network.endswith(".safetensors"):
        return NetworkSolver.read(options.network, **settings)
    return NetworkSolver.pretrained(options.network, factor=options.factor, **settings)


def resolver_of(options: argparse.Namespace, lens: LensModel) -> SuperResolver:
    """Make a `~lenssuper.SuperResolver` with the options of the command line."""
    from lenssuper.superres.superresolver import SuperResolver

    progress = False if options.quiet else None  # None shows a bar on a terminal
    return SuperResolver(
        lens,
        options.factor,
        solver=solver_of(options),
        rng=options.seed,
        progress=progress,
    )


def write_png(
    result: SuperResolution | LensFit | ForegroundFit | SubstructureResult, path: Path, *, overwrite: bool
) -> None:
    """Write the picture of a result, whole or not at all."""
    write_figure(result.plot(), path, overwrite=overwrite)


def write_figure(figure: Figure, path: Path, *, overwrite: bool) -> None:
    """Write a figure as PNG, whole or not at all."""
    from lenssuper._utils.files import atomic_write

    with atomic_write(path, overwrite=overwrite) as beside:
        figure.savefig(beside, format="png", dpi=_DPI)


def write_inputs(mock: MockLens, observed: Path, lens: Path, *, overwrite: bool) -> None:
    """Write what ``lenssuper run`` reads: an observation and a lens model."""
    from lenssuper.observation import Observation, write_observation

    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    write_observation(observation, observed, overwrite=overwrite)
    mock.lens.write(lens, overwrite=overwrite)
