"""The objects of an image: which is the main one, and what is in its way."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import Observation, PixelGrid
from lenssuper.exceptions import ObservationError
from lenssuper.observation.objects import excess_light, find_objects, main_object, neighbor_mask

SCALE = 0.1
NOISE = 0.02


def blob(grid, x0, y0, a, b=None, phi=0.0, peak=1.0):
    x, y = grid.centers_arcsec()
    b = a if b is None else b
    along = (x - x0) * np.cos(phi) + (y - y0) * np.sin(phi)
    across = -(x - x0) * np.sin(phi) + (y - y0) * np.cos(phi)
    return peak * np.exp(-0.5 * (along**2 / a**2 + across**2 / b**2))


def observe(image, grid, *, sky=0.0, mask=None, unit=1.0):
    noisy = unit * (image + sky + NOISE * np.random.default_rng(5).standard_normal(image.shape))
    nddata = CCDData(
        noisy,
        unit=u.adu,
        uncertainty=StdDevUncertainty(np.full(image.shape, unit * NOISE)),
        mask=mask,
        wcs=grid.wcs,
    )
    return Observation.from_nddata(nddata, grid=grid)


@pytest.fixture
def grid():
    return PixelGrid((80, 90), SCALE * u.arcsec)


@pytest.mark.parametrize("unit", [1.0, 1e-18])
@pytest.mark.parametrize("rotation", [0, 50])
def test_moments_are_those_of_the_object_on_the_sky(unit, rotation):
    grid = PixelGrid((80, 90), SCALE * u.arcsec, rotation=rotation * u.deg)
    image = blob(grid, 0.3, -0.5, 0.9, 0.45, phi=0.6, peak=5)
    mask, moments = main_object(observe(image, grid, sky=0.3, unit=unit))
    assert mask[image > 0.2].all()
    assert moments["x"] == pytest.approx(0.3, abs=0.02)
    assert moments["y"] == pytest.approx(-0.5, abs=0.02)
    assert moments["a"] == pytest.approx(0.9, rel=0.07)
    assert moments["b"] == pytest.approx(0.45, rel=0.07)
    assert moments["phi"] == pytest.approx(0.6, abs=0.05)
    assert moments["flux"] == pytest.approx(unit * image.sum(), rel=0.03)


def test_a_neighbor_is_masked_and_the_main_object_is_not(grid):
    main, other = blob(grid, 0, 0, 0.5, peak=3), blob(grid, 2.5, 2.0, 0.25, peak=4)
    observation = observe(main + other, grid)
    mask = neighbor_mask(observation)
    assert mask[other > 5 * NOISE].all()
    assert not mask[main > 5 * NOISE].any()
    assert mask.mean() < 0.1
    spared = neighbor_mask(observation, at=(2.5, 2.0))
    assert spared[main > 5 * NOISE].all()
    assert not spared[other > 5 * NOISE].any()


def test_a_star_on_the_main_object_is_masked(grid):
    main, star = blob(grid, 0, 0, 0.9, peak=3), blob(grid, 1.2, 0.2, 0.12, peak=5)
    mask = neighbor_mask(observe(main + star, grid))
    assert mask[star > 0.3].all()
    assert not mask[blob(grid, -0.3, 0, 0.9, peak=3) > 2].any()


def test_lumps_on_both_sides_belong_to_the_main_object(grid):
    main = blob(grid, 0, 0, 0.9, peak=3)
    lumps = blob(grid, 1.0, 0.5, 0.12, peak=5) + blob(grid, -1.0, -0.5, 0.12, peak=5)
    labels, _ = find_objects(observe(main + lumps, grid))
    assert labels.max() >= 3  # they are seen
    assert not neighbor_mask(observe(main + lumps, grid)).any()


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "opposite side masked"])
def test_excess_is_what_the_opposite_side_has_not(grid, hidden):
    """Of a round galaxy with a star on it that is the star; where the other side is masked, all the light."""
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    middle, at, away = (40, 45), (43, 54), (37, 36)
    star = blob(grid, x[at], y[at], 0.12)
    other_side = np.hypot(x - x[away], y - y[away]) < 0.25
    galaxy = blob(grid, x[middle], y[middle], 0.5)
    scene = observe(galaxy + star, grid, mask=other_side if hidden else None)
    excess = excess_light(scene, (x[middle], y[middle]), find_objects(scene))
    smoothed = 1 / (1 + (1.2 * grid.side_arcsec / 0.12) ** 2)
    assert excess[at] == pytest.approx(smoothed + (galaxy[at] if hidden else 0.0), abs=0.05)
    assert np.all(excess[scene.mask] == 0)
    assert excess.min() == 0


def test_the_middle_counts_more_than_brightness(grid):
    image = blob(grid, 0, 0, 0.5, peak=3) + blob(grid, -3.9, 3.5, 0.5, peak=4)
    mask, moments = main_object(observe(image, grid))
    assert np.hypot(moments["x"], moments["y"]) < 0.05
    assert mask[40, 45]


def test_masked_pixels_are_no_objects(grid):
    image = blob(grid, 0, 0, 0.5, peak=3)
    bad = np.zeros(grid.shape, dtype=bool)
    bad[5:15, 5:15] = True
    image[bad] = 1e4
    observation = observe(image, grid, mask=bad)
    assert not neighbor_mask(observation).any()
    assert main_object(observation)[1]["flux"] == pytest.approx(2 * np.pi * 3 * 25, rel=0.05)


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_nothing_to_see(grid, level):
    observation = observe(np.full(grid.shape, level), grid)
    assert not neighbor_mask(observation).any()
    with pytest.raises(ObservationError, match="no object is significantly above"):
        main_object(observation)


def test_the_main_object_must_not_be_masked_away(grid):
    image = blob(grid, 0, 0, 0.5, peak=3)
    with pytest.raises(ObservationError, match=r"no object|masked"):
        main_object(observe(image, grid, mask=image > 0.01))
