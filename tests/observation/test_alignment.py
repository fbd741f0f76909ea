"""Observations of one lens, counted from one point of the sky."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import Observation, PixelGrid
from lenssuper.exceptions import ObservationError
from lenssuper.observation.alignment import aligned

PLACE = SkyCoord(150 * u.deg, 2 * u.deg)
NEARBY = PLACE.spherical_offsets_by(-0.5 * u.arcsec, 0.2 * u.arcsec)


def image(reference=None, n=8, **options):
    grid = PixelGrid((n, n), 0.1 * u.arcsec, reference=reference, **options)
    return CCDData(np.ones((n, n)), unit="adu", uncertainty=StdDevUncertainty(np.ones((n, n))), wcs=grid.wcs)


def test_the_first_one_gives_the_zero():
    first, second = aligned([image(PLACE), image(NEARBY, rotation=30 * u.deg)])
    np.testing.assert_allclose(first.grid.center.value, 0, atol=1e-6)
    # x is to the west, right ascension to the east
    np.testing.assert_allclose(second.grid.center.value, [0.5, 0.2], atol=1e-6)
    assert second.grid.rotation.to_value(u.deg) == pytest.approx(30)


def test_a_reference_is_the_zero_of_all():
    observations = [Observation.from_nddata(image(place), reference=NEARBY) for place in (PLACE, NEARBY)]
    first, second = aligned(observations)
    assert first is observations[0]
    np.testing.assert_allclose(first.grid.center.value, [-0.5, -0.2], atol=1e-6)
    np.testing.assert_allclose(second.grid.center.value, 0, atol=1e-6)


def test_offsets_move_pixels():
    offsets = [[0, 0], [30, -40]] * u.mas
    first, second = aligned([image(PLACE), image(PLACE)], offsets)
    np.testing.assert_allclose(first.grid.center.value, 0, atol=1e-6)
    np.testing.assert_allclose(second.grid.center.value, [0.03, -0.04], atol=1e-6)


def test_what_is_open_stays_as_it_is():
    observation = Observation.from_nddata(image())
    assert Observation.of(observation, reference=PLACE) is observation
    assert Observation.of(image(PLACE), reference=NEARBY).grid.reference.separation(NEARBY) < 1e-6 * u.arcsec


@pytest.mark.parametrize(
    ("images", "offsets", "error", "message"),
    [
        ([], None, ValueError, "at least one"),
        (
            [image(), image(PLACE)],
            None,
            ObservationError,
            "position of an observation on the sky",
        ),
        ([image(PLACE), image()], None, ValueError, "the wcs is not celestial"),
        ([image(PLACE)], [[0, 0]], TypeError, "offsets must be a Quantity"),
        ([image(PLACE)], [[0, 0]] * u.kg, ValueError, "offsets"),
        ([image(PLACE)], [0, 0] * u.arcsec, ValueError, r"\(x, y\) for each of 1 observations"),
        ([image(PLACE)], [[0, np.nan]] * u.arcsec, ValueError, "offsets"),
    ],
)
def test_what_cannot_be_aligned(images, offsets, error, message):
    with pytest.raises(error, match=message):
        aligned(images, offsets)


def test_others_are_counted_from_the_reference_of_the_first():
    observations = [Observation.from_nddata(image(place)) for place in (PLACE, NEARBY)]
    first, second = aligned(observations)
    assert first is observations[0]
    np.testing.assert_allclose(second.grid.center.value, [0.5, 0.2], atol=1e-6)
