"""Entries of the overlap operator against rays shot through the pixels by the hundred thousand."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import EPL, NFW, SIE, SIS, ExternalShear, PixelGrid, PointMass
from lenssuper.operators import OverlapOperator

ARCSEC = u.arcsec
RAYS = 2**17
# every point of this sequence falls into the largest gap (Roberts 2018, the plastic number)
PLASTIC = 1.32471795724474602596
SEQUENCE = (0.5 + np.arange(1, RAYS + 1)[:, None] / PLASTIC ** np.array([1, 2])) % 1 - 0.5


def shares_by_rays(op, pixels):
    """Dense rows of the matrix: where the rays through each pixel land."""
    rows, columns = op.source_grid.shape
    dense = np.zeros((len(pixels), rows * columns))
    for share, pixel in zip(dense, pixels, strict=True):
        row, column = divmod(pixel, op.image_grid.shape[1])
        x, y = op.image_grid.to_offset(column + SEQUENCE[:, 0], row + SEQUENCE[:, 1])
        alpha_x, alpha_y = op.lens_model.deflection_arcsec(x, y)
        px, py = (np.floor(p + 0.5) for p in op.source_grid.to_pixel(x - alpha_x, y - alpha_y))
        hit = (px >= 0) & (py >= 0) & (px < columns) & (py < rows)
        share += np.bincount((py[hit] * columns + px[hit]).astype(int), minlength=rows * columns) / RAYS
    return dense


def doubtful_pixels(op, n):
    """The pixels that differ most from a much finer cut, and those on which a centre of the lens lies."""
    grids = op.image_grid, op.source_grid
    finer = OverlapOperator(op.lens_model, *grids, tol=op.tol / 20, order=op.order)
    worst = np.argsort(abs(op.matrix - finer.matrix).max(axis=1).toarray().ravel())[-n:]
    rows, columns = op.image_grid.shape
    torn = set()
    for centre in op.lens_model.centers_arcsec():
        px, py = op.image_grid.to_pixel(*centre)
        near = [(round(py + s), round(px + t)) for s in (-1e-6, 1e-6) for t in (-1e-6, 1e-6)]
        torn |= {i * columns + j for i, j in near if 0 <= i < rows and 0 <= j < columns}
    return sorted({*worst.tolist(), *torn})


def lenses(x, y):
    place = {"x": x * ARCSEC, "y": y * ARCSEC}
    ellipse = {"theta_E": 1.2 * ARCSEC, "q": 0.6, "phi": 35 * u.deg, **place}
    shear = ExternalShear(gamma1=0.05, gamma2=-0.03)
    return {
        "SIS": SIS(theta_E=1.2 * ARCSEC, **place),
        "SIE": SIE(**ellipse),
        "EPL 1.7": EPL(gamma=1.7, **ellipse),
        "EPL 2.3": EPL(gamma=2.3, **ellipse),
        "SIE+shear+subhalo": SIE(**ellipse) + shear + PointMass(
            theta_E=0.08 * ARCSEC, x=1.11 * ARCSEC, y=0.33 * ARCSEC
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", lenses(0, 0))
@pytest.mark.parametrize(
    ("centre", "n", "source_pixels", "source_scale"),
    [((0, 0), 40, 30, 0.09), ((0.06, -0.06), 40, 70, 0.035), ((0.0317, -0.0213), 33, 17, 0.2)],
    ids=["centre on a corner", "centre on a pixel's centre", "centre anywhere"],
)
def test_every_entry_is_better_than_tol(name, centre, n, source_pixels, source_scale):
    image_grid = PixelGrid(shape=(n, n), pixel_scale=4.8 / 40 * ARCSEC)
    source_grid = PixelGrid(shape=(source_pixels,) * 2, pixel_scale=source_scale * ARCSEC)
    op = OverlapOperator(lenses(*centre)[name], image_grid, source_grid)
    pixels = doubtful_pixels(op, 8)
    difference = op.matrix[pixels].toarray() - shares_by_rays(op, pixels)
    noise = 2e-4  # of the rays
    assert abs(difference).max() < op.tol + noise


def test_edges_that_run_along_borders():
    """One pixel has a curved edge nearer to a border between source pixels than it bends."""
    image_grid = PixelGrid(shape=(43, 43), pixel_scale=3.1137024484030933 / 43 * ARCSEC)
    source_grid = PixelGrid.from_affine(
        (75, 75), 2.0194783506164984 / 75 * np.eye(2), [-1.0427993885395495, -0.9977385774273029]
    )
    op = OverlapOperator(PointMass(theta_E=0.8601995418934705 * ARCSEC), image_grid, source_grid)
    pixels = doubtful_pixels(op, 8)
    assert abs(op.matrix[pixels].toarray() - shares_by_rays(op, pixels)).max() < op.tol + 2e-4


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_other_tolerances(tol):
    image_grid = PixelGrid(shape=(30, 30), pixel_scale=0.15 * ARCSEC)
    source_grid = PixelGrid(shape=(25, 25), pixel_scale=0.1 * ARCSEC, rotation=25 * u.deg)
    op = OverlapOperator(lenses(0.01, 0.02)["SIE"], image_grid, source_grid, tol=tol)
    pixels = doubtful_pixels(op, 8)
    assert abs(op.matrix[pixels].toarray() - shares_by_rays(op, pixels)).max() < tol + 2e-4


@pytest.mark.parametrize(
    "centres",
    [
        [(0.03, 0.01), (-0.05, 0.02), (0.01, -0.06)],  # three in one pixel
        [(0.1, 0.02), (0.1, -0.07)],  # two on the same edge
        [(0.1, 0.1), (0.04, 0.04)],  # one on a corner, one on the diagonal
        [(0.0, 0.0), (1e-7, 1e-7)],  # as good as one
    ],
    ids=["one pixel", "edge", "corner and diagonal", "together"],
)
def test_several_centres_in_a_pixel(centres):
    lens = sum(SIS(theta_E=t * ARCSEC, x=x * ARCSEC, y=y * ARCSEC)
               for t, (x, y) in zip((0.5, 0.2, 0.1), centres, strict=False))  # fmt: skip
    image_grid = PixelGrid(shape=(9, 9), pixel_scale=0.2 * ARCSEC)
    source_grid = PixelGrid(shape=(24, 24), pixel_scale=0.1 * ARCSEC)
    op = OverlapOperator(lens, image_grid, source_grid)
    np.testing.assert_allclose(op.matrix.sum(axis=1), 1, rtol=0, atol=1e-12)
    pixels = doubtful_pixels(op, 6)
    assert abs(op.matrix[pixels].toarray() - shares_by_rays(op, pixels)).max() < op.tol + 2e-4


def test_a_halo_without_a_torn_core():
    lens = NFW(alpha_Rs=1.0 * ARCSEC, Rs=1.5 * ARCSEC, x=0.02 * ARCSEC)
    image_grid = PixelGrid(shape=(31, 31), pixel_scale=0.12 * ARCSEC)
    op = OverlapOperator(lens, image_grid, PixelGrid(shape=(30, 30), pixel_scale=0.05 * ARCSEC))
    pixels = doubtful_pixels(op, 8)
    assert abs(op.matrix[pixels].toarray() - shares_by_rays(op, pixels)).max() < op.tol + 2e-4
