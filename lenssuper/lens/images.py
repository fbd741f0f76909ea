"""All images of a point source, in floats (arcsec).

The lattice is mapped to the source plane cell by cell, and Newton's method starts from every cell whose
image may hold the source.
"""

from __future__ import annotations

import numpy as np

from lenssuper._utils.warn import warn
from lenssuper.lens.curves import determinant
from lenssuper.lens.lattice import NEAREST, distance_to_center, lattice, square
from lenssuper.observation.grid import PixelGrid

# By how much the box around a mapped cell is widened: the edges are curved, and of two images about to merge
# each needs a start on its own side of the critical curve.
_MARGIN = 0.5
_STEPS = 60
# Radii, in arcsec, between which the edge of the search lies.
_RADII = (1e-4, 1e5)


def image_positions(lens, beta: np.ndarray, grid: PixelGrid | None) -> np.ndarray:
    """Return the images of a source at beta, shape (N, 2), in order of arrival.

    Without a grid the field is chosen such that no image can be outside it.
    """
    centers = lens.centers_arcsec()
    field = _field(lens, beta) if grid is None else grid
    points = _solve(lens, _candidates(lens, field, centers, beta), beta)
    column, row = field.to_pixel(*points.T)
    (ny, nx), edge = field.shape, -0.5
    points = points[(edge <= column) & (column <= nx + edge) & (edge <= row) & (row <= ny + edge)]
    points = _distinct(points, centers)
    _warn_on_caustic(lens, points)
    return points[np.argsort(_arrival(lens, points, beta))]


def _field(lens, beta):
    """Return a square outside which the lens equation has no solution.

    On a circle around the lens on which every ray, mapped to the source plane, is on the outer side of the
    source, and on all larger ones, there is no image.
    """
    parts = [part.values() for part in lens.components]
    center = np.mean([(v["x"], v["y"]) for v in parts], axis=0)
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    radii = np.geomspace(*_RADII, 500)
    x, y = center[0] + radii[:, np.newaxis] * cos, center[1] + radii[:, np.newaxis] * sin
    beta_x, beta_y = lens.rays_arcsec(x, y)
    outward = (beta_x - beta[0]) * cos + (beta_y - beta[1]) * sin
    inside = np.flatnonzero(np.any(outward <= 0, axis=1))
    return square(center, 1.3 * (radii[inside[-1]] if inside.size else radii[0]))


def _candidates(lens, field, centers, beta):
    """Return the cells, of shape (2, 4, N), whose widened box in the source plane holds the source."""
    nodes = np.stack(lattice(field, centers))
    mapped = np.stack(lens.rays_arcsec(*nodes))
    cells, images = _corners(nodes), _corners(mapped)
    low, high = images.min(axis=1), images.max(axis=1)
    margin = _MARGIN * (high - low).max(axis=0)
    source = beta[:, np.newaxis]
    keep = np.all((low - margin <= source) & (source <= high + margin), axis=0)
    for center in centers:
        # the cell around a centre maps to everywhere and nowhere
        keep &= np.abs(cells - np.reshape(center, (2, 1, 1))).max(axis=(0, 1)) > 3 * NEAREST
    return cells[..., keep]


def _corners(nodes):
    """Return the four corners of every cell, of shape (2, 4, N)."""
    corners = [nodes[:, :-1, :-1], nodes[:, :-1, 1:], nodes[:, 1:, 1:], nodes[:, 1:, :-1]]
    return np.stack(corners, axis=1).reshape(2, 4, -1)


def _solve(lens, cells, beta):
    """Newton's method for theta - alpha(theta) = beta from the middle of every cell; keep what converged."""
    point = cells.mean(axis=1)
    size = np.ptp(cells, axis=1).max(axis=0)
    residual = _residual(lens, point, beta)
    damping = np.ones(point.shape[1])
    for _ in range(_STEPS):
        psi_xx, psi_yy, psi_xy = lens.hessian(point[0], point[1])
        det = determinant(lens, point[0], point[1])
        det = np.where(np.abs(det) < 1e-12, 1e-12, det)
        step = np.stack([(1 - psi_yy) * residual[0] + psi_xy * residual[1],
                         psi_xy * residual[0] + (1 - psi_xx) * residual[1]]) / det  # fmt: skip
        length = np.maximum(np.hypot(*step), 1e-300)
        trial = point + step * (damping * np.minimum(1, 4 * size / length))
        ahead = _residual(lens, trial, beta)
        better = np.hypot(*ahead) < np.hypot(*residual)
        point, residual = np.where(better, trial, point), np.where(better, ahead, residual)
        damping = np.where(better, np.minimum(1, 2 * damping), damping / 4)
    scale = np.hypot(*beta) + np.hypot(*point) + np.hypot(*lens.deflection_arcsec(point[0], point[1]))
    return point[:, np.hypot(*residual) < 1e-12 * scale].T


def _residual(lens, point, beta):
    return beta[:, np.newaxis] - np.stack(lens.rays_arcsec(*point))


def _distinct(points, centers):
    """Drop copies of a point, and what Newton's method left on a centre."""
    reach = distance_to_center(points[:, 0], points[:, 1], centers)
    points, reach = points[reach > NEAREST / 2], reach[reach > NEAREST / 2]
    kept: list[int] = []
    for i, point in enumerate(points):
        apart = np.hypot(*(points[kept] - point).T) if kept else np.array([np.inf])
        if np.all(apart > 1e-6 * min(reach[i], 1.0) + 1e-12):
            kept.append(i)
    return points[kept]


def _arrival(lens, points, beta):
    """Return the Fermat potential |theta - beta|^2 / 2 - psi(theta), which orders the images in time."""
    return np.sum((points - beta) ** 2, axis=1) / 2 - lens.potential_arcsec2(points[:, 0], points[:, 1])


def _warn_on_caustic(lens, points):
    if len(points) and np.any(np.abs(determinant(lens, points[:, 0], points[:, 1])) < 1e-6):
        warn("the source lies on a caustic, where images merge; their positions are not exact")
