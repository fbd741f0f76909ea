"""Which clumps a search keeps, with evidences that are given."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest

from lenssuper import PixelGrid
from lenssuper.substructure.maps import Levels, Maps, Peak
from lenssuper.substructure.parameters import ClumpyLens, smooth_lens
from lenssuper.substructure.search import ClumpSearch

FIRST, SECOND = Peak(0.5, 0.0, 1e9, 20.0), Peak(-0.5, 0.0, 1e9, 15.0)


@pytest.fixture
def registration(smooth):
    return ClumpyLens(smooth_lens(smooth, ()), ())


def fit_of(registration, vector, log_evidence):
    """What a search asks of a fit."""
    return SimpleNamespace(
        registration=registration,
        refined=SimpleNamespace(vector=vector),
        log_evidence=log_evidence,
        covariance=np.eye(len(vector)),
    )


def search(registration, jaffe, log_evidence, peaks):
    """Search with evidences by the abscissas of the clumps; peaks are those of one scan after another."""
    scans, grid = iter(peaks), PixelGrid((20, 20), 0.1 * u.arcsec)

    def refit(registration, vector, **options):
        clumps = registration.of_clumps(vector).reshape(-1, 3)
        return fit_of(registration, vector, log_evidence(tuple(clumps[:, 0].tolist())))

    def rescan(fitted, finely=False):
        found = next(scans)
        return SimpleNamespace(grid=grid, peaks=lambda n: found)

    smooth = fit_of(registration, registration.start, 0.0)
    return ClumpSearch(jaffe, False, 2, refit, rescan, lambda share, what: None).run(smooth, None)


def test_a_lens_that_was_not_at_its_best_makes_no_detection(registration, jaffe):
    # the fit with the clump has led to a better smooth lens
    found = search(registration, jaffe, {(): 95.0, (0.5,): 100.0}.get, [[FIRST], []])
    (candidate,) = found.candidates
    assert not candidate.detected
    assert candidate.gain == pytest.approx(5.0)
    assert found.lens is found.smooth
    assert found.smooth.log_evidence == 95.0


def test_a_clump_that_another_makes_superfluous_is_dropped(registration, jaffe):
    evidence = {(): 0.0, (0.5,): 100.0, (0.5, -0.5): 160.0, (-0.5,): 155.0}.get
    found = search(registration, jaffe, evidence, [[FIRST], [SECOND], []])
    (candidate,) = found.candidates
    assert candidate.x == pytest.approx(-0.5)
    assert candidate.gain == pytest.approx(155.0)
    assert found.lens.log_evidence == 155.0


def test_clumps_that_are_both_needed_are_kept(registration, jaffe):
    evidence = {(): 0.0, (0.5,): 100.0, (0.5, -0.5): 160.0, (-0.5,): 50.0}.get
    found = search(registration, jaffe, evidence, [[FIRST], [SECOND], []])
    assert [each.x for each in found.candidates] == [0.5, -0.5]
    assert [each.gain for each in found.candidates] == pytest.approx([110.0, 60.0])


def test_both_scans_give_starts(registration, jaffe):
    grid = PixelGrid((20, 20), 0.1 * u.arcsec)
    started = []

    def refit(registration, vector, **options):
        started.append(float(registration.of_clumps(vector)[0]))
        return fit_of(registration, vector, -1.0)

    scans = iter([[FIRST], [SECOND]])

    def rescan(fitted, finely=False):
        found = next(scans)
        return SimpleNamespace(grid=grid, peaks=lambda n: found)

    smooth, plain = (fit_of(registration, registration.start, 0.0) for _ in range(2))
    ClumpSearch(jaffe, False, 1, refit, rescan, lambda share, what: None).run(smooth, plain)
    assert {0.5, -0.5} <= set(started)


def test_a_galaxy_is_no_start_where_there_are_lighter_ones(registration, jaffe):
    started = []

    def refit(registration, vector, **options):
        started.append(float(registration.of_clumps(vector)[0]))
        return fit_of(registration, vector, -1.0)

    grid = PixelGrid((20, 20), 0.1 * u.arcsec)
    galaxy = Peak(0.0, 0.9, 1e11, 30.0)

    def rescan(fitted, finely=False):
        return SimpleNamespace(grid=grid, peaks=lambda n: [galaxy, FIRST])

    smooth = fit_of(registration, registration.start, 0.0)
    ClumpSearch(jaffe, False, 1, refit, rescan, lambda share, what: None).run(smooth, None)
    assert 0.0 not in started
    assert 0.5 in started


def test_the_peak_of_a_light_perturber_is_not_hidden_by_that_of_a_heavy_one():
    grid = PixelGrid((21, 21), 0.1 * u.arcsec)
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    heavy = 12 * np.exp(-(x**2 + y**2) / (2 * 0.8**2))
    light = 8 * np.exp(-((x - 0.6) ** 2 + y**2) / (2 * 0.1**2))
    numerators = np.stack([light, heavy])  # of information 1
    maps = Maps(grid, 0, np.array([1e8, 1e10]), numerators, np.ones_like(numerators), Levels(5.0, 9.0, 0.0))
    first, second = maps.peaks(5)
    assert (first.x, first.y, first.mass) == pytest.approx((0.0, 0.0, 1.2e11))
    assert (second.x, second.y, second.mass) == pytest.approx((0.6, 0.0, 8e8))
    assert second.significance == pytest.approx(8.0)
    assert len(maps.peaks(1)) == 1
