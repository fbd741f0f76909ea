"""The error budget: responses beside full solutions, information beside linear algebra, draws, table."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from scipy import stats

from lenssuper import ForwardModel, Observation, SuperResolution, SuperResolver, Systematics
from lenssuper.exceptions import LensSuperWarning
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian, GradientPrior, LogNormal
from lenssuper.superres.response import respond
from lenssuper.superres.systematics import Change, stretched

# pixels along a side of the source, so that all matrices are small; the second is still solved with matrices
GRID, FINE = 16, 24
ALL = {"psf": 0.03, "noise": 0.01, "sky": 0.02}


@pytest.fixture(scope="module")
def mock():
    return random_mock(11, shape=(26, 26))


@pytest.fixture(scope="module")
def solved(mock):
    """A linear problem: model, posterior, whitened matrix, prior's precision."""
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, GRID)
    model = ForwardModel(mock.observation, mock.lens, source_grid=grid)
    posterior = Gaussian(GradientPrior(), n_draws=2).solve(model, rng=1)
    return model, posterior


def resolved(mock, solver, systematics=None, lens=None, pixels=FINE):
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, pixels)
    given = {"solver": solver, "source_grid": grid, "systematics": systematics}
    return SuperResolver(lens or mock.lens, rng=1, progress=False, **given)(mock.observation)


def dense(model):
    eye = np.eye(GRID**2).reshape(-1, GRID, GRID)
    return model.whiten(model.forward(eye)).reshape(GRID**2, -1).T


def precision(posterior):
    eye = np.eye(GRID**2).reshape(-1, GRID, GRID)
    return posterior.hyperparameters["strength"] * GradientPrior().apply(eye).reshape(GRID**2, -1)


def log_evidence(model, prior):
    """Suyu et al. 2006, eq. 19, with dense matrices."""
    matrix, data = dense(model), model.whiten(model.data).ravel()
    covariance = np.eye(data.size) + matrix @ np.linalg.solve(prior, matrix.T)
    return (
        -0.5 * (data @ np.linalg.solve(covariance, data) + np.linalg.slogdet(covariance)[1]) + model.log_norm
    )


@pytest.mark.parametrize("what", ["PSF width", "sky", "noise"])
def test_score_and_information_are_those_of_the_evidence(solved, what):
    """Finite differences of the evidence, with dense matrices, and its expected curvature."""
    model, posterior = solved
    (change,) = [c for c in Systematics(**ALL).changes(model) if c.name == what]
    prior = precision(posterior)
    matrix = dense(model)
    covariance = np.linalg.inv(matrix.T @ matrix + prior)
    noise = np.random.default_rng(2).multivariate_normal(np.zeros(GRID**2), covariance, 1000)
    draws = posterior.mean + np.concatenate([noise, -noise]).reshape(-1, GRID, GRID)
    found = respond(model, posterior, change, draws)
    values = [log_evidence(each, prior) for each in (change.minus, model, change.plus)]
    scatter = np.sqrt(max(found.own_information, 0.01))
    assert abs(found.score - (values[2] - values[0]) / 2) < 0.1 * scatter + 0.05
    if what == "noise":
        return
    curvature = 2 * values[1] - values[0] - values[2]
    np.testing.assert_allclose(found.own_information, curvature, rtol=0.25, atol=0.1)


def test_source_follows_a_change_as_if_solved_again(solved):
    model, posterior = solved
    (change, *_) = Systematics(psf=0.03).changes(model)
    prior = precision(posterior)
    found = respond(model, posterior, change, posterior.draws)
    expected = []
    for each in (change.plus, change.minus):
        matrix = dense(each)
        expected.append(np.linalg.solve(matrix.T @ matrix + prior, matrix.T @ each.whiten(each.data).ravel()))
    expected = (expected[0] - expected[1]).reshape(GRID, GRID) / 2
    np.testing.assert_allclose(found.source, expected, atol=2e-3 * np.abs(expected).max())


def test_linear_draws_are_like_full_solutions(mock):
    """The default solver: a lens that is 0.25% off and a PSF that is 1.5% off, both at once."""
    solver = LogNormal(n_draws=4, max_evaluations=5)
    errors = Systematics(lens={"SIE.theta_E": 0.0025 * u.arcsec}, psf=0.015)
    result = resolved(mock, solver, errors)
    budget = result.budget
    model = ForwardModel(mock.observation, mock.lens, source_grid=result.source_grid, order=1)
    lens = mock.lens.replace(**{"SIE.theta_E": mock.lens.parameters["SIE.theta_E"] + 0.0025 * u.arcsec})
    psf = stretched(model.observation.psf, 1.015 * np.eye(2))
    posterior = solver.solve(model, rng=1)
    full = model.with_lens(lens).with_psf(psf)
    expected = full.lensed_image(posterior.refit(full)) - model.lensed_image(posterior.mean)
    by_name = {each.change.name: each.image for each in budget.responses}
    found = by_name["SIE.theta_E"] + by_name["PSF width"]
    bright = budget.bright[1]
    assert np.std((found - expected)[bright]) < 0.15 * np.std(expected[bright])


@pytest.fixture(scope="module")
def result(mock):
    light = np.full((26, 26), 0.01)
    errors = Systematics(**ALL, lens={"SIE.theta_E": 0.02 * u.arcsec}, light=light)
    return resolved(mock, Gaussian(n_draws=4), errors)


def test_errors_are_those_of_all_parts(mock, result):
    budget = result.budget
    assert budget.parts == (
        "noise", "prior of the source", "lens", "PSF", "sky", "light in front", "noise map"
    )  # fmt: skip
    total = sum(budget.variances[part][1] for part in budget.parts)
    np.testing.assert_allclose(result.lensed_std**2, total, rtol=1e-10)
    plain = resolved(mock, Gaussian(n_draws=4))
    assert np.all(result.posterior.std >= plain.posterior.std * (1 - 1e-9))
    np.testing.assert_array_equal(result.source.data, plain.source.data)
    assert len(result.samples(64)) == len(result.image_samples(64)) == 64
    spread = np.std(result.image_samples(64).value, axis=0)[budget.bright[1]]
    np.testing.assert_allclose(np.median(spread / result.lensed_std[budget.bright[1]]), 1, atol=0.25)


def test_errors_of_the_light_in_front_come_with_the_observation(mock, result):
    """They are of a fit to these data, which say no more of them; others that are given replace them."""
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, FINE)
    bright = Observation.of(mock.observation)
    light = np.full((1, 26, 26), 0.01)
    left = bright.without(np.zeros(bright.shape), errors=light)
    given = {"solver": Gaussian(n_draws=4), "source_grid": grid, "rng": 1, "progress": False}
    found = SuperResolver(mock.lens, systematics=Systematics(), **given)(left)
    assert found.budget.parts == ("noise", "prior of the source", "light in front")
    (own,) = found.budget.responses
    assert own.change.fitted
    np.testing.assert_allclose(found.budget.std("light in front"), np.abs(own.image), rtol=1e-10)
    (same,) = [each for each in result.budget.responses if each.change.part == "light in front"]
    np.testing.assert_allclose(own.source, same.source, rtol=1e-6, atol=1e-9)
    model = ForwardModel(left, mock.lens)
    (other,) = Systematics(light=2 * light).changes(model)
    assert not other.fitted
    assert (own.change.degrees, other.degrees) == (3.0, np.inf)
    # without being asked, too, with the draws there are
    plain = SuperResolver(mock.lens, **given)(left)
    np.testing.assert_allclose(plain.budget.std("light in front"), found.budget.std("light in front"))
    assert (len(plain.image_samples(4)), len(found.image_samples(64))) == (4, 64)
    with pytest.raises(ValueError, match="n must be at most 4, the draws of the error budget; got 5"):
        plain.image_samples(5)


@pytest.mark.parametrize("degrees", [3.0, np.inf])
def test_wide_tails_are_those_of_students_distribution(degrees):
    """Within minus and plus one are 68% whatever the tails; within the next levels what scipy has."""
    change = Change("light in front", "light 1", None, None, degrees=degrees)
    rng = np.random.default_rng(4)
    normal = rng.standard_normal(100_000)
    drawn = change.drawn(normal, rng)
    expected = stats.t(degrees) if np.isfinite(degrees) else stats.norm
    for sigma in (1.0, 2.0, 3.0):
        level = stats.norm.cdf(sigma) - stats.norm.cdf(-sigma)
        width = expected.ppf(0.5 + level / 2) / expected.ppf(stats.norm.cdf(1.0))
        assert np.mean(np.abs(drawn) < width) == pytest.approx(level, abs=0.006)
    np.testing.assert_array_equal(np.sign(drawn), np.sign(normal))


def test_errors_of_the_light_in_front_that_cannot_be_counted_are_named(mock):
    bright = Observation.of(mock.observation)
    left = bright.without(np.zeros(bright.shape), errors=np.full((1, 26, 26), 0.01))
    grid = square_source_grid(bright, mock.lens, 2, GRID)
    given = {"solver": Gaussian(n_draws=4), "source_grid": grid, "rng": 1, "progress": False}
    with pytest.warns(LensSuperWarning, match="error bars do not contain"):
        results = SuperResolver(mock.lens, **given).joint([left, bright])
    assert all("light in front" in result.messages[-1] for result in results)
    assert results[0].budget is None


def test_magnification_has_the_error_of_the_lens(mock, result):
    """Its scatter is that of the lens, as the magnification of a fixed source changes with it."""
    table = result.measure()
    spread = (table["magnification"][2] - table["magnification"][0]) / 2
    theta_E = mock.lens.parameters["SIE.theta_E"]
    values = []
    for sign in (1, -1):
        lens = mock.lens.replace(**{"SIE.theta_E": theta_E + sign * 0.02 * u.arcsec})
        lensing = ForwardModel(mock.observation, lens, source_grid=result.source_grid).lensing
        light = np.where(result.aperture, result.posterior.mean, 0)
        values.append(np.sum(light * lensing.magnification) / light.sum())
    # the mapping of the dark part of the error, and 64 draws, leave some difference
    (lens_error,) = (c["error"] for c in result.budget.changes if c["part"] == "lens")
    assert spread > 0.5 * lens_error * abs(values[0] - values[1]) / 2
    sums = sum(table[name] for name in table.colnames if name.startswith("magnification_"))
    assert np.all(np.isfinite(sums))


def test_a_file_holds_the_lens_of_each_draw(result, tmp_path):
    result.write(tmp_path / "out.fits")
    same = SuperResolution.read(tmp_path / "out.fits")
    before, after = result.measure(), same.measure()
    assert before["magnification"][2] - before["magnification"][0] > 0.02
    for name in before.colnames:
        np.testing.assert_allclose(after[name].value, before[name].value, rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(same.image_samples(9), result.image_samples(9), rtol=1e-6)
    # some of the draws, each with its own lens
    every = result.measure_draws()
    for each in (result, same):
        some, rows = each.measure_draws(10, rng=1), each.posterior.kept(10, rng=1)
        # apart from their mean, which is that of the source
        together = np.corrcoef(some["magnification"].value, every["magnification"][rows].value)
        assert together[0, 1] > 0.95
        np.testing.assert_allclose(each.image_samples(10, rng=1), result.image_samples(64)[rows], rtol=1e-6)


def test_an_old_file_without_the_lens_of_each_draw_says_so(result, tmp_path):
    replace(result, drawn_errors=None, budget=None).write(tmp_path / "old.fits")
    old = SuperResolution.read(tmp_path / "old.fits")
    for errors_of in (old.measure, lambda: old.image_samples(2)):
        with pytest.warns(LensSuperWarning, match="without the lens of each draw"):
            errors_of()
    with pytest.warns(LensSuperWarning):
        found, whole = old.measure(), result.measure()
    np.testing.assert_allclose(found["half_light_radius"][1], whole["half_light_radius"][1], rtol=0.1)
    assert np.ptp(found["magnification"]) < 0.8 * np.ptp(whole["magnification"])


class Fitted:
    """A lens from a fit, whose errors the data do not change any more."""

    def __init__(self, lens, error):
        self.lens, self.error = lens, error * u.arcsec

    def principal_lenses(self):
        for name in ("SIE.theta_E", "SIE.x"):
            value = self.lens.parameters[name]
            yield tuple(self.lens.replace(**{name: value + e}) for e in (self.error, -self.error))


def test_flux_has_the_error_of_the_lens(mock):
    """Also in faint pixels, whose mean brightness is that of one lens otherwise."""
    errors = Systematics(lens=Fitted(mock.lens, 0.06))
    result = resolved(mock, Gaussian(n_draws=4), errors, pixels=24)
    draws, inside = result.posterior.draws, result.aperture
    assert np.count_nonzero(inside & (result.posterior.mean < result.posterior.std)) > inside.sum() / 2
    fluxes = draws[:, inside].sum(axis=1)
    found = result.measure_draws()["flux"].value
    np.testing.assert_allclose(np.std(found) / np.mean(found), np.std(fluxes) / np.mean(fluxes), rtol=0.15)


def test_a_budget_is_named_in_a_line(result):
    assert repr(result.budget).startswith("<ErrorBudget: 64 draws over noise, prior of the source, lens, PSF")
    assert len(repr(result.budget)) < 120
    assert len(repr(result.budget.responses[0])) < 120


def test_table_and_figure(result):
    table = result.budget.table
    assert list(table["part"][-2:]) == ["noise map", "all"]
    np.testing.assert_allclose(table["image_share"][:-1].sum(), 1)
    np.testing.assert_allclose(table["leads"][:-1].sum(), 1)
    np.testing.assert_allclose(np.sum(table["source"][:-1] ** 2).value, table["source"][-1].value ** 2)
    changes = result.budget.changes
    assert list(changes["name"][:2]) == ["SIE.theta_E", "PSF width"]
    assert np.all(changes["error"] < np.sqrt(1 + changes["pull"] ** 2) + 1e-9)
    assert len(result.budget.plot().axes) >= 3
    assert "prior of the source" in result.budget.summary()
    assert any("errors of image and source" in message for message in result.messages)


def test_what_the_data_know_is_not_uncertain(mock):
    """A noise map that is given to 50% is measured by the pixels: 1 / sqrt(2 n) of its size."""
    errors = Systematics(noise=0.5)
    changes = resolved(mock, Gaussian(n_draws=4), errors, pixels=32).budget.changes
    expected = 1 / np.sqrt(2 * 26**2) / 0.5
    assert 0.9 * expected < changes["error"][0] < 3 * expected  # where it is, besides its width


def test_several_psfs(mock):
    psf = mock.observation.psf
    errors = Systematics(psf=[stretched(psf, (1 + e) * np.eye(2)) for e in (-0.04, 0.0, 0.04)])
    model = ForwardModel(mock.observation, mock.lens)
    changes = [c for c in errors.changes(model) if c.part == "PSF"]
    plus, minus = changes[0].plus.observation, changes[0].minus.observation
    widths = sorted([plus.psf_fwhm_arcsec, minus.psf_fwhm_arcsec])
    middle = model.observation.psf_fwhm_arcsec
    np.testing.assert_allclose(
        np.array(widths) / middle, 1 + 0.04 * np.sqrt(2 / 3) * np.array([-1, 1]), atol=0.02
    )


def test_stretched_psf():
    """A Gaussian stays one, with the covariance M C M'."""
    y, x = np.mgrid[-15:16, -15:16]
    psf = np.exp(-0.5 * (x**2 + y**2) / 2.5**2)
    matrix = np.array([[1.1, 0.05], [0.02, 0.95]])
    moved = stretched(psf, matrix)
    covariance = np.linalg.inv(2.5**2 * matrix @ matrix.T)
    expected = np.exp(
        -0.5 * (covariance[0, 0] * x**2 + 2 * covariance[0, 1] * x * y + covariance[1, 1] * y**2)
    )
    expected *= psf.sum() / expected.sum()
    np.testing.assert_allclose(moved, expected, atol=2e-3 * expected.max())


def test_as_many_draws_as_are_asked_for(mock):
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, GRID)
    options = {"solver": Gaussian(n_draws=2), "source_grid": grid, "rng": 1, "progress": False}
    resolver = SuperResolver(mock.lens, systematics=Systematics(sky=0.02), budget_draws=70, **options)
    result = resolver(mock.observation)
    assert result.samples(70).shape[0] == 70
    assert result.measure(70).meta["draws"] == 70
    with pytest.raises(ValueError, match="budget_draws must be at least 2"):
        SuperResolver(mock.lens, budget_draws=1)


def test_wrong_arguments(mock, result):
    with pytest.raises(TypeError, match="lens must be a LensFit"):
        Systematics(lens=0.01)
    with pytest.raises(ValueError, match="psf must lie in"):
        Systematics(psf=-0.03)
    with pytest.raises(ValueError, match="two or more PSFs"):
        Systematics(psf=[np.ones((3, 3))])
    model = ForwardModel(mock.observation, mock.lens)
    with pytest.raises(ValueError, match="names 'theta'"):
        list(Systematics(lens={"theta": 1}).changes(model))
    with pytest.raises(TypeError, match=r"lens\['SIE.theta_E'\] must be a Quantity"):
        list(Systematics(lens={"SIE.theta_E": 0.01}).changes(model))
    with pytest.raises(ValueError, match=r"lens\['SIE.q'\] must be positive"):
        list(Systematics(lens={"SIE.q": -0.1}).changes(model))
    with pytest.raises(ValueError, match="light must have the shape"):
        list(Systematics(light=np.ones((3, 3))).changes(model))
    with pytest.raises(ValueError, match="part must be one of"):
        result.budget.std("dust")
    with pytest.raises(ValueError, match="one observation at a time"):
        SuperResolver(mock.lens, systematics=Systematics(psf=0.03)).joint(
            [mock.observation, mock.observation]
        )
    assert isinstance(next(Systematics(psf=0.03).changes(model)), Change)


def test_a_wrong_radius_is_said(mock):
    errors = Systematics(lens={"SIE.theta_E": 0.02 * u.arcsec}, psf=0.03)
    right = resolved(mock, Gaussian(n_draws=4), errors, pixels=32)
    assert right.measures["budget.asked_sigma"] < 4
    radius = 1.03 * mock.lens.parameters["SIE.theta_E"]
    lens = mock.lens.replace(**{"SIE.theta_E": radius})
    wrong = resolved(mock, Gaussian(n_draws=4), errors, lens, pixels=32)
    assert wrong.measures["budget.asked_sigma"] > 10
    assert wrong.verdict != "trusted"
    assert any("another SIE.theta_E" in reason for reason in wrong.reasons)
