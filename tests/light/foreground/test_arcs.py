"""Arcs beside a galaxy: found with a model and without, and not found where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import Observation, PixelGrid
from lenssuper.light.foreground.arcs import find_arcs, first_arcs

NOISE, SKY = 0.02, 0.1
GRID = PixelGrid((101, 101), 0.05 * u.arcsec)
X, Y = np.broadcast_arrays(*GRID.centers_arcsec())
RADIUS, ANGLE = np.hypot(X, Y), np.arctan2(Y, X)
CORE = RADIUS < 0.2
GALAXY = 3 * np.exp(-RADIUS / 0.4) + SKY
RING = 0.6 * np.exp(-0.5 * ((RADIUS - 1.3) / 0.1) ** 2)


def observe(image):
    noisy = image + NOISE * np.random.default_rng(2).standard_normal(image.shape)
    sigma = StdDevUncertainty(np.full(image.shape, NOISE))
    return Observation.from_nddata(CCDData(noisy, unit=u.adu, uncertainty=sigma), grid=GRID)


@pytest.mark.parametrize("arc", [RING, RING * (np.abs(ANGLE - 0.5) < 1)], ids=["ring", "arc"])
def test_finds_arcs_and_not_the_galaxy(arc):
    observation = observe(GALAXY + arc)
    for found in (find_arcs(observation, GALAXY, SKY, CORE), first_arcs(observation, (0, 0), SKY, CORE)):
        assert np.mean(found[arc > 0.2]) > 0.97
        assert np.mean(found[arc < 0.01]) < 0.15
        assert not found[RADIUS < 0.6].any()


def test_nothing_where_there_is_nothing():
    observation = observe(GALAXY)
    assert not find_arcs(observation, GALAXY, SKY, CORE).any()
    assert not first_arcs(observation, (0, 0), SKY, CORE).any()


def test_what_the_model_may_be_wrong_by_is_no_arc():
    observation = observe(GALAXY + 0.1 * (GALAXY - SKY) * np.cos(2 * ANGLE))
    assert not find_arcs(observation, GALAXY, SKY, CORE).any()


def test_the_core_is_spared():
    observation = observe(GALAXY + 5 * np.exp(-0.5 * (RADIUS / 0.05) ** 2))
    assert not find_arcs(observation, GALAXY, SKY, CORE)[CORE].any()
