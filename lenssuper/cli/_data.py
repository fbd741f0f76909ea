"""What is done to an observation before a lens is fitted or a source is looked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lenssuper.cli._common import add_mask, changed, like, read_inputs, read_lens_light, repacked, say

if TYPE_CHECKING:
    import numpy as np
    from astropy.coordinates import SkyCoord

    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation

__all__ = ["add_data", "correlations", "prepared", "prepared_together"]


def add_data(group) -> None:
    """Add the options that say which data to use, and how."""
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


def prepared_together(options: argparse.Namespace, lens: LensModel | None) -> list[Observation]:
    """Read all observations and do to them what the options ask for, offsets counted as in the first."""
    first, *others = options.observations
    together = [prepared(changed(options, observation=first), lens)]
    reference = together[0].grid.reference
    return together + [prepared(changed(options, observation=other), lens, reference) for other in others]


def prepared(
    options: argparse.Namespace, lens: LensModel | None, reference: SkyCoord | None = None
) -> Observation:
    """Read the observation and do to it what the options ask for."""
    observation = read_inputs(options)
    if reference is not None and observation.grid.reference is not None:
        observation = _counted_from(reference, observation)
    nddata = observation.to_nddata()
    if options.lens_light is not None:
        nddata.data -= like(
            read_lens_light(options.lens_light, options.observation), observation, "--lens-light"
        )
    if options.annulus is not None:
        nddata.mask |= ~_in_annulus(observation, lens, *options.annulus)
    if options.noise_scale is not None:
        if not 0 < options.noise_scale < float("inf"):
            raise ValueError(f"--noise-scale must be positive; got {options.noise_scale}")
        nddata.uncertainty.array *= options.noise_scale
    return repacked(nddata, observation)


def correlations(options: argparse.Namespace, lens: LensModel | None) -> list[np.ndarray | float] | None:
    """How noise is correlated: in all of an image, as an annulus leaves little sky to tell."""
    if options.annulus is None:
        return None
    from lenssuper.observation.noise import given_or_measured

    wholes = prepared_together(changed(options, annulus=None), lens)
    found = [given_or_measured(None, whole) for whole in wholes]
    for path, covariance in zip(options.observations, found, strict=True):
        if not isinstance(covariance, float):
            where = f" in {path.name}" if len(options.observations) > 1 else ""
            say(
                options,
                f"noise    correlated between neighbours{where}: {covariance.sum():.2f} times the "
                "variance for what is larger than pixels",
            )
    return found


def _counted_from(reference: SkyCoord, observation: Observation) -> Observation:
    from dataclasses import replace

    from lenssuper.observation.grid import PixelGrid

    grid = PixelGrid.from_wcs(observation.grid.wcs, observation.shape, reference=reference)
    return replace(observation, grid=grid)


def _in_annulus(observation: Observation, lens: LensModel | None, inner: float, outer: float) -> np.ndarray:
    import numpy as np

    if not 0 <= inner < outer:
        raise ValueError(f"--annulus must be two distances, the smaller first; got {inner} and {outer}")
    centers = [] if lens is None else lens.centers_arcsec()
    x0, y0 = np.mean(centers, axis=0) if centers else (0.0, 0.0)
    x, y = observation.grid.centers_arcsec()
    radius = np.hypot(x - x0, y - y0)
    return (radius >= inner) & (radius <= outer)
