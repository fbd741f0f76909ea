"""Overlap with sources of hats and quadratic B-splines, against quadrature and rays."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from astropy import units as u
from scipy.interpolate import BSpline

from lenssuper import SIE, SIS, ExternalShear, PixelGrid
from lenssuper.operators import OverlapOperator, SplineAverages
from lenssuper.operators.overlap import bsplines as _bsplines
from tests.operators.test_overlap_accuracy import SEQUENCE, doubtful_pixels, lenses

ARCSEC = u.arcsec
ROWS, COLUMNS = 4, 6  # of splines
LENS = SIE(theta_E=1.2 * ARCSEC, q=0.7, phi=40 * u.deg, x=0.013 * ARCSEC, y=0.02 * ARCSEC)
LENS += ExternalShear(gamma1=0.03, gamma2=-0.02)


def spline(order, x):
    """The centred B-spline, as scipy has it."""
    basis = BSpline.basis_element(np.arange(order + 2) - 0.5 * (order + 1), extrapolate=False)
    return np.nan_to_num(basis(np.asarray(x, float)))


def entries(x, y, order, weights=None, *, per_pixel=1):
    """Dense shares (pixels, rows, columns) of elements given by their corners, or corners and middles."""
    x, y = np.ascontiguousarray(x, float), np.ascontiguousarray(y, float)
    if x.shape[1] == 3:
        x, y = (np.concatenate([c, 0.5 * (c + np.roll(c, -1, axis=1))], axis=1) for c in (x, y))
    weights = np.full(len(x), 1 / per_pixel) if weights is None else np.asarray(weights, float)
    starts = np.arange(0, len(x), per_pixel)
    pixels = len(starts)
    room = pixels * (ROWS + 4) * (COLUMNS + 4)
    light = np.zeros((ROWS + order + 2) * (COLUMNS + order + 2))
    cells, values, ends = np.empty(room, np.int32), np.empty(room), np.zeros(pixels + 1, np.int64)
    elements = starts, starts + per_pixel, x, y, weights
    assert pixels == _bsplines.fill(order, *elements, ROWS, COLUMNS, light, 0, cells, values, ends)
    assert not light.any()  # left as it was found, for the next block
    dense = np.zeros((pixels, ROWS * COLUMNS))
    for p in range(pixels):
        mine = slice(ends[p], ends[p + 1])
        assert np.all(np.diff(cells[mine]) > 0)
        dense[p, cells[mine]] = values[mine]
    return dense.reshape(pixels, ROWS, COLUMNS)


def rule(n=4):
    """Nodes (barycentric) and weights on a triangle, exact to degree 2 n - 2: a square, collapsed."""
    x, w = np.polynomial.legendre.leggauss(n)
    x, w = 0.5 * (x + 1), 0.5 * w
    a, b = np.meshgrid(x, x, indexing="ij")
    nodes = np.stack([1 - a, a * (1 - b), a * b], axis=-1).reshape(-1, 3)
    return nodes, (2 * a * w[:, None] * w).ravel()


def by_quadrature(x, y, order):
    """The same by cutting each triangle along the knots with shapely, and Gauss quadrature in each part."""
    nodes, weights = rule()
    dense = np.zeros((len(x), ROWS, COLUMNS))
    c, r = (k.ravel() for k in np.meshgrid(np.arange(COLUMNS + order), np.arange(ROWS + order)))
    squares = shapely.box(c, r, c + 1, r + 1)
    for share, corners in zip(dense, np.stack([x, y], axis=-1), strict=True):
        triangle, fans = shapely.polygons(corners), []
        parts = shapely.intersection(triangle, squares)
        for part in parts[shapely.area(parts) > 0]:
            ring = shapely.get_coordinates(part)[:-1]
            fans += [ring[[0, k, k + 1]] for k in range(1, len(ring) - 1)]
        if not fans:
            continue
        fans = np.array(fans)
        sizes = 0.5 * abs(np.linalg.det(fans[:, 1:] - fans[:, :1])) / triangle.area
        px, py = (nodes @ fans).reshape(-1, 2).T
        up = spline(order, py - np.arange(ROWS)[:, None] - 0.5 * (order + 1))
        across = spline(order, px - np.arange(COLUMNS)[:, None] - 0.5 * (order + 1))
        share += (up * (sizes[:, None] * weights).ravel()) @ across.T
    return dense


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("size", [0.05, 0.7, 3.0, 30.0])
def test_random_triangles_against_quadrature(order, size):
    """Inside one piece, over knots, over the border of the grid, and larger than the grid."""
    rng = np.random.default_rng(1)
    centre = rng.uniform([-1, -1], [COLUMNS + order + 1, ROWS + order + 1], (60, 2))
    corners = centre[:, None] + size * rng.normal(size=(60, 3, 2))
    x, y = corners[..., 0], corners[..., 1]
    np.testing.assert_allclose(entries(x, y, order), by_quadrature(x, y, order), rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_corners_on_knots_against_quadrature(order):
    rng = np.random.default_rng(2)
    corners = rng.integers(-1, 8, (120, 3, 2)) + rng.choice([0, 0, 0.5, 0.25], (120, 3, 2))
    edges = corners[:, 1:] - corners[:, :1]
    corners = corners[np.linalg.det(edges) != 0]
    x, y = corners[..., 0], corners[..., 1]
    np.testing.assert_allclose(entries(x, y, order), by_quadrature(x, y, order), rtol=0, atol=1e-12)
    turned = entries(x[:, ::-1], y[:, ::-1], order)
    np.testing.assert_allclose(turned, by_quadrature(x, y, order), rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_triangle_shrunk_to_a_segment_is_the_limit_of_thin_ones(order):
    rng = np.random.default_rng(6)
    a, b = rng.uniform(-0.5, 5.5, (2, 100, 2))
    c = a + rng.uniform(-0.5, 1.5, (100, 1)) * (b - a)
    across = np.stack([a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]], axis=-1)

    def share(w):
        corners = np.stack([a, b, c + w * across], axis=1)
        return entries(corners[..., 0], corners[..., 1], order)

    np.testing.assert_allclose(share(0.0), share(1e-6), atol=1e-5)
    np.testing.assert_allclose(share(1e-6), share(1e-4), atol=1e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_triangle_shrunk_to_a_point(order):
    x, y = [[2.3] * 3, [2.0] * 3, [-0.1] * 3], [[1.7] * 3, [3.0] * 3, [1.0] * 3]
    share = entries(x, y, order)
    for k in (0, 1):
        up = spline(order, y[k][0] - np.arange(ROWS) - 0.5 * (order + 1))
        across = spline(order, x[k][0] - np.arange(COLUMNS) - 0.5 * (order + 1))
        np.testing.assert_allclose(share[k], np.outer(up, across), rtol=0, atol=1e-13)
    assert not share[2].any()


@pytest.mark.parametrize("order", [1, 2])
def test_bent_edges_count_to_first_order(order):
    """The error of the share falls with the square of the bend; without the correction, linearly."""
    nodes, weights = rule(40)
    a, b, c = nodes.T
    errors = []
    for scale in (0.08, 0.02):
        worst = uncorrected = 0.0
        for k in range(6):
            rng = np.random.default_rng(100 + k)
            corners = np.array([[1.3, 0.6], [4.2, 1.1], [2.4, 3.7]]) + rng.uniform(-0.3, 0.3, (3, 2))
            bend = scale * rng.uniform(-1, 1, (3, 2))
            middles = 0.5 * (corners + np.roll(corners, -1, axis=0)) + bend
            x, y = (nodes @ corners + 4 * np.stack([a * b, b * c, c * a], axis=1) @ bend).T
            up = spline(order, y - np.arange(ROWS)[:, None] - 0.5 * (order + 1))
            across = spline(order, x - np.arange(COLUMNS)[:, None] - 0.5 * (order + 1))
            truth = np.einsum("jn,in,n->ji", up, across, weights)
            x, y = np.concatenate([corners, middles]).T
            worst = max(worst, abs(entries(x[None], y[None], order)[0] - truth).max())
            uncorrected = max(uncorrected, abs(entries(x[None, :3], y[None, :3], order)[0] - truth).max())
        errors.append((worst, uncorrected))
    assert errors[0][0] < 0.2 * errors[0][1]
    assert errors[1][0] < 0.06 * errors[1][1]
    assert errors[1][0] < 0.15 * errors[0][0]


def by_rays(op, pixels):
    """Dense rows of the matrix from many rays through each pixel."""
    rows, columns = op.source_grid.shape
    dense = np.zeros((len(pixels), rows * columns))
    for share, pixel in zip(dense, pixels, strict=True):
        row, column = divmod(pixel, op.image_grid.shape[1])
        offsets = op.image_grid.to_offset(column + SEQUENCE[::4, 0], row + SEQUENCE[::4, 1])
        px, py = op.source_grid.to_pixel(*op.lens_model.rays_arcsec(*offsets))
        up, across = (
            spline(op.order, py - np.arange(rows)[:, None]),
            spline(op.order, px - np.arange(columns)[:, None]),
        )
        share += (up @ across.T).ravel() / len(px)
    return dense


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", lenses(0, 0))
def test_every_entry_is_better_than_tol(name, order):
    image_grid = PixelGrid(shape=(33, 33), pixel_scale=4.8 / 40 * ARCSEC)
    source_grid = PixelGrid(shape=(30, 28), pixel_scale=0.07 * ARCSEC, rotation=20 * u.deg)
    op = OverlapOperator(lenses(0.0317, -0.0213)[name], image_grid, source_grid, order=order)
    pixels = doubtful_pixels(op, 6)
    assert abs(op.matrix[pixels].toarray() - by_rays(op, pixels)).max() < op.tol + 1e-4


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("subdivide", [None, 2])
def test_constant_source_and_the_border(order, subdivide):
    """One where a pixel lands half of the order inside the border, zero as far outside, less between."""
    image_grid = PixelGrid(shape=(30, 30), pixel_scale=0.15 * ARCSEC)
    source_grid = PixelGrid(shape=(15, 13), pixel_scale=0.1 * ARCSEC)
    op = OverlapOperator(LENS, image_grid, source_grid, order=order, subdivide=subdivide)
    image = op.lens(np.ones(op.in_shape))
    # where 5 x 5 points of each pixel land: how far inside the border, in source pixels
    points = np.arange(30)[:, None] + np.linspace(-0.5, 0.5, 5)
    column, row = points[None, :, None, :], points[:, None, :, None]
    u_, v_ = source_grid.to_pixel(*LENS.rays_arcsec(*image_grid.to_offset(column, row)))
    inside = np.minimum(np.minimum(u_ + 0.5, 12.5 - u_), np.minimum(v_ + 0.5, 14.5 - v_))
    within = inside.min(axis=(2, 3)) > 0.5 * order + 0.3
    beyond = inside.max(axis=(2, 3)) < -0.5 * order - 0.3
    beyond[13:17, 13:17] = False  # next to the centre, a pixel reaches further than these points
    assert within.sum() > 50
    assert beyond.sum() > 50
    np.testing.assert_allclose(image[within], 1, rtol=0, atol=1e-12)
    assert not image[beyond].any()
    assert image.min() >= 0
    assert image.max() < 1 + 1e-7


def test_light_is_conserved_whatever_the_order():
    """Each coefficient has the same light, spread the wider the higher the order."""
    image_grid = PixelGrid(shape=(40, 40), pixel_scale=0.1 * ARCSEC)
    source_grid = PixelGrid(shape=(20, 20), pixel_scale=0.1 * ARCSEC)
    source = np.zeros(source_grid.shape)
    source[9:12, 8:11] = np.random.default_rng(0).uniform(size=(3, 3))
    flat = SIS(theta_E=1e-13 * ARCSEC, x=9 * ARCSEC, y=9 * ARCSEC)
    images = [OverlapOperator(flat, image_grid, source_grid, order=n).lens(source) for n in (0, 1, 2)]
    for image in images:
        assert image.sum() == pytest.approx(source.sum(), rel=1e-9)
    assert images[0].max() > images[1].max() > images[2].max()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_averages_are_the_overlap_without_a_lens(order):
    source_grid = PixelGrid(shape=(8, 7), pixel_scale=0.1 * ARCSEC)
    source = np.random.default_rng(3).normal(size=source_grid.shape)
    flat = SIS(theta_E=1e-13 * ARCSEC, x=9 * ARCSEC, y=9 * ARCSEC)
    for factor in (1, 3):
        op = OverlapOperator(flat, source_grid.refine(factor), source_grid, order=order)
        averages = op.source_averages(source, factor)
        np.testing.assert_allclose(averages, op.lens(source), rtol=0, atol=1e-7)
        assert averages.mean() * factor**2 == pytest.approx(op.lens(source).sum() / source.size)


def test_wrong_orders_are_named():
    grid = PixelGrid(shape=(4, 4), pixel_scale=0.1 * ARCSEC)
    with pytest.raises(ValueError, match="order must be 0, 1 or 2; got 3"):
        OverlapOperator(LENS, grid, grid, order=3)
    with pytest.raises(TypeError, match=r"order must be an integer; got 1\.0"):
        OverlapOperator(LENS, grid, grid, order=1.0)
    with pytest.raises(ValueError, match="order must be at least 0; got -1"):
        SplineAverages((4, 4), -1)
