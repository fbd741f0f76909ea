"""``lenssuper simulate``: sets of random lenses to train and test on, with the truth."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenssuper.cli._common import add_factor, add_overwrite, natural, new_command, positive
from lenssuper.cli._report import say

if TYPE_CHECKING:
    from lenssuper.simulate import DarkMatter, Instrument

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
_DARK_MATTER = ("none", "cdm", "cdm-points", "vortex")
# Side in arcsec that a simulated field has at least: room for the largest Einstein ring that is drawn.
_FIELD = 5.12
# Lenses that are worth a process: it takes as long to start as four lenses take to make.
_LENSES_OF_A_WORKER = 10


def add(commands) -> None:
    """Add this command to the command line."""
    parser = new_command(
        commands,
        "simulate",
        _simulate,
        "simulate lenses to train and test on: observation, lens model and truth of each",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory to write to, made if need be; a set that was interrupted is completed",
    )
    parser.add_argument("--n", type=positive, default=1, help="number of lenses (default: %(default)s)")
    parser.add_argument(
        "--seed", type=natural, default=0, help="which ones; lens i is the same whatever --n (default: 0)"
    )
    _add_set(parser.add_argument_group("the set"))
    _add_lens(parser.add_argument_group("the lenses"))
    add_overwrite(parser)


def _add_set(group) -> None:
    divided = group.add_mutually_exclusive_group()
    divided.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="shares of the lenses in DIR/train, DIR/validation and DIR/test (default: 0.8 0.1 0.1)",
    )
    divided.add_argument("--no-split", action="store_true", help="all lenses in DIR itself")
    group.add_argument(
        "--layout",
        choices=["fits", "hdf5"],
        default="fits",
        help="three files for each lens, or one for all of a part (default: %(default)s)",
    )
    group.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes; lenses do not depend on it (default: a core for each, of ten lenses or more)",
    )


def _add_lens(group) -> None:
    group.add_argument(
        "--instrument",
        choices=list(_INSTRUMENTS),
        help='its pixels, PSF and noise (default: pixels of 0.08" and a Gaussian PSF of FWHM 0.16")',
    )
    group.add_argument(
        "--snr",
        type=float,
        nargs=2,
        default=(20.0, 60.0),
        metavar=("LOW", "HIGH"),
        help="range of the S/N of the brightest pixel (default: 20 60)",
    )
    group.add_argument(
        "--size",
        type=positive,
        metavar="PIXELS",
        help='rows and columns in pixels (default: 5.12", but 64 at least)',
    )
    group.add_argument(
        "--angles",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help='multiplies the angles of lenses and sources, for fields other than 5.12" (default: 1)',
    )
    add_factor(group, "the true image")
    group.add_argument(
        "--sources",
        default="spiral",
        metavar="KIND|PATH",
        help="what is lensed: spiral (clumpy ones), sersic (sums of profiles), galaxy10 (downloaded, 2.5 GB, "
        "or the path of Galaxy10_DECals.h5), or a directory of FITS images of galaxies (default: spiral)",
    )
    group.add_argument(
        "--dark-matter",
        choices=_DARK_MATTER,
        nargs="+",
        default=["none"],
        metavar="CLASS",
        help="no substructure, cold subhaloes (truncated NFW, or point masses), a vortex: "
        f"{', '.join(_DARK_MATTER)}; of several, each lens gets one at random (default: none)",
    )


def _simulate(options: argparse.Namespace) -> None:
    from lenssuper import simulate
    from lenssuper.datasets import write_dataset

    given = {}
    if options.instrument is not None:
        given["instrument"] = getattr(simulate, _INSTRUMENTS[options.instrument])
    size = options.size or _size(given.get("instrument"))
    dataset = write_dataset(
        options.output,
        options.n,
        seed=options.seed,
        split=None if options.no_split else options.split,
        shape=(size, size),
        peak_snr=options.snr,
        factor=options.factor,
        **_angles(options.angles, _sources(options.sources)),
        dark_matter=[_dark_matter(name) for name in options.dark_matter],
        layout=options.layout,
        workers=options.workers or _workers(options.n),
        overwrite=options.overwrite,
        progress=False if options.quiet else None,
        **given,
    )
    say(options, f"wrote    {options.output}: {_count(options, dataset)}")


def _workers(n: int) -> int:
    from lenssuper._utils.threads import thread_count

    return max(1, min(thread_count(), n // _LENSES_OF_A_WORKER))


def _size(instrument: Instrument | None) -> int:
    return 64 if instrument is None else max(64, round(_FIELD / instrument.pixel_scale.to_value("arcsec")))


def _angles(factor: float, sources: Callable) -> dict[str, Any]:
    """What draws lenses and sources, at another angular scale."""
    import inspect
    from functools import partial

    from lenssuper.simulate import random_lens

    def scaled(draw, names):
        given = {name: factor * inspect.signature(draw).parameters[name].default for name in names}
        return partial(draw, **given)

    if factor == 1:
        return {"sources": sources}
    if not factor > 0:
        raise ValueError(f"--angles must be positive; got {factor}")
    if not {"R_e", "offset"} <= inspect.signature(sources).parameters.keys():
        raise ValueError("--angles is for sources that are drawn, spiral or sersic, not for images")
    return {
        "lenses": scaled(random_lens, ["theta_E", "offset"]),
        "sources": scaled(sources, ["R_e", "offset"]),
    }


def _sources(name: str) -> Callable:
    from lenssuper.simulate import ImageSources, random_sersics, random_source

    known = {"spiral": random_source, "sersic": random_sersics}
    if name in known:
        return known[name]
    # what is drawn does not depend on how much noise their own images are said to have
    if name == "galaxy10" or Path(name).suffix in (".h5", ".hdf5"):
        from lenssuper.datasets import Galaxy10

        path = None if name == "galaxy10" else Path(name).resolve()
        return ImageSources(Galaxy10(path, estimate_noise=False))
    if not Path(name).is_dir():
        raise NotADirectoryError(
            f"--sources must be {', '.join(known)}, galaxy10 or a directory of FITS images; got {name!r}"
        )
    import astropy.units as u

    from lenssuper.datasets import CutoutFolder

    # for images without noise and WCS, which a source does not need
    folder = CutoutFolder(Path(name).resolve(), estimate_noise=True, pixel_scale=1 * u.arcsec)
    return ImageSources(folder)


def _dark_matter(name: str) -> DarkMatter:
    from lenssuper.simulate import AxionVortex, ColdSubhaloes, NoSubstructure

    if name.startswith("cdm"):
        return ColdSubhaloes(point_masses=name == "cdm-points")
    return AxionVortex() if name == "vortex" else NoSubstructure()


def _count(options, dataset) -> str:
    from lenssuper.datasets import read_dataset

    if options.no_split:
        return f"{len(dataset)} lenses"
    parts = {}
    for part in ("train", "validation", "test"):
        try:
            parts[part] = len(read_dataset(options.output, part))
        except FileNotFoundError:  # it has no share, or the set is small
            parts[part] = 0
    return ", ".join(f"{number} {part}" for part, number in parts.items())
