"""Which clumps a search keeps, with evidences that are given."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest

from lenssuper import PixelGrid
from lenssuper.substructure.maps import Levels, Maps, Peak
from lenssuper.substructure.parameters import ClumpyLens, smooth_lens
from lenssuper.substructure.search import ClumpSearch

GRID, ERROR = PixelGrid((20, 20), 0.1 * u.arcsec), 0.04  # of all elements of a vector
FIRST, SECOND = Peak(0.5, 0.0, 1e9, 20.0), Peak(-0.5, 0.0, 1e9, 15.0)


@pytest.fixture
def registration(smooth):
    return ClumpyLens(smooth_lens(smooth, ()), ())


def fit_of(registration, vector, log_evidence, pull=0.0):
    """What a search asks of a fit, of one maximum to which climbs lead back if nothing is held."""
    n = len(vector)

    def climbed(other, held=()):
        cost = 0.5 * np.sum((other - vector) ** 2) / ERROR**2
        end = SimpleNamespace(vector=other, cost=cost, information=np.eye(n) / ERROR**2)
        return SimpleNamespace(refined=end) if held else fitted

    fitted = SimpleNamespace(
        registration=registration,
        refined=SimpleNamespace(vector=vector, cost=0.0, information=np.eye(n) / ERROR**2),
        climbed=climbed,
        source=SimpleNamespace(clearest=SimpleNamespace(part=SimpleNamespace(grid=GRID))),
        log_evidence=log_evidence,
        covariance=ERROR**2 * np.eye(n),
        largest_pull=pull,
    )
    return fitted


def search(registration, jaffe, log_evidence, peaks, pulls=lambda clumps: 0.0):
    """Search with evidences and pulls by the abscissas of the clumps; peaks are those of scans in turn."""
    scans = iter(peaks)

    def refit(registration, vector, **options):
        clumps = tuple(registration.of_clumps(vector).reshape(-1, 3)[:, 0].tolist())
        return fit_of(registration, vector, log_evidence(clumps), pulls(clumps))

    def rescan(fitted, finely=False):
        found = next(scans)
        return SimpleNamespace(grid=GRID, peaks=lambda n: found)

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


def test_clumps_are_weighed_again_when_a_third_leads_to_a_better_place(registration, jaffe):
    """Two clumps at wrong places do what one does at the right one, which the fit of a third leads to."""
    evidence = {(): 0.0, (0.5,): 100.0, (0.5, -0.5): 160.0, (0.5, -0.5, 0.2): 400.0, (0.2,): 405.0}
    fits = []

    def refit(registration, vector, **options):
        clumps = tuple(registration.of_clumps(vector).reshape(-1, 3)[:, 0].tolist())
        fits.append(clumps)
        if len(fits) > 1 and clumps == (0.5, -0.5) and (0.5, -0.5, 0.2) in fits:
            moved = vector.copy()  # without the third, the second takes its place
            moved[-3] = 0.2
            return fit_of(registration, moved, 403.0)
        return fit_of(registration, vector, evidence.get(clumps, 50.0))

    scans = iter([[FIRST], [SECOND], [Peak(0.2, 0.0, 1e9, 12.0)], [], []])

    def rescan(fitted, finely=False):
        found = next(scans)
        return SimpleNamespace(grid=GRID, peaks=lambda n: found)

    smooth = fit_of(registration, registration.start, 0.0)
    found = ClumpSearch(jaffe, False, 3, refit, rescan, lambda share, what: None).run(smooth, None)
    (candidate,) = found.candidates
    assert candidate.x == pytest.approx(0.2)
    assert candidate.gain == pytest.approx(405.0)
    assert found.lens.log_evidence == 405.0


def test_a_lens_within_its_priors_is_more_credible_than_a_slightly_better_one(registration, jaffe):
    evidence = {(): 0.0, (0.5,): 105.0, (-0.5,): 100.0}.get
    pulls = {(): 0.0, (0.5,): 5.0, (-0.5,): 2.0}.get
    (candidate,) = search(registration, jaffe, evidence, [[FIRST, SECOND], []], pulls).candidates
    assert candidate.x == pytest.approx(-0.5)
    assert candidate.gain == pytest.approx(100.0)
    (rival,) = candidate.rivals
    assert (rival.x, rival.higher) == pytest.approx((0.5, 5.0))
    # the less credible lens does not widen the errors: 1.2 times those of its covariance
    assert candidate.errors[0] == pytest.approx(1.2 * ERROR)
    # an evidence that is decisive wins
    evidence = {(): 0.0, (0.5,): 125.0, (-0.5,): 100.0}.get
    (candidate,) = search(registration, jaffe, evidence, [[FIRST, SECOND], []], pulls).candidates
    assert candidate.x == pytest.approx(0.5)
    assert candidate.rivals == ()


def test_fits_that_meet_in_one_place_count_as_one(registration, jaffe):
    """Those of two peaks that lead to one place leave room for the third, here the most credible one."""

    def refit(registration, vector, **options):
        vector, clumps = vector.copy(), registration.of_clumps(vector)
        if not len(clumps):
            return fit_of(registration, vector, 0.0)
        if clumps[0] < 0:
            return fit_of(registration, vector, 95.0, 2.0)
        vector[-3] = 0.6 + 0.1 * (clumps[0] - 0.6)  # not quite there
        return fit_of(registration, vector, 100.0, 5.0)

    def rescan(fitted, finely=False):
        return SimpleNamespace(grid=GRID, peaks=lambda n: [FIRST, Peak(0.8, 0.0, 1e9, 18.0), SECOND])

    smooth = fit_of(registration, registration.start, 0.0)
    found = ClumpSearch(jaffe, False, 1, refit, rescan, lambda share, what: None).run(smooth, None)
    (candidate,) = found.candidates
    assert (candidate.x, candidate.gain) == pytest.approx((-0.5, 95.0))
    (rival,) = candidate.rivals
    assert rival.x == pytest.approx(0.6, abs=0.02)


def test_errors_contain_other_maxima_by_their_evidence(registration, jaffe):
    # errors that are 1.2 times larger are those of an evidence whose logarithm counts 1.44 times less
    evidence = {(): 0.0, (0.5,): 100.0, (-0.5,): 100.0 - 1.44 * np.log(3)}.get
    (candidate,) = search(registration, jaffe, evidence, [[FIRST, SECOND], []]).candidates
    assert candidate.x == pytest.approx(0.5)
    # a quarter of the posterior is 1" away
    assert candidate.errors[0] == pytest.approx(np.sqrt((1.2 * ERROR) ** 2 + 0.25))
    assert candidate.errors[1] == pytest.approx(1.2 * ERROR)


@pytest.mark.parametrize("valley", [0.55, 0.75])
def test_a_better_maximum_close_by_is_found(registration, jaffe, valley):
    """A pixel aside, and three, on the other side of an arc."""

    def refit(registration, vector, **options):
        clumps = registration.of_clumps(vector)
        if not len(clumps):
            return fit_of(registration, vector, 0.0)
        x = float(clumps[0])
        fitted = fit_of(registration, vector, 30.0 if x == 0.5 else 40.0)

        def climbed(other, held=()):
            # a valley between the maxima at 0.5 and 0.7
            end = vector.copy()
            end[-3] = 0.7 if other[-3] > valley else 0.5
            return climb(other, held) if held else refit(registration, end)

        climb, fitted.climbed = fitted.climbed, climbed
        return fitted

    def rescan(fitted, finely=False):
        return SimpleNamespace(grid=GRID, peaks=lambda n: [FIRST])

    smooth = fit_of(registration, registration.start, 0.0)
    found = ClumpSearch(jaffe, False, 1, refit, rescan, lambda share, what: None).run(smooth, None)
    (candidate,) = found.candidates
    assert (candidate.x, candidate.gain) == pytest.approx((0.7, 40.0))


def test_a_clump_that_is_not_there_has_the_errors_of_the_curvature(registration, jaffe):
    # of two maxima, the clump is needed in neither
    evidence = {(): 0.0, (0.5,): -5.0, (-0.5,): -5.5}.get
    (candidate,) = search(registration, jaffe, evidence, [[FIRST, SECOND]]).candidates
    assert candidate.gain == pytest.approx(-5.0)
    assert candidate.errors == pytest.approx(3 * [1.2 * ERROR])


def test_both_scans_give_starts(registration, jaffe):
    started = []

    def refit(registration, vector, **options):
        started.append(float(registration.of_clumps(vector)[0]))
        return fit_of(registration, vector, -1.0)

    scans = iter([[FIRST], [SECOND]])

    def rescan(fitted, finely=False):
        found = next(scans)
        return SimpleNamespace(grid=GRID, peaks=lambda n: found)

    smooth, plain = (fit_of(registration, registration.start, 0.0) for _ in range(2))
    ClumpSearch(jaffe, False, 1, refit, rescan, lambda share, what: None).run(smooth, plain)
    assert {0.5, -0.5} <= set(started)


def test_a_galaxy_is_no_start_where_there_are_lighter_ones(registration, jaffe):
    started = []

    def refit(registration, vector, **options):
        started.append(float(registration.of_clumps(vector)[0]))
        return fit_of(registration, vector, -1.0)

    galaxy = Peak(0.0, 0.9, 1e11, 30.0)

    def rescan(fitted, finely=False):
        return SimpleNamespace(grid=GRID, peaks=lambda n: [galaxy, FIRST])

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
