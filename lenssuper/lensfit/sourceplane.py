"""Where the source of a fit may be: its grid, and how bright it may be where."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage, sparse

from lenssuper._utils.units import arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.lens import LensModel
from lenssuper.lensfit import _splines
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["envelope", "gathering", "light_grid", "moved_to", "spline_image", "upright"]

# Light at the ends of the distribution that does not decide on the size of the grid
_OUTLIERS = 0.5
# Free space around the light, as a share of half its size: a source that is cut off bends the lens
_MARGIN = 0.6
# The most pixels
_LARGEST = 9000
# Relative brightness up to which there may be light anywhere, and how far light is expected around light, in
# observed pixels
_FLOOR, _AROUND = 0.02, 0.9


def light_grid(observation: Observation, lens: LensModel, lit: np.ndarray, finer: float) -> PixelGrid:
    """
    Give a grid around the light of the source.

    Parameters
    ----------
    observation : Observation
    lens : LensModel
    lit : ndarray of bool, shape (ny, nx)
        Observed pixels with light of the source.
    finer : float
        Pixels of the source along the side of an observed one.

    Raises
    ------
    ObservationError
        If the lens takes the light nowhere.
    """
    x, y = (v[lit] for v in np.broadcast_arrays(*observation.grid.centers_arcsec()))
    alpha_x, alpha_y = lens.deflection_arcsec(x, y)
    places = np.stack([x - alpha_x, y - alpha_y])
    places = places[:, np.isfinite(places).all(axis=0)]
    if not places.size:
        raise ObservationError("the lens deflects no pixel with light to a finite place")
    low, high = np.percentile(places, [_OUTLIERS, 100 - _OUTLIERS], axis=1)
    side = observation.grid.side_arcsec
    margin = max(_MARGIN * np.max(high - low) / 2, 2 * side)
    low, high = low - margin, high + margin
    scale = max(side / finer, np.sqrt(np.prod(high - low) / _LARGEST))
    nx, ny = (fft.next_fast_len(int(np.ceil(width / scale)), real=True) for width in high - low)
    return PixelGrid(
        (ny, nx), arcsec(scale), center=arcsec((low + high) / 2), reference=observation.grid.reference
    )


def gathering(observation: Observation, lens: LensModel, lit: np.ndarray) -> float:
    """
    Tell how near to each other a lens takes the light of the arcs.

    Images of one source come from one place; behind a lens that hardly magnifies they do not (Maresca, Dye &
    Li 2021, MNRAS 503, 2229, on such unphysical reconstructions).

    Parameters
    ----------
    observation : Observation
    lens : LensModel
    lit : ndarray of bool, shape (ny, nx)
        Observed pixels with light of the source.

    Returns
    -------
    float
        Root mean square distance of the light from its centroid in the source plane, relative to that in the
        image: 1 without a lens, 0.13 to 0.34 for the true lenses of mocks, above 0.5 with half the radius.
    """
    x, y = (v[lit] for v in np.broadcast_arrays(*observation.grid.centers_arcsec()))
    alpha_x, alpha_y = lens.deflection_arcsec(x, y)
    brightness = np.maximum(observation.data[lit], 0.0)

    def size(*places):
        means = [np.average(v, weights=brightness) for v in places]
        return np.sqrt(sum(brightness @ (v - mean) ** 2 for v, mean in zip(places, means, strict=True)))

    return float(size(x - alpha_x, y - alpha_y) / size(x, y))


def envelope(source: np.ndarray, grid: PixelGrid, side: float) -> np.ndarray:
    """
    Give the standard deviation to expect of each pixel, relative to the largest, from a first source.

    What wins in the reconstruction of lensed sources is smoothness relative to brightness (Nightingale, Dye &
    Massey 2018, MNRAS 478, 4738, section 3.3, who weigh source pixels by a first solution likewise).

    Parameters
    ----------
    source : ndarray, shape (ny, nx)
    grid : PixelGrid
        Its pixels.
    side : float
        Side of an observed pixel, in arcsec.
    """
    smooth = ndimage.gaussian_filter(np.maximum(source, 0.0), _AROUND * side / grid.side_arcsec)
    top = smooth.max()
    return _FLOOR + (smooth / top if top > 0 else np.ones_like(smooth))


def moved_to(grid: PixelGrid, source: np.ndarray, source_grid: PixelGrid) -> np.ndarray:
    """Give a source on another grid, by interpolation."""
    columns, rows = source_grid.to_pixel(*np.broadcast_arrays(*grid.centers_arcsec()))
    return ndimage.map_coordinates(source, [rows, columns], order=1, mode="constant")


def upright(grid: PixelGrid, finer: int) -> PixelGrid:
    """Give square pixels, ``finer`` times smaller, whose rows and columns are along the axes, over a grid."""
    x, y = (v.ravel() for v in np.broadcast_arrays(*grid.vertices_arcsec()))
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    side = grid.side_arcsec / finer
    nx, ny = (int(np.ceil(width / side)) for width in high - low)
    return PixelGrid((ny, nx), arcsec(side), center=arcsec((low + high) / 2), reference=grid.reference)


def spline_image(coefficients: np.ndarray, grid: PixelGrid, finer: PixelGrid) -> np.ndarray:
    """Give the light of B-splines, whose nodes are the pixel centres of one grid, at those of another."""
    places = grid.to_pixel(*np.broadcast_arrays(*finer.centers_arcsec()))
    columns, rows = (v.reshape(-1, 1) for v in places)
    data, indices, pointer = _splines.weights(columns, rows, grid.shape)
    matrix = sparse.csr_array((data, indices, pointer), shape=(columns.size, coefficients.size))
    return (matrix @ coefficients.ravel()).reshape(finer.shape)
