"""Counts of subhaloes in many lenses, against closed forms."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from scipy import integrate, stats

from lenssuper import PixelGrid
from lenssuper.simulate import ColdSubhaloes
from lenssuper.substructure import SubhaloCounts, SubstructureResult, TidalHalo, subhalo_counts

CDM = ColdSubhaloes(mean_number=1000, radius=2 * u.arcsec, mass=(1e6, 1e10) * u.Msun)


def searched(seen, n_detected=0):
    """The result of a search that would see a mass in each of 20 x 20 pixels of 0.1 arcsec."""
    result = object.__new__(SubstructureResult)
    grid = PixelGrid((20, 20), 0.1 * u.arcsec)
    maps = SimpleNamespace(grid=grid, sensitivity=lambda sigmas: np.full(grid.shape, seen))
    candidates = (SimpleNamespace(detected=True),) * n_detected
    for name, value in {"profile": TidalHalo(0.5, 1.0), "maps": maps, "candidates": candidates}.items():
        object.__setattr__(result, name, value)
    return result


@pytest.mark.parametrize("slope", [-1.9, -1.0])
def test_expected_number_is_the_integral_of_the_mass_function(slope):
    cdm = ColdSubhaloes(mean_number=1000, radius=2 * u.arcsec, mass=(1e6, 1e10) * u.Msun, slope=slope)
    counts = subhalo_counts([searched(1e9), searched(np.nan), searched(1e12)], cdm)

    def number(low):
        return integrate.quad(lambda t: np.exp((slope + 1) * t), np.log(low), np.log(1e10))[0]

    area = 4.0 / (4 * np.pi)
    assert counts.expected[0] == pytest.approx(1000 * area * number(1e9) / number(1e6), rel=1e-6)
    # none is seen where not even the largest mass would be
    np.testing.assert_allclose(counts.expected[1:], 0, atol=1e-9)


def test_likelihood_is_that_of_poisson():
    counts = SubhaloCounts(np.array([0.5, 2.0, 0.0]), np.array([1, 2, 0]))
    expected = stats.poisson.logpmf([1, 2], [0.75, 3.0]).sum()
    assert counts.log_likelihood(1.5) == pytest.approx(expected)
    assert counts.log_likelihood(0.0) == -np.inf
    assert SubhaloCounts(np.array([0.5]), np.array([0])).log_likelihood(0.0) == 0


def test_upper_limit_of_no_detection_is_three_events():
    counts = subhalo_counts([searched(1e8), searched(1e8)], CDM)
    assert counts.upper_limit() == pytest.approx(-np.log(0.05) / counts.expected.sum())
    more = subhalo_counts([searched(1e8, 2), searched(1e8)], CDM)
    assert more.upper_limit() > counts.upper_limit()
    assert SubhaloCounts(np.zeros(2), np.zeros(2, dtype=int)).upper_limit() == np.inf


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        subhalo_counts([], CDM)
    with pytest.raises(TypeError, match="mass_function must be a ColdSubhaloes"):
        subhalo_counts([searched(1e8)], 3)
    with pytest.raises(TypeError, match="each of results"):
        subhalo_counts([3], CDM)
