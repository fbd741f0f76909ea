import copy
import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from lenssuper.observation.grid import PixelGrid


def corners(shape):
    """Pixel coordinates of all pixel corners."""
    ny, nx = shape
    return np.meshgrid(np.arange(nx + 1) - 0.5, np.arange(ny + 1) - 0.5)


# From shape and scale


def test_upright_grid_by_hand():
    grid = PixelGrid((2, 3), 0.5 * u.arcsec)
    x, y = grid.centers
    assert x.unit == y.unit == u.arcsec
    np.testing.assert_allclose(x.value, [[-0.5, 0, 0.5]] * 2, atol=1e-15)
    np.testing.assert_allclose(y.value, [[-0.25] * 3, [0.25] * 3], atol=1e-15)
    x, y = grid.vertices
    np.testing.assert_allclose(x.value, [[-0.75, -0.25, 0.25, 0.75]] * 3, atol=1e-15)
    np.testing.assert_allclose(y.value, np.array([[-0.5], [0], [0.5]]) * np.ones(4), atol=1e-15)
    np.testing.assert_allclose(grid.extent.to_value(u.arcsec), [-0.75, 0.75, -0.5, 0.5], atol=1e-15)
    assert grid.shape == (2, 3)
    assert grid.pixel_scale == 0.5 * u.arcsec
    assert grid.pixel_area == 0.25 * u.arcsec**2
    assert grid.reference is None


def test_anisotropic_rotated_shifted_grid_by_hand():
    grid = PixelGrid((1, 2), (2, 1) * u.arcsec, center=(10, 20) * u.arcsec, rotation=90 * u.deg)
    x, y = grid.centers  # columns run north, rows run east
    np.testing.assert_allclose(x.value, [[10, 10]], atol=1e-14)
    np.testing.assert_allclose(y.value, [[19, 21]], atol=1e-14)
    x, y = grid.vertices
    np.testing.assert_allclose(x.value[:, 0], [10.5, 9.5], atol=1e-14)
    assert grid.pixel_scale.value == pytest.approx(np.sqrt(2))
    assert grid.rotation.to_value(u.deg) == pytest.approx(90)
    np.testing.assert_allclose(grid.center.value, [10, 20])


def test_any_angular_unit_is_honoured():
    assert PixelGrid((4, 4), 100 * u.mas) == PixelGrid((4, 4), 0.1 * u.arcsec)
    assert PixelGrid((4, 4), 1 * u.deg).pixel_scale == 3600 * u.arcsec


@pytest.mark.parametrize(
    ("shape", "scale", "error", "message"),
    [
        ((4, 4), 0.1, TypeError, r"pixel_scale must be a Quantity with an angular unit, .* got 0\.1"),
        ((4, 4), 0.1 * u.m, TypeError, "pixel_scale must have an angular unit"),
        ((4, 4), 0 * u.arcsec, ValueError, "pixel_scale must be positive; got 0"),
        ((4, 4), (0.1, -0.1) * u.arcsec, ValueError, "pixel_scale must be positive"),
        ((4, 4), np.nan * u.arcsec, ValueError, "pixel_scale must be finite"),
        ((4, 4), (1, 1, 1) * u.arcsec, ValueError, r"pixel_scale must be one value or two \(x, y\)"),
        ((4, 0), 0.1 * u.arcsec, ValueError, "shape must be at least 1; got 0"),
        ((4, -3), 0.1 * u.arcsec, ValueError, "shape must be at least 1; got -3"),
        ((4.0, 4), 0.1 * u.arcsec, TypeError, r"shape must be an integer; got 4\.0"),
        ((True, 4), 0.1 * u.arcsec, TypeError, "shape must be an integer; got True"),
        (64, 0.1 * u.arcsec, TypeError, r"shape must be two integers \(ny, nx\); got 64"),
        ((4, 4, 4), 0.1 * u.arcsec, ValueError, r"shape must be two integers \(ny, nx\)"),
    ],
)
def test_bad_shape_or_scale(shape, scale, error, message):
    with pytest.raises(error, match=message):
        PixelGrid(shape, scale)


def test_other_bad_arguments():
    with pytest.raises(TypeError, match="center must be a Quantity"):
        PixelGrid((4, 4), 1 * u.arcsec, center=(0, 0))
    with pytest.raises(ValueError, match=r"center must be two values \(x, y\)"):
        PixelGrid((4, 4), 1 * u.arcsec, center=0 * u.arcsec)
    with pytest.raises(TypeError, match="reference must be a SkyCoord; got"):
        PixelGrid((4, 4), 1 * u.arcsec, reference=(150.0, 2.0))
    with pytest.raises(ValueError, match="reference must be a single position; got 2 positions"):
        PixelGrid((4, 4), 1 * u.arcsec, reference=SkyCoord([1, 2] * u.deg, [1, 2] * u.deg))
    with pytest.raises(ValueError, match="reference must be a finite position"):
        PixelGrid((4, 4), 1 * u.arcsec, reference=SkyCoord(np.nan * u.deg, 0 * u.deg))


# Other grids

# Upright; rotated, anisotropic and shifted; flipped and rotated on the sky; shifted on the sky.
GRIDS = [
    PixelGrid((4, 6), 0.1 * u.arcsec),
    PixelGrid((5, 3), (0.1, 0.2) * u.arcsec, center=(1, -2) * u.arcsec, rotation=37 * u.deg),
    PixelGrid.from_affine((7, 9), [[-0.04, 0.03], [0.03, 0.04]], (0.1, -0.2), (150.1, 2.2)),
    PixelGrid((5, 3), 0.1 * u.arcsec, center=(1, 2) * u.arcsec, reference=SkyCoord(10 * u.deg, -30 * u.deg)),
]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_refine_keeps_the_footprint(grid, factor):
    fine = grid.refine(factor)
    assert fine.shape == (grid.shape[0] * factor, grid.shape[1] * factor)
    assert fine.pixel_area.value * factor**2 == pytest.approx(grid.pixel_area.value, rel=1e-12)
    for coarse, refined in zip(grid.vertices_arcsec(), fine.vertices_arcsec(), strict=True):
        np.testing.assert_allclose(refined[::factor, ::factor], coarse, atol=1e-12)
    # The mean of the small centres is the centre of the pixel.
    ny, nx = grid.shape
    for coarse, refined in zip(grid.centers_arcsec(), fine.centers_arcsec(), strict=True):
        np.testing.assert_allclose(refined.reshape(ny, factor, nx, factor).mean((1, 3)), coarse, atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_pad_and_cut_are_inverse(grid):
    ny, nx = grid.shape
    padded = grid.pad((2, 1))
    assert padded.shape == (ny + 4, nx + 2)
    for inner, outer in zip(grid.centers_arcsec(), padded.centers_arcsec(), strict=True):
        np.testing.assert_allclose(outer[2:-2, 1:-1], inner, atol=1e-12)
    back = padded[2:-2, 1:-1]
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.origin, grid.origin, atol=1e-12)
    assert grid.pad(0) == grid
    assert grid.pad(2).shape == (ny + 4, nx + 4)
    assert grid[1:].shape == (ny - 1, nx)


@pytest.mark.parametrize(
    "make", [lambda g: g, lambda g: g.refine(3), lambda g: g.pad(4), lambda g: g[1:3, 1:]]
)
@pytest.mark.parametrize("grid", GRIDS)
def test_wcs_agrees_with_the_grid(grid, make):
    grid = make(grid)
    wcs = grid.wcs
    assert wcs.array_shape == grid.shape
    px, py = corners(grid.shape)
    x, y = grid.vertices
    if grid.reference is None:
        world = wcs.pixel_to_world(px, py)
        np.testing.assert_allclose(world[0].to_value(u.arcsec), x.value, atol=1e-12)
        np.testing.assert_allclose(world[1].to_value(u.arcsec), y.value, atol=1e-12)
        reference = (0, 0) * u.arcsec
    else:
        assert wcs.pixel_to_world(px, py).separation(grid.offset_to_sky(x, y)).max() < 1e-8 * u.arcsec
        reference = grid.reference
    again = PixelGrid.from_wcs(wcs, grid.shape, reference=reference)
    np.testing.assert_allclose(again.vertices_arcsec(), grid.vertices_arcsec(), atol=1e-8)


@pytest.mark.parametrize("grid", GRIDS)
def test_own_wcs_survives_a_header(grid):
    wcs = WCS(grid.wcs.to_header())
    again = PixelGrid.from_own_wcs(wcs, grid.shape)
    np.testing.assert_allclose(again.matrix, grid.matrix, atol=1e-12)
    np.testing.assert_allclose(again.origin, grid.origin, atol=1e-9)
    if grid.reference is None:
        assert again.reference is None
    else:
        assert again.reference.separation(grid.reference) < 1e-7 * u.arcsec


def test_covering():
    x, y = [-0.31, 1.2, 0.4] * u.arcsec, [2.0, 2.1, 2.9] * u.arcsec
    grid = PixelGrid.covering(x, y, 0.1 * u.arcsec)
    assert grid.shape == (9, 16)
    assert grid.contains(x, y).all()
    np.testing.assert_allclose(grid.center.value, [0.445, 2.45])
    assert PixelGrid.covering(x, y, 0.1 * u.arcsec, margin=2).shape == (13, 20)
    assert PixelGrid.covering(x, y, 0.1 * u.arcsec, square=True).shape == (16, 16)
    # A span of whole pixels needs no more than that; one point needs one pixel.
    assert (0.4 - 0.1) / 0.1 > 3
    assert PixelGrid.covering([0, 0.7] * u.arcsec, [0.1, 0.4] * u.arcsec, 0.1 * u.arcsec).shape == (3, 7)
    assert PixelGrid.covering(1 * u.arcsec, 2 * u.arcsec, 0.1 * u.arcsec).shape == (1, 1)
    reference = SkyCoord(10 * u.deg, 20 * u.deg)
    assert PixelGrid.covering(x, y, 0.1 * u.arcsec, reference=reference).reference == reference


def test_covering_is_the_smallest():
    rng = np.random.default_rng(5)
    for _ in range(50):
        x, y = rng.normal(0, 3, (2, 7)) * u.arcsec
        scale = rng.uniform(0.01, 1) * u.arcsec
        grid = PixelGrid.covering(x, y, scale)
        assert grid.contains(x, y).all()
        for points, n in ((x, grid.shape[1]), (y, grid.shape[0])):
            assert (n - 1) * scale < np.ptp(points)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [] * u.arcsec, "y": [] * u.arcsec}, ValueError, "x and y must hold at least one point"),
        ({"x": [np.nan] * u.arcsec}, ValueError, "x must be finite"),
        ({"x": 1.0}, TypeError, "x must be a Quantity"),
        ({"pixel_scale": -1 * u.arcsec}, ValueError, "pixel_scale must be one positive value"),
        ({"pixel_scale": (1, 1) * u.arcsec}, ValueError, "pixel_scale must be one positive value"),
        ({"margin": -1}, ValueError, "margin must be at least 0; got -1"),
    ],
)
def test_covering_errors(change, error, message):
    arguments = {"x": 0 * u.arcsec, "y": 0 * u.arcsec, "pixel_scale": 1 * u.arcsec} | change
    with pytest.raises(error, match=message):
        PixelGrid.covering(**arguments)


def test_contains():
    grid = PixelGrid((4, 6), 0.1 * u.arcsec)
    assert grid.contains(0 * u.arcsec, 0 * u.arcsec) is True
    assert grid.contains(0.301 * u.arcsec, 0 * u.arcsec) is False
    inside = grid.contains([0.29, 0.31, 0, np.nan] * u.arcsec, [0, 0, -0.21, 0] * u.arcsec)
    assert inside.tolist() == [True, False, False, False]
    for grid in GRIDS:
        assert grid.contains(*grid.vertices).all()
        assert not grid[1:-1, 1:-1].contains(*grid.vertices)[0].any()


def test_bad_refine_pad_and_slices():
    grid = GRIDS[0]
    with pytest.raises(ValueError, match="factor must be at least 1; got 0"):
        grid.refine(0)
    with pytest.raises(TypeError, match=r"factor must be an integer; got 1\.5"):
        grid.refine(1.5)
    with pytest.raises(ValueError, match="n must be at least 0; got -1"):
        grid.pad(-1)
    with pytest.raises(TypeError, match=r"an image is cut out with one or two slices"):
        grid[1, 2]
    with pytest.raises(ValueError, match="the step of a cutout must be 1; got 2"):
        grid[::2]
    with pytest.raises(ValueError, match="the cutout 9:None is empty on an axis of 4 pixels"):
        grid[9:]
    with pytest.raises(TypeError, match="not iterable"):
        iter(grid)


def test_extent_of_a_rotated_grid_is_refused():
    with pytest.raises(
        ValueError, match=r"a grid rotated by 37.* deg has no extent; draw it with pcolormesh"
    ):
        _ = GRIDS[1].extent
    with pytest.raises(ValueError, match="has no extent"):
        _ = PixelGrid((4, 4), 1 * u.arcsec, rotation=90 * u.deg).extent


# Identity


def test_equality_and_hash():
    grid = PixelGrid((4, 6), 0.1 * u.arcsec)
    assert grid == PixelGrid([4, 6], 0.1 * u.arcsec)
    assert hash(grid) == hash(PixelGrid((np.int64(4), 6), 0.1 * u.arcsec))
    reference = SkyCoord(1 * u.deg, 2 * u.deg)
    others = [
        PixelGrid((6, 4), 0.1 * u.arcsec),
        PixelGrid((4, 6), 0.1000001 * u.arcsec),
        PixelGrid((4, 6), 0.1 * u.arcsec, center=(1, 0) * u.arcsec),
        PixelGrid((4, 6), 0.1 * u.arcsec, rotation=1 * u.deg),
        PixelGrid((4, 6), 0.1 * u.arcsec, reference=reference),
    ]
    assert len({grid, *others}) == 6
    assert grid != "grid"
    assert others[-1] == PixelGrid((4, 6), 0.1 * u.arcsec, reference=reference)


@pytest.mark.parametrize("grid", GRIDS)
def test_copies_are_equal(grid):
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert copy.deepcopy(grid) == grid


def test_immutable():
    grid = GRIDS[0]
    with pytest.raises(AttributeError, match="a PixelGrid cannot be changed; make another one to set _shape"):
        grid._shape = (1, 1)
    with pytest.raises(AttributeError, match="a PixelGrid cannot be changed"):
        del grid._shape
    with pytest.raises(ValueError, match="read-only"):
        grid.matrix[0, 0] = 2


def test_repr():
    assert repr(GRIDS[0]) == "PixelGrid(shape=(4, 6), pixel_scale=0.1 arcsec)"
    assert repr(GRIDS[1]) == (
        "PixelGrid(shape=(5, 3), pixel_scale=(0.1, 0.2) arcsec, center=(1, -2) arcsec, rotation=37 deg)"
    )
    assert repr(GRIDS[3]).endswith("reference='00h40m00.000s -30d00m00.000s')")


def test_torch_tensors_stay_tensors():
    torch = pytest.importorskip("torch")
    grid = GRIDS[1]
    px = torch.tensor([0.0, 1.5], dtype=torch.float64, requires_grad=True)
    x, y = grid.to_offset(px, 2.0)
    expected = grid.to_offset(np.array([0.0, 1.5]), 2.0)
    np.testing.assert_allclose(x.detach().numpy(), expected[0])
    back, _ = grid.to_pixel(x, y)
    back.sum().backward()
    np.testing.assert_allclose(px.grad.numpy(), 1)
