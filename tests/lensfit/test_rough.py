"""Fits on larger pixels, that are improved afterwards."""

import astropy.units as u
import numpy as np
import pytest

from lenssuper import LensFitter
from lenssuper.lensfit import exposure as rules
from lenssuper.lensfit import refine as steps
from lenssuper.lensfit import sourceplane
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.lensedsource import LensedSource
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.refine import cost_of, refine, seen_by, settled
from lenssuper.lensfit.registration import Registration
from lenssuper.lensfit.sourceplane import light_grid
from lenssuper.observation import Observation
from lenssuper.solvers.priors import GradientPrior


@pytest.fixture
def few(monkeypatch):
    """Let fields of 392 pixels and more be taken as large."""
    monkeypatch.setattr(rules, "_ROUGHLY", 98)


@pytest.fixture
def masked(mock):
    mask = np.random.default_rng(3).random((28, 28)) < 0.1
    mask[10:12, 4:6] = True
    return Observation.of(mock.observation).masked(mask)


def source_of(exposure, lens):
    return LensedSource((exposure,), (0,), 1, Registration(FreeParameters(lens)), GradientPrior())


def test_pixels_are_averaged_by_their_weights(masked):
    parts = np.random.default_rng(1).normal(size=(2, 28, 28))
    exposure = Exposure.of(masked, parts).within((0.0, 0.0), 1.5)
    large = exposure.binned(2)
    rows, columns = exposure.cut
    weights = np.where(exposure.field, exposure.arcs.weights, 0.0)
    used = 0
    for row in range((rows.stop - rows.start) // 2):
        for column in range((columns.stop - columns.start) // 2):
            first = rows.start + 2 * row, columns.start + 2 * column
            small = np.s_[first[0] : first[0] + 2, first[1] : first[1] + 2]
            assert large.field[row, column] == (np.count_nonzero(weights[small]) >= 2)
            if not large.field[row, column]:
                continue
            used += 1
            total = weights[small].sum()
            mean = np.sum(weights[small] * exposure.arcs.data[small]) / total
            assert large.arcs.data[row, column] == pytest.approx(mean, rel=1e-12)
            assert large.arcs.weights[row, column] == pytest.approx(total, rel=1e-12)
            for k in range(2):
                expected = np.sum(weights[small] * exposure.foreground.parts[k][small]) / total
                assert large.foreground.parts[k, row, column] == pytest.approx(expected, rel=1e-12)
    assert used > 80
    middle = exposure.arcs[exposure.cut].grid.binned(2).middle_arcsec()
    np.testing.assert_allclose(large.arcs.grid.middle_arcsec(), middle, atol=1e-12)


def test_only_large_fields_have_larger_pixels(masked, few):
    exposure = Exposure.of(masked, None)
    assert exposure.coarsest == 2
    assert exposure.within((0.0, 0.0), 0.8).coarsest == 1
    assert exposure.binned(1) is exposure


def test_a_source_without_light_in_larger_pixels_stays_as_it_is(mock, truth, few):
    exposure = Exposure.of(Observation.of(mock.observation), None)
    source = source_of(exposure, truth)
    assert source.rough is not source
    assert source.rough.exposures[0].part.shape == (14, 14)
    small = source_of(exposure.within((0.0, 0.0), 0.8), truth)
    assert small.rough is small


def test_a_lens_from_larger_pixels_has_the_evidence_of_all_pixels(mock, truth, few):
    source = source_of(Exposure.of(Observation.of(mock.observation), None), truth)
    vector, rng = source.registration.begin(source.registration.parameters.start), np.random.default_rng(1)
    rough = refine([source.rough], vector, rng, lambda share, what: None, rounds=2)
    seen = seen_by([source], rough, np.random.default_rng(1))
    np.testing.assert_array_equal(seen.vector, rough.vector)
    assert len(seen.inversions[0].residuals) == 28**2
    direct = refine([source], vector, np.random.default_rng(1), lambda share, what: None)
    # the lens of larger pixels is close to that of all, and so is its evidence
    assert 0 <= seen.cost - direct.cost + 1 < 12
    moved = rough.vector - direct.vector
    assert moved @ direct.information @ moved < 16 * len(moved)


def test_a_fit_that_begins_on_larger_pixels_ends_at_the_same_lens(mock, truth, few, fit):
    rough = LensFitter(truth.parameters["SIE.theta_E"] * 1.1, rng=1).roughly()(mock.observation)
    radii = [each.lens.einstein_radius().to_value(u.arcsec) for each in (rough, fit)]
    assert radii[0] == pytest.approx(radii[1], rel=0.01)
    assert radii[0] == pytest.approx(0.9, rel=0.02)
    assert rough.n_pixels == fit.n_pixels


def test_tolerance_is_added_to_the_noise_in_quadrature(masked):
    exposure = Exposure.of(masked, None)
    tolerant = exposure.tolerant(0.3)
    arcs = np.quantile(exposure.part.data[exposure.bright], 0.98)
    used = exposure.weights > 0
    np.testing.assert_array_equal(tolerant.weights > 0, used)
    variance = 1 / exposure.weights[used] + (0.3 * arcs) ** 2
    np.testing.assert_allclose(1 / tolerant.weights[used], variance, rtol=1e-12)
    np.testing.assert_array_equal(tolerant.bright, exposure.bright)
    assert tolerant.binned(2).tolerance == 0.3
    dark = Exposure.of(masked.with_data(np.zeros(masked.shape)), None)
    np.testing.assert_array_equal(dark.tolerant(0.3).weights, dark.weights)


def test_a_source_that_may_be_bright_anywhere_frees_a_lens(mock, truth):
    source = source_of(Exposure.of(Observation.of(mock.observation), None), truth).tolerant(0.1)
    registration = source.registration
    right = registration.begin(registration.parameters.start)
    aside = right + registration.spread * np.array([1.0, -1.0, 1.0, 0.5, -0.5, 0.5, -0.5])
    moved = settled([source], aside, np.random.default_rng(1)).vector
    costs = [cost_of([source], vector) for vector in (aside, moved, right)]
    assert costs[1] < costs[0] - 5
    assert costs[1] < costs[2] + 2
    off = (moved - right) / registration.spread
    assert np.abs(off).max() < 0.6


def test_a_lost_lens_is_not_returned(mock, truth, monkeypatch):
    source = source_of(Exposure.of(Observation.of(mock.observation), None), truth).tolerant(0.1)
    begin = source.registration.begin(source.registration.parameters.start)
    begin[source.registration.parameters.is_radius] += 0.2
    monkeypatch.setattr(steps, "_LOST", 0.5)
    assert settled([source], begin, np.random.default_rng(1)) is None


def test_no_more_source_pixels_than_data_can_tell_apart(masked, truth, monkeypatch):
    monkeypatch.setattr(sourceplane, "_ENOUGH", 600)
    exposure = Exposure.of(masked, None)
    side, n_data = exposure.part.grid.side_arcsec, np.count_nonzero(exposure.field)
    coarse, fine = (light_grid(exposure, truth, finer) for finer in (1.0, 50.0))
    assert coarse.side_arcsec == pytest.approx(side)
    # FFTs ask for somewhat more
    assert 1.5 * n_data <= np.prod(fine.shape) < 1.7 * n_data
    assert fine.side_arcsec < side
