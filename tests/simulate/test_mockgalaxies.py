"""Simulated galaxies: the seed fixes them, and they are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import Observation
from lenssuper.simulate import HST_ACS_F814W, Instrument, SersicSource, mock_galaxies, mock_galaxy


@pytest.fixture(scope="module")
def galaxies():
    return mock_galaxies(5, 3, shape=(40, 40))


def test_the_seed_fixes_them(galaxies):
    again = mock_galaxies(2, 3, shape=(40, 40))
    for one, other in zip(galaxies[:2], again, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert not np.array_equal(galaxies[0].data, mock_galaxies(1, 4, shape=(40, 40))[0].data)


def test_each_kind_in_turn(galaxies):
    kinds = [galaxy.meta["KIND"] for galaxy in galaxies]
    assert kinds == ["spiral", "barred", "edge-on", "elliptical", "disturbed"]


def test_they_are_observations_with_a_galaxy_in_the_middle(galaxies):
    for galaxy in galaxies:
        observation = Observation.from_nddata(galaxy)
        assert observation.shape == (40, 40)
        assert observation.psf is not None
        snr = observation.data / observation.sigma
        assert 35 < snr.max() < 160
        light = np.where(snr > 5, observation.data, 0)
        x, y = (c.to_value(u.arcsec) for c in observation.grid.centers)
        center = [np.sum(light * c) / light.sum() for c in (x, y)]
        assert np.hypot(*center) < 0.6
        assert 0.03 < np.mean(snr > 5) < 0.9


def test_edge_on_galaxies_are_flat(galaxies):
    def flatness(galaxy):
        observation = Observation.from_nddata(galaxy)
        light = np.where(observation.data > 5 * observation.sigma, observation.data, 0)
        x, y = (c.to_value(u.arcsec) for c in observation.grid.centers)
        moments = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=light.ravel())
        small, large = np.linalg.eigvalsh(moments)
        return np.sqrt(small / large)

    shapes = {galaxy.meta["KIND"]: flatness(galaxy) for galaxy in galaxies}
    assert shapes["edge-on"] < 0.45
    assert shapes["elliptical"] > 0.55


def test_one_galaxy_is_its_profile_through_the_telescope():
    """Flux and peak S/N are those asked for, and nothing is lensed."""
    instrument = Instrument.gaussian(0.1 * u.arcsec, 0.2 * u.arcsec)
    source = SersicSource(0.4 * u.arcsec, n=1.0, q=0.7, amplitude=50.0)
    galaxy = mock_galaxy(source, instrument, shape=(80, 80), rng=1)
    assert galaxy.data.sum() == pytest.approx(source.flux / 0.1**2, rel=0.01)
    scaled = mock_galaxy(source, HST_ACS_F814W, shape=(40, 40), peak_snr=60, rng=1)
    assert (scaled.data / scaled.uncertainty.array).max() == pytest.approx(60, rel=0.1)


def test_how_many_is_checked():
    assert mock_galaxies(0) == []
    with pytest.raises(TypeError, match="n must be an integer"):
        mock_galaxies(1.5)
    with pytest.raises(ValueError, match="n must be at least 0"):
        mock_galaxies(-1)
