"""The lattice on which curves and images are found: even, and ever finer towards every singular centre.

A critical curve or an image may sit at a tiny distance from a singular centre, which no even grid resolves.
The lattice is the product of two sets of lines, along the columns and along the rows of a pixel grid; each
set holds evenly spaced lines and, around each centre, lines at distances in geometric progression. No line
passes through a centre, where the deflection may have no limit.
"""

from __future__ import annotations

import numpy as np

from lenssuper.observation.grid import PixelGrid

# Distance from a singular centre, in arcsec, below which nothing is searched.
NEAREST = 1e-8
_LINES = (128, 512)
_RATIO = 1.5


def square(center: tuple[float, float], half_width: float) -> PixelGrid:
    """Return a grid that covers a square, all in arcsec."""
    n = _LINES[0]
    grid = PixelGrid.from_affine((n, n), np.eye(2) * (2 * half_width / n), np.zeros(2))
    shift = np.array(center) - np.array(grid.to_offset((n - 1) / 2, (n - 1) / 2))
    return PixelGrid.from_affine((n, n), grid.matrix, shift)


def lattice(grid: PixelGrid, centers: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes (x, y) in arcsec, two arrays of one shape, that cover the field of the grid."""
    ny, nx = grid.shape
    inside = [grid.to_pixel(*center) for center in centers]
    nearest = NEAREST / np.sqrt(grid.area_arcsec2)
    columns = _lines(nx, [px for px, _ in inside], nearest)
    rows = _lines(ny, [py for _, py in inside], nearest)
    x, y = np.broadcast_arrays(*grid.to_offset(columns[np.newaxis, :], rows[:, np.newaxis]))
    return x, y


def distance_to_center(x, y, centers):
    """Return the distance of every point to the closest centre (infinite without one), in arcsec."""
    distances = [np.hypot(x - cx, y - cy) for cx, cy in centers]
    return np.min(distances, axis=0) if distances else np.full(np.shape(x), np.inf)


def _lines(n, centers, nearest):
    count = int(np.clip(n, *_LINES))
    low, high = -0.5, n - 0.5
    step = (high - low) / count
    even = np.linspace(low, high, count + 1)
    steps = np.geomspace(
        nearest, max(2 * step, 2 * nearest), int(np.log(2 * step / nearest) / np.log(_RATIO)) + 2
    )
    for center in centers:
        even = even[np.abs(even - center) > 0.5 * nearest]
    lines = np.concatenate([even, *(center + side * steps for center in centers for side in (-1, 1))])
    return np.unique(lines[(lines >= low) & (lines <= high)])
