"""``lenssuper simulate``: observations of random lenses, with the truth."""

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
    write_inputs,
)

if TYPE_CHECKING:
    from lenssuper.simulate import Instrument, MockLens

__all__ = ["add"]

# The instruments by the names they have on the command line, and in lenssuper.simulate.
_INSTRUMENTS = {
    "hst-acs-f814w": "HST_ACS_F814W",
    "hst-wfc3-f160w": "HST_WFC3_F160W",
    "jwst-nircam-f150w": "JWST_NIRCAM_F150W",
    "jwst-nircam-f444w": "JWST_NIRCAM_F444W",
    "euclid-vis": "EUCLID_VIS",
    "lsst-i": "LSST_I",
}
# Side in arcsec that a simulated field has at least: room for the largest Einstein ring that is drawn.
_FIELD = 5.12
_ENDINGS = (".fits", "_lens.json", "_truth.fits")


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(
        commands, "simulate", _simulate, "simulate lenses: observation, lens model and truth of each"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="directory to write to, made if need be"
    )
    parser.add_argument("--n", type=positive, default=1, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=natural, default=0, help="which ones; lens i is the same whatever --n (default: 0)"
    )
    parser.add_argument(
        "--instrument",
        choices=list(_INSTRUMENTS),
        help='by default one with pixels of 0.08" and a Gaussian PSF of FWHM 0.16"',
    )
    parser.add_argument(
        "--snr",
        type=float,
        nargs=2,
        default=(20.0, 60.0),
        metavar=("LOW", "HIGH"),
        help="range of the S/N of the brightest pixel (default: 20 60)",
    )
    parser.add_argument(
        "--size", type=positive, metavar="PIXELS", help='rows and columns (default: 5.12", but 64 at least)'
    )
    add_factor(parser, "the true image")
    add_overwrite(parser)


def _simulate(options: argparse.Namespace) -> None:
    import numpy as np
    from tqdm import tqdm

    from lenssuper import simulate
    from lenssuper.simulate import random_mock

    given = {}
    if options.instrument is not None:
        given["instrument"] = getattr(simulate, _INSTRUMENTS[options.instrument])
    size = options.size or _size(given.get("instrument"))
    options.output.mkdir(parents=True, exist_ok=True)
    files = [[options.output / f"mock_{i:04d}{end}" for end in _ENDINGS] for i in range(options.n)]
    check_writable([path for paths in files for path in paths], overwrite=options.overwrite)
    silent = True if options.quiet else None  # None shows a bar on a terminal
    for i, (observed, lens, truth) in enumerate(tqdm(files, disable=silent, unit="lens")):
        mock = random_mock(
            np.random.default_rng([options.seed, i]),
            shape=(size, size),
            peak_snr=options.snr,
            factor=options.factor,
            **given,
        )
        write_inputs(mock, observed, lens, overwrite=options.overwrite)
        _write_truth(mock, truth, overwrite=options.overwrite)
    last = f" to {files[-1][0].name}" if options.n > 1 else ""
    say(options, f"wrote    {files[0][0]}{last}, and {', '.join(_ENDINGS[1:])} of each")


def _size(instrument: Instrument | None) -> int:
    return 64 if instrument is None else max(64, round(_FIELD / instrument.pixel_scale.to_value("arcsec")))


def _write_truth(mock: MockLens, path: Path, *, overwrite: bool) -> None:
    """Images without noise, each with its WCS: lensed and without PSF, as observed, and the source."""
    from astropy.io import fits

    from lenssuper._files import atomic_write
    from lenssuper.observation import Observation
    from lenssuper.sourcegrid import default_source_grid

    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    source_grid = default_source_grid(observation, mock.lens, mock.factor)
    images = {
        "IMAGE": (mock.image(), mock.grid.refine(mock.factor)),
        "MODEL": (mock.noiseless, mock.grid),
        "SOURCE": (mock.source_image(source_grid), source_grid),
    }
    hdus = [fits.PrimaryHDU()]
    for name, (image, grid) in images.items():
        hdu = fits.ImageHDU(image, header=grid.wcs.to_header(), name=name)
        hdu.header["BUNIT"] = (observation.unit.to_string(), "surface brightness per observed pixel")
        hdus.append(hdu)
    with atomic_write(path, overwrite=overwrite) as beside:
        fits.HDUList(hdus).writeto(beside, checksum=True)
