"""Derivatives of the light of lensed pixels with respect to their lensed corners.

The light L of a triangle is the integral of the source over it, divided by its area A.  Moving a corner
moves the two edges that meet there, and the integral changes by the source along each edge, weighted by how
much of the displacement each point shares (Reynolds' transport theorem), so the derivative of L = S / A
with respect to corner a of an edge from a to b is

    1/A * integral over t from 0 to 1 of (source(a + t (b - a)) - L) (1 - t) dt * (b_y - a_y, a_x - b_x).

The source is constant inside each cell, so the integrals along an edge are sums over the pieces between
borders. Coordinates are in cells of the source grid; the source is zero outside.
"""

from __future__ import annotations

import numpy as np

from lenssuper._utils.compile import compiled, inner

# Triangles of less area (in cells) than this have no useful derivative, and hardly any light.
_THIN = 1e-9


@inner
def _along(source, before, xa, ya, xb, yb, out):
    """Write the integrals along one edge: of source * (1 - t), of source * t over t, and of `before` over y.

    `before` (rows, columns + 1) is the sum of the row of the source up to each column.
    """
    rows, columns = source.shape
    dx, dy = xb - xa, yb - ya
    near = far = below = 0.0
    c = int(np.floor(min(max(xa, -1.0), columns + 0.5)))
    r = int(np.floor(min(max(ya, -1.0), rows + 0.5)))
    step_c = 1 if dx > 0.0 else -1
    step_r = 1 if dy > 0.0 else -1
    s = 0.0
    while s < 1.0:
        line_c = c + (step_c + 1) // 2
        line_r = r + (step_r + 1) // 2
        to_c = (line_c - xa) / dx if dx != 0.0 and 0 <= line_c <= columns else np.inf
        to_r = (line_r - ya) / dy if dy != 0.0 and 0 <= line_r <= rows else np.inf
        t = min(max(min(to_c, to_r), s), 1.0)
        if 0 <= r < rows and c >= 0:
            if c < columns:
                value = source[r, c]
                near += value * (t - s) * (1.0 - 0.5 * (t + s))
                far += value * 0.5 * (t * t - s * s)
                below += dy * (t - s) * (before[r, c] + value * (xa + 0.5 * (t + s) * dx - c))
            else:
                below += dy * (t - s) * before[r, columns]
        if to_c <= to_r:
            c += step_c
        else:
            r += step_r
        s = t
    out[0], out[1], out[2] = near, far, below


@compiled
def edge_integrals(source, before, u, v, across, up, diagonal):
    """Write the integrals along the edges of a lattice of corners u, v of shape (m + 1, n + 1).

    across (m + 1, n, 3), up (m, n + 1, 3) and diagonal (m, n, 3), which runs from corner (i, j) to (i + 1,
    j + 1), are filled.
    """
    m, n = diagonal.shape[:2]
    for i in range(m + 1):
        for j in range(n + 1):
            if j < n:
                _along(source, before, u[i, j], v[i, j], u[i, j + 1], v[i, j + 1], across[i, j])
            if i < m:
                _along(source, before, u[i, j], v[i, j], u[i + 1, j], v[i + 1, j], up[i, j])
            if i < m and j < n:
                _along(source, before, u[i, j], v[i, j], u[i + 1, j + 1], v[i + 1, j + 1], diagonal[i, j])


@inner
def _edge_term(out_u, out_v, ia, ja, ib, jb, u, v, edge, light, scale):
    """Add the contribution of the edge from corner a to corner b to the derivatives there."""
    dx, dy = u[ib, jb] - u[ia, ja], v[ib, jb] - v[ia, ja]
    near = scale * (edge[0] - 0.5 * light)
    far = scale * (edge[1] - 0.5 * light)
    out_u[ia, ja] += near * dy
    out_v[ia, ja] -= near * dx
    out_u[ib, jb] += far * dy
    out_v[ib, jb] -= far * dx


@inner
def _triangle(u, v, i, j, half, edges):
    """Return the area of half a square of the lattice and its light, with its third corner and two edges.

    Corners are counter-clockwise below the diagonal (half 0), clockwise above: the sign of the area differs.
    """
    across, up, diagonal = edges
    ci, cj = i + half, j + 1 - half
    first = up[i, j] if half else across[i, j]
    second = across[i + 1, j] if half else up[i, j + 1]
    ax, ay = u[i, j], v[i, j]
    bx, by = u[ci, cj], v[ci, cj]
    cx, cy = u[i + 1, j + 1], v[i + 1, j + 1]
    area = 0.5 * ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    light = (first[2] + second[2] - diagonal[i, j, 2]) / area if abs(area) >= _THIN else 0.0
    return area, light, ci, cj, first, second


@compiled
def corner_gradient(u, v, k, edges, image_gradient, out_u, out_v):
    """Add the gradient with respect to u and v, from the gradient with respect to the image.

    The pixels of `image_gradient` (ny, nx) are k x k squares of the lattice, each two triangles of equal
    weight.
    """
    diagonal = edges[2]
    ny, nx = image_gradient.shape
    weight = 0.5 / k**2
    for i in range(ny * k):
        for j in range(nx * k):
            g = weight * image_gradient[i // k, j // k]
            if g == 0.0:
                continue
            for half in range(2):
                area, light, ci, cj, first, second = _triangle(u, v, i, j, half, edges)
                if abs(area) < _THIN:
                    continue
                scale = g / area
                _edge_term(out_u, out_v, i, j, ci, cj, u, v, first, light, scale)
                _edge_term(out_u, out_v, ci, cj, i + 1, j + 1, u, v, second, light, scale)
                _edge_term(out_u, out_v, i, j, i + 1, j + 1, u, v, diagonal[i, j], light, -scale)


@inner
def _change(lattice, moves, a, b, edge, light):
    """Return how the light of a triangle times its area changes as the edge from corner a to b is moved."""
    u, v = lattice
    along_u, along_v = moves
    dx, dy = u[b] - u[a], v[b] - v[a]
    near, far = edge[0] - 0.5 * light, edge[1] - 0.5 * light
    return near * (dy * along_u[a] - dx * along_v[a]) + far * (dy * along_u[b] - dx * along_v[b])


@compiled
def image_change(lattice, k, edges, moves, image):
    """Add the change of the image (ny, nx) as the corners of the lattice (u, v) are moved by `moves`."""
    u, v = lattice
    ny, nx = image.shape
    weight = 0.5 / k**2
    for i in range(ny * k):
        for j in range(nx * k):
            for half in range(2):
                area, light, ci, cj, first, second = _triangle(u, v, i, j, half, edges)
                if abs(area) < _THIN:
                    continue
                a, b, c = (i, j), (ci, cj), (i + 1, j + 1)
                change = _change(lattice, moves, a, b, first, light)
                change += _change(lattice, moves, b, c, second, light)
                change -= _change(lattice, moves, a, c, edges[2][i, j], light)
                image[i // k, j // k] += weight * change / area
