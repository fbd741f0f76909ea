"""Lensing by bilinear interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from scipy.ndimage import map_coordinates

from lenssuper import SIE, SIS, ExternalShear, PixelGrid, PointMass
from lenssuper.operators import BilinearSampling

IMAGE_GRID = PixelGrid(shape=(30, 26), pixel_scale=0.12 * u.arcsec, rotation=15 * u.deg)
SOURCE_GRID = PixelGrid(
    shape=(25, 31), pixel_scale=(0.06, 0.07) * u.arcsec, center=(0.1, -0.2) * u.arcsec, rotation=-40 * u.deg
)
LENS = SIE(theta_E=1 * u.arcsec, q=0.7, phi=20 * u.deg, x=0.1 * u.arcsec, y=0 * u.arcsec)
LENS += ExternalShear(gamma1=0.05, gamma2=0.02)


def ray_positions(lens, image_grid):
    beta_x, beta_y = lens.ray_shooting(*image_grid.centers)
    return beta_x.to_value(u.arcsec), beta_y.to_value(u.arcsec)


@pytest.fixture
def op():
    return BilinearSampling(LENS, IMAGE_GRID, SOURCE_GRID)


def interpolated_at(column, row, op):
    """Whether all four neighbours of a ray are on the source grid."""
    ny, nx = op.in_shape
    return (column >= 0) & (column <= nx - 1) & (row >= 0) & (row <= ny - 1)


def test_against_scipy(op):
    source = np.random.default_rng(0).normal(size=op.in_shape)
    column, row = SOURCE_GRID.to_pixel(*ray_positions(LENS, IMAGE_GRID))
    expected = map_coordinates(source, [row, column], order=1, mode="grid-constant", cval=0.0)
    np.testing.assert_allclose(op.lens(source), expected, rtol=0, atol=1e-12)
    assert 0.3 < np.mean(expected != 0) < 0.95  # some rays miss the grid


def test_a_plane_is_reproduced(op):
    x, y = (c.to_value(u.arcsec) for c in SOURCE_GRID.centers)
    beta_x, beta_y = ray_positions(LENS, IMAGE_GRID)
    inner = interpolated_at(*SOURCE_GRID.to_pixel(beta_x, beta_y), op)
    image = op.lens(2 + 3 * x - 5 * y)
    np.testing.assert_allclose(image[inner], (2 + 3 * beta_x - 5 * beta_y)[inner], rtol=0, atol=1e-12)


def test_rows_sum_to_one_inside(op):
    ones = op.lens(np.ones(op.in_shape))
    inner = interpolated_at(*SOURCE_GRID.to_pixel(*ray_positions(LENS, IMAGE_GRID)), op)
    np.testing.assert_allclose(ones[inner], 1, rtol=0, atol=1e-14)
    assert ones.max() <= 1 + 1e-14
    assert ones.min() == 0


def test_mask_is_where_rays_land_on_the_grid(op):
    beta_x, beta_y = ray_positions(LENS, IMAGE_GRID)
    expected = SOURCE_GRID.contains(beta_x * u.arcsec, beta_y * u.arcsec)
    np.testing.assert_array_equal(op.mask, expected)
    assert 0.3 < op.mask.mean() < 0.95
    op.mask[:] = False
    assert op.mask.any()


def test_delens_of_a_constant_is_the_constant(op):
    result = op.delens(np.full(op.out_shape, 3.0))
    np.testing.assert_allclose(result[op.coverage > 0], 3, rtol=1e-13)


def test_the_counter_image_is_there():
    # beta = 0.3" behind an SIS of 1": images at 1.3" and, on the other side, at 0.7"
    image_grid = PixelGrid(shape=(101, 101), pixel_scale=0.04 * u.arcsec)
    source_grid = PixelGrid(shape=(81, 81), pixel_scale=0.02 * u.arcsec)
    op = BilinearSampling(SIS(theta_E=1 * u.arcsec), image_grid, source_grid)
    x, y = (c.to_value(u.arcsec) for c in source_grid.centers)
    image = op.lens(np.exp(-((x - 0.3) ** 2 + y**2) / (2 * 0.03**2)))
    x, y = (c.to_value(u.arcsec) for c in image_grid.centers)
    for half, expected in ((x > 0, 1.3), (x < 0, -0.7)):
        peak = np.argmax(np.where(half, image, -1))
        assert x.ravel()[peak] == pytest.approx(expected, abs=0.03)
        assert y.ravel()[peak] == pytest.approx(0, abs=1e-9)
    # magnifications 1 + 1 / 0.3 and 1 / 0.3 - 1, smeared by the source's size
    assert image[x > 0].sum() / image[x < 0].sum() == pytest.approx(4.333 / 2.333, rel=0.03)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_ray_that_goes_nowhere_sees_nothing():
    class Torn(SIS):
        def deflection_arcsec(self, x, y, values=None):
            return x / np.hypot(x, y) ** 2, y / np.hypot(x, y) ** 2

    grid = PixelGrid(shape=(5, 5), pixel_scale=0.5 * u.arcsec)
    op = BilinearSampling(Torn(theta_E=1 * u.arcsec), grid, grid)
    image = op.lens(np.ones((5, 5)))
    assert np.isfinite(image).all()
    assert image[2, 2] == 0
    assert not op.mask[2, 2]
    far = BilinearSampling(PointMass(theta_E=1e6 * u.arcsec), grid, grid)
    assert far.matrix.nnz <= 4
