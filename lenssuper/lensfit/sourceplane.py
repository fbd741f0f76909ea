"""The grid of the source of a fit, and the envelope of its brightness."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from lenssuper._utils.units import arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.forward.judgement import mapping
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.registration import TrialLens
from lenssuper.observation.grid import PixelGrid

__all__ = ["carried_along", "envelope", "gathering", "light_grid", "moved_to", "upright"]

# Percentage of the light, at each end of its distribution, outside the grid before a margin is added
_OUTLIERS = 0.5
# Margin around the light, as a share of half its size: a truncated source would bias the lens
_MARGIN = 0.6
# Largest number of pixels: where there are few data, and in any case; and the same for each datum in between
_ENOUGH, _LARGEST, _PER_DATUM = 4000, 9000, 1.5
# Relative brightness that is possible everywhere; standard deviation, in observed pixels, of the Gaussian
# that smooths the first source
_FLOOR, _AROUND = 0.02, 0.9


def light_grid(exposure: Exposure, lens: TrialLens, finer: float) -> PixelGrid:
    """
    Return a grid around the light of the source, with ``finer`` pixels along the side of an observed one.

    They are larger where these would be many, or many more than there are data.
    Raise an ObservationError if the lens takes the light nowhere.
    """
    x, y, _ = exposure.light
    beta = np.stack(lens.rays_arcsec(x, y))
    beta = beta[:, np.isfinite(beta).all(axis=0)]
    if not beta.size:
        raise ObservationError("the lens deflects no pixel with light to a finite position")
    low, high = np.percentile(beta, [_OUTLIERS, 100 - _OUTLIERS], axis=1)
    side = exposure.part.grid.side_arcsec
    margin = max(_MARGIN * np.max(high - low) / 2, 2 * side)
    low, high = low - margin, high + margin
    most = np.clip(_PER_DATUM * np.count_nonzero(exposure.field), _ENOUGH, _LARGEST)
    scale = max(side / finer, np.sqrt(np.prod(high - low) / most))
    nx, ny = (fft.next_fast_len(int(np.ceil(width / scale)), real=True) for width in high - low)
    reference = exposure.part.grid.reference
    return PixelGrid((ny, nx), arcsec(scale), center=arcsec((low + high) / 2), reference=reference)


def carried_along(grid: PixelGrid, before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> PixelGrid:
    """
    Move, scale and shear a grid by the affine map that takes positions (2, n) in arcsec closest to others.

    ``weights`` (n,) are those of the distances in the least squares.
    """
    positions = np.column_stack([before.T, np.ones(before.shape[1])])
    weights = weights[:, None]
    change, *_ = np.linalg.lstsq(weights * positions, weights * after.T, rcond=1e-10)
    matrix, shift = change[:2].T, change[2]
    return PixelGrid.from_affine(
        grid.shape, matrix @ grid.matrix, matrix @ grid.origin + shift, grid._reference
    )


def gathering(exposure: Exposure, lens: TrialLens) -> float:
    """Return the relative size of the light in the source plane, see `mapping.gathering`."""
    return mapping.gathering(lens, *exposure.light)


def envelope(source: np.ndarray, grid: PixelGrid, side: float) -> np.ndarray:
    """
    Return the relative standard deviation of the prior in each pixel of ``grid``, from a first source.

    What wins in the reconstruction of lensed sources is smoothness relative to brightness (Nightingale, Dye &
    Massey 2018, MNRAS 478, 4738, section 3.3, who weigh source pixels by a first solution likewise). ``side``
    is that of an observed pixel, in arcsec.
    """
    smooth = ndimage.gaussian_filter(np.maximum(source, 0.0), _AROUND * side / grid.side_arcsec)
    top = smooth.max()
    return _FLOOR + (smooth / top if top > 0 else np.ones_like(smooth))


def moved_to(grid: PixelGrid, source: np.ndarray, source_grid: PixelGrid) -> np.ndarray:
    """Interpolate a source to another grid."""
    columns, rows = source_grid.to_pixel(*np.broadcast_arrays(*grid.centers_arcsec()))
    return ndimage.map_coordinates(source, [rows, columns], order=1, mode="constant")


def upright(grid: PixelGrid, finer: int) -> PixelGrid:
    """Return a grid of square pixels along the axes, ``finer`` times smaller, that covers another grid."""
    x, y = (v.ravel() for v in np.broadcast_arrays(*grid.vertices_arcsec()))
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    side = grid.side_arcsec / finer
    nx, ny = (int(np.ceil(width / side)) for width in high - low)
    return PixelGrid((ny, nx), arcsec(side), center=arcsec((low + high) / 2), reference=grid.reference)
