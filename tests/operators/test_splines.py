"""Sources of cubic B-splines: what they add up to, and how their images change with the lens."""

import astropy.units as u
import numpy as np
import pytest
from scipy import sparse
from scipy.ndimage import gaussian_filter

from lenssuper import SIE, SIS, PixelGrid
from lenssuper.operators import SplineSampling
from lenssuper.operators.splines import _weights, spline_image

IMAGE_GRID = PixelGrid((24, 26), 0.12 * u.arcsec)
SOURCE_GRID = PixelGrid((20, 22), 0.05 * u.arcsec, center=(0.1, 0.05) * u.arcsec, rotation=20 * u.deg)
LENS = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg, x=0.03 * u.arcsec)


def test_splines_add_up_to_one_and_are_dark_outside():
    grid = SOURCE_GRID
    ones = spline_image(np.ones(grid.shape), grid, grid.refine(2))
    np.testing.assert_allclose(ones[4:-4, 4:-4], 1, rtol=1e-12)
    assert np.all(ones[0] < 0.8)
    # a straight line comes out as it is
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    fine_x, fine_y = np.broadcast_arrays(*grid.refine(2).centers_arcsec())
    line = spline_image(x - 2 * y, grid, grid.refine(2))
    np.testing.assert_allclose(line[4:-4, 4:-4], (fine_x - 2 * fine_y)[4:-4, 4:-4], atol=1e-12)


def test_a_torn_pixel_counts_as_much_as_any():
    # rays that land further apart than weights are added up in
    columns, rows = np.array([[3.2, 40.7, 8.0, 200.0]]), np.array([[5.1, 30.3, 7.0, 5.0]])
    data, indices, pointer = _weights(columns, rows, (50, 60))
    assert data.sum() == pytest.approx(0.75, rel=1e-12)
    assert pointer[-1] == len(indices) == 48
    together = sparse.csr_array((data, indices, pointer), shape=(1, 3000)).toarray()
    alone = sum(
        sparse.csr_array(_weights(c[None], r[None], (50, 60)), shape=(1, 3000)).toarray()
        for c, r in zip(columns.T, rows.T, strict=True)
    )
    np.testing.assert_allclose(together, alone / 4, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rays", [1, 3])
def test_an_image_pixel_is_the_mean_of_its_rays(rays):
    source = np.random.default_rng(0).uniform(size=SOURCE_GRID.shape)
    found = SplineSampling(LENS, IMAGE_GRID, SOURCE_GRID, rays=rays).lens(source)
    x, y = IMAGE_GRID.refine(rays).centers_arcsec()
    columns, rows = (v.reshape(-1, 1) for v in SOURCE_GRID.to_pixel(*LENS.rays_arcsec(x, y)))
    each = sparse.csr_array(_weights(columns, rows, SOURCE_GRID.shape), shape=(columns.size, source.size))
    ny, nx = IMAGE_GRID.shape
    expected = (each @ source.ravel()).reshape(ny, rays, nx, rays).mean(axis=(1, 3))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.count_nonzero(found) < found.size


def test_derivatives_are_those_of_the_image():
    rng = np.random.default_rng(4)
    sources = gaussian_filter(rng.uniform(size=(2, *SOURCE_GRID.shape)), (0, 1, 1), mode="constant")
    op = SplineSampling(LENS, IMAGE_GRID, SOURCE_GRID)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])

    def grid(step):
        matrix = SOURCE_GRID.matrix + step * turn @ SOURCE_GRID.matrix
        return PixelGrid.from_affine(SOURCE_GRID.shape, matrix, SOURCE_GRID.origin + step)

    def lens(step):
        return LENS.replace(theta_E=LENS.theta_E + step * u.arcsec)

    h = 1e-4
    directions = {"lens": lambda step: (lens(step), SOURCE_GRID), "grid": lambda step: (LENS, grid(step))}
    ends = [(*way(1e-6), 1e-6) for way in directions.values()]
    weights = rng.standard_normal((2, *IMAGE_GRID.shape))
    found = op.derivatives(sources[0], ends, sources, weights)
    for way, (image, total) in zip(directions.values(), found, strict=True):
        low, high = (SplineSampling(a, IMAGE_GRID, b).lens(sources) for a, b in (way(-h), way(h)))
        expected = (high - low) / (2 * h)
        assert image.shape == IMAGE_GRID.shape
        np.testing.assert_allclose(image, expected[0], atol=1e-3 * np.abs(expected).max())
        assert total == pytest.approx(np.vdot(weights, expected), abs=1e-3 * np.linalg.norm(expected))


def test_slopes_are_those_of_a_weighted_sum():
    rng = np.random.default_rng(5)
    sources = rng.uniform(size=(9, *SOURCE_GRID.shape))
    weights = rng.standard_normal((9, *IMAGE_GRID.shape))
    op = SplineSampling(LENS, IMAGE_GRID, SOURCE_GRID)
    in_rays = weights.repeat(2, axis=1).repeat(2, axis=2)
    expected = sum(op.slopes(each) * weight for each, weight in zip(sources, in_rays, strict=True))
    np.testing.assert_allclose(op.slopes(sources, weights), expected, atol=1e-5 * np.abs(expected).max())
    # where a source is known to have a slope of one
    x, y = np.broadcast_arrays(*SOURCE_GRID.centers_arcsec())
    slopes = op.slopes(2 * x - 3 * y)
    column, row = SOURCE_GRID.to_pixel(*LENS.rays_arcsec(*IMAGE_GRID.refine(2).centers_arcsec()))
    ny, nx = SOURCE_GRID.shape
    inner = (2 < column) & (column < nx - 3) & (2 < row) & (row < ny - 3)
    assert inner.sum() > 20
    np.testing.assert_allclose(slopes[0][inner], 2, rtol=1e-4)
    np.testing.assert_allclose(slopes[1][inner], -3, rtol=1e-4)


def test_rays_must_be_a_number():
    with pytest.raises(ValueError, match="rays must be at least 1"):
        SplineSampling(SIS(theta_E=1 * u.arcsec), IMAGE_GRID, SOURCE_GRID, rays=0)
