"""Critical curves, caustics, cuts and the Einstein radius of any lens, in floats (arcsec)."""

from __future__ import annotations

import numpy as np

from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.lens.lattice import NEAREST, distance_to_center, lattice, square
from lenssuper.observation.grid import PixelGrid

# How close to det A = 0 every point of a critical curve is brought, and in how many steps at most.
_TOLERANCE = 1e-8
# The distance from a singular centre, in arcsec, within which curves are not followed.
_BLIND = 100 * NEAREST
_STEPS = 40
# The longest piece of a polyline, as a part of its length, and how often pieces are halved to get there.
_LONGEST = 1 / 200
_PASSES = 6
# Radii, in arcsec, between which the Einstein radius is looked for.
_RADII = (1e-5, 1e4)


def critical_curves(lens, grid: PixelGrid) -> list[np.ndarray]:
    """Return the curves det A = 0 in the field of the grid, polylines of shape (N, 2), the largest first.

    A closed curve ends with its first point; one that runs into a singular centre is cut there.
    """
    from contourpy import contour_generator

    centers = lens.centers_arcsec()
    x, y = lattice(grid, centers)
    det = determinant(lens, x, y)
    # the determinant spans many decades near a centre; this keeps its sign and its zeros
    contours = contour_generator(x=x, y=y, z=det / (1 + np.abs(det)), name="serial").lines(0.0)
    pieces = [piece for contour in contours for piece in _cut_at_centers(contour, centers)]
    scale = np.sqrt(grid.area_arcsec2)
    curves = [_refine(lens, _polish(lens, piece, centers, scale), centers, scale) for piece in pieces]
    return sorted(curves, key=lambda curve: -abs(enclosed_area(curve)))


def caustics(lens, grid: PixelGrid) -> list[np.ndarray]:
    """Return the critical curves mapped to the source plane, in the same order."""
    return [_shoot(lens, curve) for curve in critical_curves(lens, grid)]


def cuts(lens, n_points: int) -> list[np.ndarray]:
    """Return the cut of each isothermal centre, closed polylines (n_points + 1, 2) in the source plane.

    The deflection at such a centre depends on the direction, so the centre maps to a closed curve; a source
    that crosses it gains or loses an image although the determinant does not vanish there (Kormann et al.
    1994, sect. 4).
    """
    angle = np.linspace(0, 2 * np.pi, n_points + 1)
    found = []
    around = NEAREST * np.cos(angle), NEAREST * np.sin(angle)
    centers = [center for part in lens.components if part.torn for center in part.centers_arcsec()]
    for center in dict.fromkeys(centers):
        curve = np.tile(center, (n_points + 1, 1))
        for part in lens.components:
            if part.torn and part.centers_arcsec() == [center]:
                # about the origin, where the directions keep all their digits
                alpha = part.deflection_arcsec(*around, {"x": 0.0, "y": 0.0})
            else:
                alpha = part.deflection_arcsec(*center)
            curve = curve - np.stack(alpha, axis=-1)
        curve[-1] = curve[0]
        found.append(curve)
    return found


def einstein_radius(lens) -> float:
    """Return sqrt(area / pi) of the largest critical curve.

    Raises
    ------
    ValueError
        If the lens has no closed critical curve.
    """
    center, radius = mean_radius(lens)
    centers = lens.centers_arcsec()
    half_width = 3 * radius
    for _ in range(4):
        closed = [
            c
            for c in critical_curves(lens, square((center[0], center[1]), half_width))
            if np.array_equal(c[0], c[-1])
        ]
        if closed and np.abs(closed[0] - center).max() < 0.9 * half_width:
            # halving the chords takes a quarter of the missing area away, which tells how much is left
            finer = _polish(lens, _with_midpoints(closed[0]), centers, half_width / 64)
            coarse, fine = (abs(enclosed_area(curve)) for curve in (closed[0], finer))
            return float(np.sqrt((fine + (fine - coarse) / 3) / np.pi))
        half_width *= 2
    raise ValueError(f"this lens has no closed critical curve, so no Einstein radius: {lens!r}")


def mean_radius(lens) -> tuple[np.ndarray, float]:
    """Return a centre, and the largest radius of a circle about it whose mean convergence is one.

    The mean convergence inside a circle is the mean radial deflection on it over the radius.
    """
    centers = lens.centers_arcsec()
    if not centers:
        raise ValueError(f"this lens has no mass, so no Einstein radius: {lens!r}")
    center = np.mean(centers, axis=0)
    radii = np.geomspace(*_RADII, 400)
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    alpha_x, alpha_y = lens.deflection_arcsec(
        center[0] + radii[:, np.newaxis] * cos, center[1] + radii[:, np.newaxis] * sin
    )
    inside = np.mean(alpha_x * cos + alpha_y * sin, axis=1) >= radii
    if not inside.any():
        raise ValueError(f"this lens is too weak for an Einstein radius above {_RADII[0]} arcsec: {lens!r}")
    return center, float(radii[np.flatnonzero(inside)[-1]])


def determinant(lens, x, y):
    """Return det A = (1 - psi_xx) (1 - psi_yy) - psi_xy^2."""
    return _determinant_and_terms(lens, x, y)[0]


def _determinant_and_terms(lens, x, y):
    """Return det A and the size of its terms, which diverge and cancel at a singular centre."""
    psi_xx, psi_yy, psi_xy = lens.hessian(x, y)
    squares = (1 - psi_xx) * (1 - psi_yy)
    return squares - psi_xy**2, 1 + np.abs(squares) + psi_xy**2


def enclosed_area(curve: np.ndarray) -> float:
    """Return the signed area of the polygon through the points, closed or not (the shoelace formula)."""
    x, y = (curve - curve[0]).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def _cut_at_centers(curve, centers):
    """Return the pieces of a curve away from the centres.

    A critical curve may run through an isothermal centre. Its caustic then ends on the cut of that centre,
    and the digits of det A are lost on the way.
    """
    near = distance_to_center(*curve.T, centers) < _BLIND
    if near.any() and np.array_equal(curve[0], curve[-1]):
        # start a closed curve at a centre
        first = int(np.argmax(near))
        curve, near = (np.roll(a[:-1], -first, axis=0) for a in (curve, near))
    edges = np.flatnonzero(np.diff(near)) + 1
    runs = zip(np.split(curve, edges), np.split(near, edges), strict=True)
    return [points for points, blind in runs if not blind[0] and len(points) > 3]


def _shoot(lens, curve):
    return np.stack(lens.rays_arcsec(curve[:, 0], curve[:, 1]), axis=-1)


def _with_midpoints(curve):
    finer = np.empty((2 * len(curve) - 1, 2))
    finer[::2] = curve
    finer[1::2] = (curve[1:] + curve[:-1]) / 2
    return finer


def _refine(lens, curve, centers, scale):
    """Add points until no piece of the curve, or of its caustic, is longer than a small part of the whole."""
    for _ in range(_PASSES):
        long = np.zeros(len(curve) - 1, dtype=bool)
        for line in (curve, _shoot(lens, curve)):
            pieces = np.hypot(*np.diff(line, axis=0).T)
            # the caustic of a circular lens is a point, its length nothing but rounding
            long |= pieces > max(_LONGEST * pieces.sum(), 1e-7 * scale)
        if not long.any():
            break
        before = np.flatnonzero(long)
        curve = np.insert(curve, before + 1, (curve[before] + curve[before + 1]) / 2, axis=0)
        curve = _polish(lens, curve, centers, scale)
    return curve


def _polish(lens, curve, centers, scale):
    """Move every point along the gradient of det A onto det A = 0, by Newton's method."""
    points = np.array(curve)
    left = np.arange(len(points))  # those that are not there yet
    for _ in range(_STEPS):
        det, terms = _determinant_and_terms(lens, *points[left].T)
        off = ~(np.abs(det) < 1e-3 * _TOLERANCE * terms)
        left, det = left[off], det[off]
        if not left.size:
            break
        x, y = points[left].T
        reach = np.minimum(distance_to_center(x, y, centers), scale)
        h = 1e-4 * reach
        slope_x = (determinant(lens, x + h, y) - determinant(lens, x - h, y)) / (2 * h)
        slope_y = (determinant(lens, x, y + h) - determinant(lens, x, y - h)) / (2 * h)
        slope2 = slope_x**2 + slope_y**2
        factor = -det / np.where(slope2 == 0, np.inf, slope2)
        length = np.abs(factor) * np.sqrt(slope2)
        factor = factor * np.minimum(1, 0.3 * reach / np.maximum(length, 1e-300))
        points[left] += np.stack([factor * slope_x, factor * slope_y], axis=-1)
    det, terms = _determinant_and_terms(lens, *points.T)
    worst = np.max(np.abs(det) / terms)
    if not worst < _TOLERANCE:
        message = f"a critical curve is exact to {worst:.1e} of the terms of det A only"
        warn(message, ConvergenceWarning)
    if np.array_equal(curve[0], curve[-1]):
        points[-1] = points[0]
    return points
