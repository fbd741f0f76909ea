"""The overlap kernels against shapely, against each other and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

import lenssuper.operators.overlap.clip as _clip
import lenssuper.operators.overlap.quads as _quads
from lenssuper.operators.overlap import coverage as _coverage

ROWS, COLUMNS = 5, 7


def entries(x, y, weights=None, *, per_pixel=1, rows=ROWS, columns=COLUMNS, room=None):
    """Dense shares (pixels, rows, columns) of elements given by their corners, or corners and middles."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape[1] == 3:
        x, y = (np.concatenate([c, 0.5 * (c + np.roll(c, -1, axis=1))], axis=1) for c in (x, y))
    weights = np.full(len(x), 1 / per_pixel) if weights is None else np.asarray(weights, float)
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    starts = np.arange(0, len(x), per_pixel)
    pixels = len(starts)
    room = pixels * (rows * columns + 9) if room is None else room
    window = np.zeros((rows + 1) * (columns + 2))
    cells, values, ends = np.empty(room, np.int32), np.empty(room), np.zeros(pixels + 1, np.int64)
    nothing = np.empty((1, 9, pixels)), np.full((1, pixels), -1.0)
    done = _clip.fill(
        *nothing, starts, starts + per_pixel, x, y, weights, rows, columns, window, 0, cells, values, ends
    )
    if done < pixels:
        return done
    assert not window.any()  # left as it was found, for the next block
    dense = np.zeros((pixels, rows * columns))
    for p in range(pixels):
        mine = slice(ends[p], ends[p + 1])
        assert np.all(np.diff(cells[mine]) > 0)
        dense[p, cells[mine]] = values[mine]
    return dense.reshape(pixels, rows, columns)


def shapely_areas(x, y, rows=ROWS, columns=COLUMNS):
    triangles = shapely.polygons(np.stack([x, y], axis=-1))
    c, r = np.meshgrid(np.arange(columns), np.arange(rows))
    cells = shapely.box(c, r, c + 1, r + 1)
    return shapely.area(shapely.intersection(triangles[:, None, None], cells))


def area(x, y):
    x, y = np.asarray(x), np.asarray(y)
    twice = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    return 0.5 * np.abs(twice)


def check(x, y):
    size = area(x, y)[:, None, None]
    np.testing.assert_allclose(entries(x, y) * size, shapely_areas(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [0.05, 0.7, 4.0, 30.0])
def test_random_triangles_against_shapely(size):
    rng = np.random.default_rng(1)
    centre = rng.uniform([-1, -1], [COLUMNS + 1, ROWS + 1], (400, 2))
    corners = centre[:, None] + size * rng.normal(size=(400, 3, 2))
    check(corners[..., 0], corners[..., 1])


def test_corners_on_borders_against_shapely():
    rng = np.random.default_rng(2)
    corners = rng.integers(-2, 9, (600, 3, 2)) + rng.choice([0, 0, 0.5, 0.25], (600, 3, 2))
    x, y = corners[..., 0], corners[..., 1]
    solid = area(x, y) > 0
    assert solid.sum() > 500
    check(x[solid], y[solid])


def test_axis_aligned_triangles_against_shapely():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-1, 8, (2, 300, 3))
    x[:, 1] = x[:, 0]
    y[:, 2] = y[:, 1]
    check(x, y)


def test_thin_triangles_against_shapely():
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 5, (2, 300, 3))
    t, off = rng.uniform(size=300), rng.uniform(1e-5, 1e-3, 300)
    x[:, 2] = x[:, 0] + t * (x[:, 1] - x[:, 0]) + off
    y[:, 2] = y[:, 0] + t * (y[:, 1] - y[:, 0]) - off
    check(x, y)


def test_far_outside_there_is_nothing():
    x = np.array([[-9.0, -8, -7], [20, 21, 22], [1, 2, 3], [1, 2, 3], [-1e12, -1e11, -2e11]])
    y = np.array([[1.0, 2, 1], [1, 2, 1], [-4, -3, -4], [9, 8, 9], [3, 1e12, 1e10]])
    assert not entries(x, y).any()


def test_far_corners():
    """A triangle over the whole grid that reaches far away covers every cell equally."""
    x, y = [[-1e4, 1e4, 30.0]], [[-1e4, -1e3, 1e4]]
    share = entries(x, y)[0]
    np.testing.assert_allclose(share, 1 / area(x, y)[0], rtol=1e-6)


def test_either_way_round_and_any_first_corner():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 5, (2, 50, 3))
    one = entries(x, y)
    np.testing.assert_allclose(entries(x[:, ::-1], y[:, ::-1]), one, atol=1e-12)
    np.testing.assert_allclose(entries(np.roll(x, 1, 1), np.roll(y, 1, 1)), one, atol=1e-12)


@pytest.mark.parametrize("width", [0.0, 1e-11, 1e-10])
def test_triangle_shrunk_to_a_segment_is_the_limit_of_thin_ones(width):
    rng = np.random.default_rng(6)
    a, b = rng.uniform(0.3, 4.6, (2, 200, 2))
    c = a + rng.uniform(-0.5, 1.5, (200, 1)) * (b - a)
    c = np.clip(c, 0.2, 4.8) if width else c
    across = np.stack([a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]], axis=-1)

    def triangles(w):
        corners = np.stack([a, b, c + w * across], axis=1)
        return corners[..., 0], corners[..., 1]

    if width:  # on the line a b again after clipping
        c = a + ((c - a) * (b - a)).sum(1, keepdims=True) / ((b - a) ** 2).sum(1, keepdims=True) * (b - a)
    shrunk, thin = entries(*triangles(width)), entries(*triangles(1e-6))
    np.testing.assert_allclose(shrunk, thin, atol=2e-5)
    inside = np.all((c > 0) & (c < 5), axis=1)
    np.testing.assert_allclose(shrunk[inside].sum((1, 2)), 1, atol=1e-12)


def test_triangle_shrunk_to_a_point():
    x, y = [[2.3] * 3, [2.0] * 3, [-0.1] * 3], [[1.7] * 3, [3.0] * 3, [1.0] * 3]
    share = entries(x, y)
    assert share[0, 1, 2] == 1
    assert share[1, 3, 2] == 1
    assert not share[2].any()


def test_tiny_triangles_keep_all_their_weight():
    rng = np.random.default_rng(7)
    for size in (1e-14, 1e-11, 1e-9, 1e-7, 1e-4):
        corners = rng.integers(1, 4, (100, 1, 2)) + size * rng.normal(size=(100, 3, 2))
        share = entries(corners[..., 0], corners[..., 1])
        np.testing.assert_allclose(share.sum((1, 2)), 1, atol=1e-12)
        assert share.min() >= 0


def quads(corners):
    """Elements of a lattice (m + 1, n + 1), two per square, in the order of the squares."""
    x, y = corners[..., 0], corners[..., 1]
    lower = [c[s] for c in (x, y) for s in (np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, 1:])]
    upper = [c[s] for c in (x, y) for s in (np.s_[:-1, :-1], np.s_[1:, 1:], np.s_[1:, :-1])]
    both = np.stack([np.stack(lower, -1), np.stack(upper, -1)], axis=2).reshape(-1, 6)
    return both[:, :3], both[:, 3:]


@pytest.mark.parametrize("spread", [0.05, 0.4, 1.0])
def test_closed_form_against_walking(spread):
    """Bow-ties and folded squares included: each triangle counts with its own area."""
    rng = np.random.default_rng(8)
    i, j = np.mgrid[:31, :31]
    corners = np.stack([j, i], -1) * 0.6 + 3 + spread * rng.normal(size=(31, 31, 2))
    m = n = 24
    shares, cell = np.empty((30, 9, 30)), np.empty((30, 30))
    _quads.quad_shares(
        np.ascontiguousarray(corners[..., 0]), np.ascontiguousarray(corners[..., 1]), m, n, shares, cell
    )
    x, y = quads(corners)
    walked = entries(x, y, per_pixel=2, rows=m, columns=n)
    closed = cell >= 0
    assert closed.mean() > 0.3
    for i, j in np.argwhere(closed):
        r, c = divmod(int(cell[i, j]), n)
        dense = np.zeros((m + 3, n + 3))
        dense[r : r + 3, c : c + 3] = shares[i, :, j].reshape(3, 3)
        assert not dense[m:].any()
        assert not dense[:, n:].any()
        np.testing.assert_allclose(dense[:m, :n], walked[i * 30 + j], atol=3e-12)
    inside = np.all((x >= 0) & (x <= n) & (y >= 0) & (y <= m), axis=1).reshape(-1, 2).all(axis=1)
    np.testing.assert_allclose(walked[inside].sum((1, 2)), 1, atol=1e-12)


def test_output_that_is_full_is_resumed():
    x, y = [[0.2, 6.5, 3.0]] * 3, [[0.1, 0.3, 4.5]] * 3
    needed = np.count_nonzero(entries(x[:1], y[:1]))
    assert entries(x, y, room=ROWS * COLUMNS + needed) == 2


def curved(t, bend):
    """Corners and middles of elements of which the edges bend by `bend`, and the map of their inside."""
    corners, middles = t, 0.5 * (t + np.roll(t, -1, axis=0)) + bend

    def mapped(a, b, c):
        points = a[:, None] * corners[0] + b[:, None] * corners[1] + c[:, None] * corners[2]
        return points + 4 * (
            (a * b)[:, None] * bend[0] + (b * c)[:, None] * bend[1] + (c * a)[:, None] * bend[2]
        )

    return np.concatenate([corners, middles]), mapped


def test_light_moved_by_curved_edges_is_right_to_first_order():
    """The error of the share falls with the square of the bend; without the correction, linearly."""
    n = 700  # rays through the middles of as many small triangles, upright and upside down
    i, j = np.mgrid[:n, :n]
    a, b = (np.concatenate([(k[i + j < n] + 1 / 3) / n, (k[i + j < n - 1] + 2 / 3) / n]) for k in (i, j))
    errors = []
    for scale in (0.08, 0.02):
        worst, uncorrected = 0.0, 0.0
        for k in range(6):
            rng = np.random.default_rng(100 + k)
            t = np.array([[1.3, 0.6], [4.2, 1.1], [2.4, 3.7]]) + rng.uniform(-0.3, 0.3, (3, 2))
            nodes, mapped = curved(t, scale * rng.uniform(-1, 1, (3, 2)))
            rays = mapped(a, b, 1 - a - b)
            truth = np.histogram2d(rays[:, 1], rays[:, 0], (ROWS, COLUMNS), ((0, ROWS), (0, COLUMNS)))[0]
            truth /= len(a)
            share = entries(nodes[None, :, 0], nodes[None, :, 1])[0]
            straight = entries(nodes[None, :3, 0], nodes[None, :3, 1])[0]
            worst = max(worst, abs(share - truth).max())
            uncorrected = max(uncorrected, abs(straight - truth).max())
            np.testing.assert_allclose(share.sum(), 1, atol=1e-12)
        errors.append((worst, uncorrected))
    assert errors[0][0] < 0.2 * errors[0][1]
    assert errors[1][0] < 0.1 * errors[1][1]
    assert errors[1][0] < 4e-4


def test_area_of_a_folded_sheet():
    """Two parities on either side of a fold; edges between the same parity are not walked at all."""
    i, j = np.mgrid[:9, :9] / 2
    u, v = 1 + j, 4.5 - np.abs(i - 2) * 1.1
    parity = np.ones((4, 4))
    parity[2:] = -1
    x, y, scale = _coverage.border_of_sheets(u, v, parity, parity)
    assert len(scale) == 8 * (4 + 4 + 4 + 8)  # two sides, both ends, and the fold
    window = np.zeros((ROWS + 1) * (COLUMNS + 2))
    _clip.add_edges(window, ROWS, COLUMNS, x, y, scale)
    covered = np.cumsum(window.reshape(ROWS + 1, COLUMNS + 2), axis=1)[:ROWS, :COLUMNS]
    column = np.where((np.arange(COLUMNS) >= 1) & (np.arange(COLUMNS) < 5), 1.0, 0.0)
    row = 2 * np.clip(np.minimum(np.arange(ROWS) + 1, 4.5) - np.maximum(np.arange(ROWS), 2.3), 0, 1)
    np.testing.assert_allclose(covered, row[:, None] * column, atol=1e-12)
