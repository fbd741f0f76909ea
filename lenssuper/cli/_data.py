"""What is done to an observation before a lens is fitted or a source is looked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lenssuper.cli._common import add_reading, changed, like, read_inputs, read_lens_light
from lenssuper.cli._inputs import add_input, fits_or_extension

if TYPE_CHECKING:
    import numpy as np

    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation

__all__ = ["add_data", "prepared"]


def add_data(group) -> None:
    """Add the options that say which data to use, and how."""
    add_input(
        group,
        "--lens-light",
        check=fits_or_extension,
        metavar="EXT|FILE",
        help="image of the lens galaxy to subtract: an extension of "
        "OBS.fits, e.g. LENSLIGHT, or a FITS file, in the unit of the data (default: none)",
    )
    add_reading(group)
    group.add_argument(
        "--annulus",
        type=float,
        nargs=2,
        metavar=("IN", "OUT"),
        help="use the data only between these distances from the centre "
        "of the lens, in arcsec (default: all)",
    )
    group.add_argument(
        "--noise-scale", type=float, metavar="X", help="multiply the standard deviations by this (default: 1)"
    )


def prepared(options: argparse.Namespace, lens: LensModel | None) -> list[Observation]:
    """Read the observations, each once, and apply what the options ask for."""
    together: list[Observation] = []
    for path in options.observations:
        observation = read_inputs(changed(options, observation=path))
        if together and observation.grid.reference is not None and together[0].grid.reference is not None:
            observation = observation.recentred(together[0].grid.reference)
        if options.lens_light is not None:
            light = read_lens_light(options.lens_light, path)
            observation = observation.without(like(light, observation, "--lens-light"))
        if options.noise_scale is not None:
            if not 0 < options.noise_scale < float("inf"):
                raise ValueError(f"--noise-scale must be positive; got {options.noise_scale}")
            observation = observation.with_weights(observation.weights / options.noise_scale**2)
        if options.annulus is not None:
            observation = observation.masked(~_in_annulus(observation, lens, *options.annulus))
        together.append(observation)
    return together


def _in_annulus(observation: Observation, lens: LensModel | None, inner: float, outer: float) -> np.ndarray:
    import numpy as np

    if not 0 <= inner < outer:
        raise ValueError(f"--annulus must be two distances, the smaller first; got {inner} and {outer}")
    centers = [] if lens is None else lens.centers_arcsec()
    x0, y0 = np.mean(centers, axis=0) if centers else (0.0, 0.0)
    x, y = observation.grid.centers_arcsec()
    radius = np.hypot(x - x0, y - y0)
    return (radius >= inner) & (radius <= outer)
