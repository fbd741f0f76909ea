"""The overlap operator: what its rows and maps mean, its arguments, grids and threads."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from astropy import units as u

from lenssuper import EPL, SIE, SIS, ExternalShear, PixelGrid, PointMass
from lenssuper._utils import threads
from lenssuper.operators import OverlapOperator
from lenssuper.operators.overlap import assemble as _assemble

ARCSEC = u.arcsec
SHEAR = ExternalShear(gamma1=0.04, gamma2=-0.02)
NO_LENS = ExternalShear(gamma1=0.0, gamma2=0.0)
OFF = {"x": 0.013 * ARCSEC, "y": -0.027 * ARCSEC}


def grid(shape, scale, **kwargs):
    shape = (shape, shape) if isinstance(shape, int) else shape
    return PixelGrid(shape=shape, pixel_scale=scale * ARCSEC, **kwargs)


def sis(theta_E=1.2, **kwargs):
    return SIS(theta_E=theta_E * ARCSEC, **kwargs)


def sie(**kwargs):
    return SIE(theta_E=1.2 * ARCSEC, q=0.65, phi=30 * u.deg, **kwargs)


def epl(gamma, **kwargs):
    return EPL(theta_E=1.2 * ARCSEC, gamma=gamma, q=0.7, phi=50 * u.deg, **kwargs)


# What a row is


@pytest.mark.parametrize("subdivide", [None, 1, 3])
@pytest.mark.parametrize(
    "lens",
    [sis(), sis(**OFF), sie(**OFF) + SHEAR, epl(1.7), epl(2.3, **OFF), sie() + sis(0.05, **OFF)],
    ids=["SIS", "SIS off", "SIE+shear", "EPL 1.7", "EPL 2.3", "two centres in a pixel"],
)
def test_rows_sum_to_one_where_covered(lens, subdivide):
    image_grid = grid((40, 36), 0.1)
    op = OverlapOperator(lens, image_grid, grid(130, 0.1), subdivide=subdivide)
    sums = op.matrix.sum(axis=1).reshape(image_grid.shape)
    if isinstance(lens, EPL) and lens.gamma > 2:  # the very centre is thrown out of any grid
        sums = np.where(np.hypot(*image_grid.centers_arcsec()) < 0.1, 1, sums)
    np.testing.assert_allclose(sums, 1, rtol=0, atol=1e-12)
    assert op.matrix.min() >= 0
    assert op.matrix.has_canonical_format
    assert op.matrix.indices.dtype == np.int32


def test_without_a_lens_it_is_the_identity():
    op = OverlapOperator(NO_LENS, grid((5, 7), 0.1), grid((5, 7), 0.1))
    np.testing.assert_allclose(op.matrix.toarray(), np.eye(35), atol=1e-12)


def test_row_sum_is_the_covered_share():
    op = OverlapOperator(NO_LENS, grid((2, 8), 0.5), grid((4, 7), 0.5))
    expected = [0.5, 1, 1, 1, 1, 1, 1, 0.5]
    np.testing.assert_allclose(op.matrix.sum(axis=1).reshape(2, 8), [expected] * 2, atol=1e-12)
    op = OverlapOperator(NO_LENS, grid((2, 8), 0.5), grid((1, 4), 0.5))
    expected = [0, 0, 0.5, 0.5, 0.5, 0.5, 0, 0]
    np.testing.assert_allclose(op.matrix.sum(axis=1).reshape(2, 8), [expected] * 2, atol=1e-12)


@pytest.mark.parametrize("subdivide", [None, 1, 2])
def test_linear_map_against_shapely(subdivide):
    """Shear maps pixels to parallelograms; both grids are turned, one is flipped and not square."""
    image_grid = PixelGrid.from_affine((6, 9), np.array([[-0.2, 0.05], [0.04, 0.17]]), np.array([0.9, -0.4]))
    matrix = np.array([[0.1, -0.06], [0.06, 0.1]])
    source_grid = PixelGrid.from_affine((8, 7), matrix, np.array([-0.2, -0.5]))
    op = OverlapOperator(ExternalShear(gamma1=0.2, gamma2=-0.1), image_grid, source_grid, subdivide=subdivide)

    def polygons(x, y):
        corners = np.stack([x, y], -1)
        rings = [corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]]
        return shapely.polygons(np.stack(rings, -2).reshape(-1, 4, 2))

    x, y = image_grid.vertices_arcsec()
    pixels = polygons(0.8 * x + 0.1 * y, 1.2 * y + 0.1 * x)
    cells = polygons(*source_grid.vertices_arcsec())
    expected = shapely.area(shapely.intersection(pixels[:, None], cells)) / shapely.area(pixels)[:, None]
    assert np.count_nonzero(expected) > 100
    np.testing.assert_allclose(op.matrix.toarray(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lens", [sis(), sie(**OFF) + SHEAR], ids=["SIS", "SIE+shear"])
def test_subdivision_converges_to_the_adaptive_result(lens):
    grids = grid(30, 0.13), grid(24, 0.11)
    adaptive = OverlapOperator(lens, *grids, tol=1e-4).matrix
    errors = [abs(OverlapOperator(lens, *grids, subdivide=k).matrix - adaptive).max() for k in (1, 4, 16)]
    assert 0.02 < errors[0]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 4e-3


# The two coverage maps


@pytest.mark.parametrize("centre", [0.0, 0.013])
def test_coverage_is_the_number_of_images(centre):
    lens = sis(x=centre * ARCSEC)
    source_grid = grid(60, 0.05)
    coverage = OverlapOperator(lens, grid(64, 0.1), source_grid).coverage
    x, y = source_grid.centers_arcsec()
    beta = np.hypot(x - centre, y)
    inside, outside = (beta < 1.2 - 0.04) & (beta > 0.1), beta > 1.2 + 0.04
    np.testing.assert_allclose(coverage[inside], 2, atol=1e-9)
    np.testing.assert_allclose(coverage[outside], 1, atol=1e-9)
    cut = ~inside & ~outside & (beta > 0.1)
    assert np.all((coverage[cut] > 1 - 1e-3) & (coverage[cut] < 2 + 1e-3))
    # the area inside the cut, cell by cell, adds up
    np.testing.assert_allclose((coverage[beta > 0.1] - 1).sum() * 0.05**2 + np.pi * 0.1**2, np.pi * 1.2**2,
                               rtol=4e-3)  # fmt: skip


def test_coverage_does_not_depend_on_how_pixels_are_cut():
    grids = grid(20, 0.2), grid(15, 0.2)
    maps = [OverlapOperator(sie(**OFF), *grids, **how).coverage for how in ({"tol": 0.1}, {"subdivide": 2})]
    np.testing.assert_array_equal(*maps)


def test_coverage_of_a_field_that_sees_part_of_the_source_plane():
    coverage = OverlapOperator(NO_LENS, grid((3, 5), 0.1), grid((6, 4), 0.1)).coverage
    expected = np.zeros((6, 4))
    expected[1:5] = [[0.5], [1], [1], [0.5]]
    np.testing.assert_allclose(coverage, expected, atol=1e-12)


@pytest.mark.parametrize("flip", [False, True])
def test_coverage_of_four_images(flip):
    image_grid, source_grid = grid(120, 0.05), grid(21, 0.02, rotation=10 * u.deg)
    if flip:
        image_grid = PixelGrid.from_affine(
            image_grid.shape, image_grid.matrix @ np.diag([1, -1]), -image_grid.origin * [-1, 1]
        )
    coverage = OverlapOperator(sie(), image_grid, source_grid).coverage
    np.testing.assert_allclose(coverage[9:12, 9:12], 4, atol=1e-3)


def total_magnification(source_grid, theta_E=1.2, n=100):
    """mu_tot of an SIS averaged over each pixel (midpoint rule)."""
    ny, nx = source_grid.shape
    k = (np.arange(n) + 0.5) / n - 0.5
    px = (np.arange(nx)[:, None] + k).ravel()
    py = (np.arange(ny)[:, None] + k).ravel()
    beta = np.hypot(*source_grid.to_offset(px, py[:, None]))
    mu = np.where(beta < theta_E, 2 * theta_E / beta, 1 + theta_E / beta)
    return mu.reshape(ny, n, nx, n).mean(axis=(1, 3))


def test_magnification_is_the_total_of_all_images():
    source_grid = grid((24, 22), 0.15, center=(0.05, 0.1) * ARCSEC)
    magnification = OverlapOperator(sis(), grid(80, 0.1), source_grid).magnification
    expected = total_magnification(source_grid)
    x, y = source_grid.centers_arcsec()
    away = np.hypot(x, y) > 0.2
    np.testing.assert_allclose(magnification[away], expected[away], rtol=2e-3)
    np.testing.assert_allclose(magnification, expected, rtol=0.01)


def test_magnification_converges_with_the_square_of_the_pixel():
    source_grid = grid(10, 0.1, center=(0.7, 0.5) * ARCSEC)
    expected = total_magnification(source_grid)
    coarse, fine = (
        np.abs(OverlapOperator(sis(), grid(n, 6.4 / n), source_grid, subdivide=1).magnification - expected)
        for n in (64, 256)
    )
    assert np.sqrt((fine**2).mean()) < np.sqrt((coarse**2).mean()) / 6


# Forth and back


def test_both_images_of_a_small_source_with_their_fluxes():
    image_grid, source_grid = grid(256, 0.02), grid(101, 0.01, center=(0.4, 0.0) * ARCSEC)
    source = np.zeros(source_grid.shape)
    source[50, 50] = 1
    op = OverlapOperator(sis(), image_grid, source_grid)
    image = op.lens(source)
    x, y = image_grid.centers_arcsec()
    x, y = np.broadcast_arrays(x, y)
    for side, position, magnification in ((x > 0, 1.6, 4.0), (x < 0, -0.8, 2.0)):
        flux = image * side
        assert (flux * x).sum() / flux.sum() == pytest.approx(position, abs=2e-3)
        assert (flux * y).sum() / flux.sum() == pytest.approx(0, abs=1e-6)
        assert flux.sum() * 0.02**2 / 0.01**2 == pytest.approx(magnification, rel=2e-3)
    # each image alone goes back to the same place
    for side in (x > 0, x < 0):
        back = op.delens(image * side)
        py, px = (back.sum(axis=k) @ np.arange(101) / back.sum() for k in (1, 0))
        assert (py, px) == pytest.approx((50, 50), abs=0.3)


def test_a_constant_survives_both_ways():
    op = OverlapOperator(sie(**OFF), grid(30, 0.12), grid(40, 0.2))
    image = op.lens(np.full(op.in_shape, 3.0))
    np.testing.assert_allclose(image, 3.0, rtol=1e-12)
    back = op.delens(image)
    seen = op.magnification > 0
    np.testing.assert_allclose(back[seen], 3.0, rtol=1e-12)
    assert (~seen).any()
    assert not back[~seen].any()


def test_adjoint_of_the_other():
    op = OverlapOperator(sie(**OFF) + SHEAR, grid((20, 24), 0.15), grid((17, 13), 0.12))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=op.in_shape), rng.normal(size=op.out_shape)
    assert np.vdot(op.forward(x), y) == pytest.approx(np.vdot(x, op.adjoint(y)), rel=1e-12)


# Grids


def test_turning_everything_changes_nothing():
    lenses = [
        SIE(theta_E=1 * ARCSEC, q=0.7, phi=phi * u.deg) + sis(0.1, x=0.9 * np.cos(np.radians(phi)) * ARCSEC,
                                                                y=0.9 * np.sin(np.radians(phi)) * ARCSEC)
        for phi in (0, 40)
    ]  # fmt: skip
    one, other = (
        OverlapOperator(lens, grid((21, 26), 0.12, rotation=a), grid(17, 0.1, rotation=a), subdivide=2).matrix
        for lens, a in zip(lenses, (0 * u.deg, 40 * u.deg), strict=True)
    )
    difference = abs(one - other).max(axis=1).toarray().ravel()
    opened = difference > 1e-9  # at the two centres it is a matter of rounding which triangle is cut first
    assert opened.sum() <= 3
    assert difference.max() < 0.02


def test_flipped_image_grid_permutes_the_rows():
    straight = grid((12, 15), 0.2)
    flipped = PixelGrid.from_affine(
        straight.shape, straight.matrix @ np.diag([-1, 1]), straight.origin * [-1, 1]
    )
    op, other = (OverlapOperator(sie(**OFF), g, grid(14, 0.15)) for g in (straight, flipped))
    rows = np.arange(12 * 15).reshape(12, 15)[:, ::-1].ravel()
    assert abs(op.matrix[rows] - other.matrix).max() < 2e-3  # the diagonals of pixels run the other way


def test_centre_of_the_lens_outside_the_field():
    lens = sis(x=9 * ARCSEC, y=0.3 * ARCSEC)
    op = OverlapOperator(lens, grid(10, 0.1), grid(30, 0.1, center=(1.2, 0) * ARCSEC))
    np.testing.assert_allclose(op.matrix.sum(axis=1), 1, atol=1e-12)
    assert op.coverage.max() == pytest.approx(1, abs=1e-6)


def test_point_mass_sends_its_core_away():
    image_grid = grid(41, 0.05)
    op = OverlapOperator(PointMass(theta_E=0.7 * ARCSEC), image_grid, grid(30, 0.05))
    sums = op.matrix.sum(axis=1).reshape(41, 41)
    x, y = image_grid.centers_arcsec()
    theta = np.hypot(x, y)
    beta = np.abs(theta - 0.49 / np.maximum(theta, 1e-9))
    assert not sums[beta > 1.2].any()
    assert sums[20, 20] == 0
    np.testing.assert_allclose(sums[(beta < 0.6) & (theta < 0.9)], 1, atol=1e-12)
    assert np.isfinite(op.matrix.data).all()


def test_one_pixel_that_holds_everything():
    """All images of the source plane at once: the shares are the magnification."""
    op = OverlapOperator(sis(), grid(1, 4.0), grid(20, 0.2))
    assert op.matrix.sum() == pytest.approx(1, abs=1e-12)
    theta = 4 * (np.random.default_rng(0).uniform(size=(2, 10**6)) - 0.5)
    beta = theta * (1 - 1.2 / np.hypot(*theta))
    rays = np.histogram2d(beta[1], beta[0], 20, ((-2, 2), (-2, 2)))[0] / 10**6
    np.testing.assert_allclose(op.lens(np.eye(400).reshape(400, 20, 20)).reshape(20, 20), rays, atol=1e-3)


# Threads


@pytest.mark.parametrize("how", [{"tol": 1e-3}, {"subdivide": 1}, {"subdivide": 2}])
def test_threads_change_not_a_bit(monkeypatch, how):
    monkeypatch.setattr(_assemble, "_BLOCK", 200)
    results = []
    for workers in (1, 2, 5):
        monkeypatch.setattr(threads, "thread_count", lambda workers=workers: workers)
        op = OverlapOperator(sie(**OFF) + SHEAR, grid(48, 0.1), grid(40, 0.07), **how)
        results.append((op.matrix.data, op.matrix.indices, op.matrix.indptr, op.coverage))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_error_in_a_thread_comes_out(monkeypatch):
    monkeypatch.setattr(_assemble, "_BLOCK", 200)
    monkeypatch.setattr(threads, "thread_count", lambda: 2)
    with pytest.raises(ValueError, match=r"lens must have a deflection everywhere; it is NaN at"):
        OverlapOperator(Broken(theta_E=1 * ARCSEC), grid(48, 0.1), grid(8, 0.1))


# Arguments


class Broken(SIS):
    """A lens with a hole in it."""

    def deflection_arcsec(self, x, y, values=None):
        alpha = super().deflection_arcsec(x, y, values)
        return tuple(np.where(np.hypot(x, y) < 0.5, np.nan, a) for a in alpha)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lens": "SIS"}, TypeError, "lens must be a LensModel; got 'SIS'"),
        ({"image_grid": (10, 10)}, TypeError, r"image_grid must be a PixelGrid; got \(10, 10\)"),
        ({"source_grid": None}, TypeError, "source_grid must be a PixelGrid; got None"),
        ({"tol": 0.0}, ValueError, r"tol must lie in \(0, 1\); got 0.0"),
        ({"tol": 1}, ValueError, r"tol must lie in \(0, 1\); got 1"),
        ({"tol": np.nan}, ValueError, "tol must be finite; got nan"),
        ({"tol": "fine"}, TypeError, "tol must be a real number; got 'fine'"),
        ({"subdivide": 0}, ValueError, "subdivide must be at least 1; got 0"),
        ({"subdivide": 2.5}, TypeError, "subdivide must be an integer; got 2.5"),
        ({"subdivide": True}, TypeError, "subdivide must be an integer; got True"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"lens": sis(), "image_grid": grid(4, 0.5), "source_grid": grid(4, 0.5)} | change
    with pytest.raises(error, match=message):
        OverlapOperator(**arguments)


def test_what_was_asked_for_is_kept():
    op = OverlapOperator(sis(), grid(4, 0.5), grid(5, 0.5), tol=0.01)
    assert (op.tol, op.subdivide) == (0.01, None)
    assert OverlapOperator(sis(), grid(4, 0.5), grid(5, 0.5), subdivide=np.int64(2)).subdivide == 2
    assert (op.image_grid, op.source_grid, op.lens_model) == (grid(4, 0.5), grid(5, 0.5), sis())


def test_maps_are_copies():
    op = OverlapOperator(sis(), grid(4, 0.5), grid(5, 0.5))
    op.coverage[:] = 0
    op.magnification[:] = 0
    assert op.coverage.any()
    assert op.magnification.any()
