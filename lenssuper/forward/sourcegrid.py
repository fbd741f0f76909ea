"""The default grid of the source plane, for an observation and a lens."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from lenssuper._utils.checks import check_count
from lenssuper._utils.units import arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["default_source_grid", "square_source_grid"]

# Beyond this many pixels along a side, the grid is fitted to where there is light.
_COMFORTABLE = 128
# The most pixels along a side, however large the field.
_LARGEST = 256
# Free space around the light, as a share of its size: the faint outskirts of a galaxy reach beyond its bright
# pixels.
_MARGIN = 0.4


def default_source_grid(observation: Observation, lens: LensModel, factor: int) -> PixelGrid:
    """
    Choose a grid that covers the part of the source plane seen in an observation, as fine as it resolves.

    Parameters
    ----------
    observation : Observation
    lens : LensModel
    factor : int
        Number of fine image pixels along the side of an observed one.

    Returns
    -------
    PixelGrid
        Square pixels along west and north, in the frame of the observation.

    Raises
    ------
    ObservationError
        If the lens maps no pixel that is used to a finite position in the source plane.

    Notes
    -----
    The pixels are as large as those of the fine image divided by the square root of the magnification, the
    median over the pixels with light: lensing conserves surface brightness, so that is the scale at which a
    pixel of the source fills one of the image (Schneider, Ehlers & Falco 1992, section 5.2). The grid covers
    all positions that unmasked pixels are mapped to. If that takes more than 128 pixels a side, it covers the
    light with a margin, as dark parts only cost time. If that takes more than 256, the pixels are larger.
    """
    used = ndimage.binary_dilation(~observation.mask, np.ones((3, 3)), iterations=2)
    x, y = observation.grid.centers_arcsec()
    beta = _source_positions(lens, x, y)
    bright = observation.bright
    seen = _box(beta, used)
    field = _reach(lens, np.stack(np.broadcast_arrays(x, y)))
    low, high = np.maximum(seen[0], field[0]), np.minimum(seen[1], field[1])
    if not np.all(high > low):
        raise ObservationError(
            f"the lens maps the field to {seen[0]}..{seen[1]} arcsec in the source plane, further from its "
            f"centre than the field is, {field[0]}..{field[1]} arcsec: check the units and the centre of "
            f"{lens!r}"
        )
    fine = observation.grid.side_arcsec / factor
    scale = fine / np.sqrt(_magnification(lens, x, y, bright if bright.any() else used))
    if np.max(high - low) > _COMFORTABLE * scale and bright.any():
        least, most = _box(beta, bright)
        margin = np.maximum(_MARGIN * (most - least), 8 * fine)
        # a narrow stripe would be hard to look at, and would cut off light on its sides
        margin = np.maximum(margin, 0.3 * np.max(most - least + 2 * margin) - (most - least) / 2)
        low, high = np.maximum(low, least - margin), np.minimum(high, most + margin)
    scale = max(scale, np.max(high - low) / _LARGEST)
    # the priors of the solvers work by FFT
    nx, ny = (fft.next_fast_len(int(np.ceil(side / scale)) + 2, real=True) for side in high - low)
    return PixelGrid(
        (ny, nx), arcsec(scale), center=arcsec((low + high) / 2), reference=observation.grid.reference
    )


def square_source_grid(observation: Observation, lens: LensModel, factor: int, n: int) -> PixelGrid:
    """
    Choose a grid with a fixed number of pixels that covers that of `default_source_grid`.

    Many lenses can be computed together, as in `~lenssuper.ForwardModelBatch` and to train a network, only on
    grids of one shape.

    Parameters
    ----------
    observation : Observation
    lens : LensModel
    factor : int
        Number of fine image pixels along the side of an observed one.
    n : int
        Number of source pixels along each side.

    Returns
    -------
    PixelGrid
        Of shape (n, n), around the same centre. Its side is the longer one of the default grid.

    Raises
    ------
    ObservationError
        If the lens maps no pixel that is used to a finite position in the source plane.
    """
    grid = default_source_grid(observation, lens, factor)
    n = check_count(n, "n", 1)
    return PixelGrid(
        (n, n), grid.pixel_scale * max(grid.shape) / n, center=grid.center, reference=grid.reference
    )


def _source_positions(lens, x, y):
    x, y = np.broadcast_arrays(x, y)
    return np.stack(lens.rays_arcsec(x, y))


def _box(positions, where):
    """Return the lower and the upper corner of the finite positions (2, ny, nx) within a mask."""
    points = positions[:, where & np.isfinite(positions).all(axis=0)]
    if not points.size:
        raise ObservationError("the lens maps no pixel that is used to a finite position in the source plane")
    return points.min(axis=1), points.max(axis=1)


def _reach(lens, positions):
    """
    Return the box that light of the field may come from, no further from a centre of the lens than the field.

    Pixels that a point mass or a steep core maps to positions further out carry no light.
    """
    corners = np.stack([positions.min(axis=(1, 2)), positions.max(axis=(1, 2))])
    points = np.concatenate([corners, *(2 * np.array(center) - corners for center in lens.centers_arcsec())])
    return points.min(axis=0), points.max(axis=0)


def _magnification(lens, x, y, where):
    """Return the median magnification over the pixels of a mask, from 1 to 25."""
    x, y = (values[where] for values in np.broadcast_arrays(x, y))
    xx, yy, xy = lens.hessian(x, y)
    with np.errstate(divide="ignore"):
        mu = 1 / np.abs((1 - xx) * (1 - yy) - xy**2)
    return float(np.clip(np.median(mu[~np.isnan(mu)]), 1, 25)) if mu.size else 1.0
