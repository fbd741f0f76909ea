"""Lensing by whole pixels."""

from __future__ import annotations

import numpy as np
import torch
from astropy import units as u

from lenssuper import SIE, SIS, PixelGrid
from lenssuper.operators import PixelScatter

IMAGE_GRID = PixelGrid(shape=(30, 26), pixel_scale=0.12 * u.arcsec, rotation=15 * u.deg)
SOURCE_GRID = PixelGrid(shape=(25, 31), pixel_scale=(0.06, 0.07) * u.arcsec, rotation=-40 * u.deg)
LENS = SIE(theta_E=1 * u.arcsec, q=0.7, phi=20 * u.deg, x=0.1 * u.arcsec, y=0 * u.arcsec)


def hit_pixels(lens, image_grid, source_grid):
    """Flat index of the source pixel each ray hits, and whether it hits any."""
    column, row = source_grid.to_pixel(
        *(b.to_value(u.arcsec) for b in lens.ray_shooting(*image_grid.centers))
    )
    i, j = np.rint(column).astype(int), np.rint(row).astype(int)
    ny, nx = source_grid.shape
    hit = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
    return np.where(hit, j * nx + i, 0).ravel(), hit.ravel()


def test_adjoint_is_scatter_add():
    op = PixelScatter(LENS, IMAGE_GRID, SOURCE_GRID)
    pixel, hit = hit_pixels(LENS, IMAGE_GRID, SOURCE_GRID)
    image = np.random.default_rng(0).normal(size=op.out_shape)
    expected = torch.zeros(25 * 31, dtype=torch.float64)
    expected.scatter_add_(0, torch.from_numpy(pixel), torch.from_numpy(image.ravel() * hit))
    np.testing.assert_allclose(op.adjoint(image).ravel(), expected.numpy(), rtol=0, atol=1e-13)


def test_lens_looks_up_the_nearest_pixel():
    op = PixelScatter(LENS, IMAGE_GRID, SOURCE_GRID)
    pixel, hit = hit_pixels(LENS, IMAGE_GRID, SOURCE_GRID)
    source = np.random.default_rng(1).normal(size=op.in_shape)
    np.testing.assert_array_equal(op.lens(source).ravel(), np.where(hit, source.ravel()[pixel], 0))
    np.testing.assert_array_equal(op.mask.ravel(), hit)
    assert 0.3 < hit.mean() < 1


def test_delens_is_the_mean_of_what_hits():
    op = PixelScatter(LENS, IMAGE_GRID, SOURCE_GRID)
    pixel, hit = hit_pixels(LENS, IMAGE_GRID, SOURCE_GRID)
    counts = np.bincount(pixel[hit], minlength=25 * 31)
    np.testing.assert_array_equal(op.coverage.ravel(), counts)
    image = np.random.default_rng(2).normal(size=op.out_shape)
    sums = np.bincount(pixel[hit], image.ravel()[hit], minlength=25 * 31)
    expected = np.divide(sums, counts, out=np.zeros(25 * 31), where=counts > 0)
    np.testing.assert_allclose(op.delens(image).ravel(), expected, rtol=1e-12, atol=1e-15)


def test_the_flower():
    # rays spread evenly over the image plane leave empty petals among source pixels hit several times
    image_grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    source_grid = PixelGrid(shape=(64, 64), pixel_scale=0.05 * u.arcsec)
    op = PixelScatter(SIS(theta_E=1.2 * u.arcsec), image_grid, source_grid)
    x, y = (c.to_value(u.arcsec) for c in source_grid.centers)
    middle = np.hypot(x, y) < 1
    assert 0.2 < np.mean(op.coverage[middle] == 0) < 0.8
    assert op.coverage[middle].max() >= 3
    assert op.coverage.sum() == op.mask.sum()
