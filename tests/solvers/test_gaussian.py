"""The Gaussian solver against dense matrices and the marginal likelihood of the data."""

from __future__ import annotations

import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import NDData, StdDevUncertainty
from scipy.stats import multivariate_normal

from lenssuper import SIE, ForwardModel, PixelGrid
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.observation import Observation
from lenssuper.solvers import CurvaturePrior, Gaussian, GradientPrior, MaternPrior, whitened
from lenssuper.solvers.numerics import conjugate_gradients
from lenssuper.solvers.priors import sine_transform
from lenssuper.solvers.whitened import WhitenedProblem

SHAPE = (12, 11)
SIZE = 12 * 11
PRIORS = {
    "gradient": GradientPrior(),
    "curvature": CurvaturePrior(),
    "Matern": MaternPrior(length=3.0, smoothness=1.5),
}


def small_model(data=None, *, unit=1.0, amplitude=30.0, source_shape=SHAPE):
    """16 x 16 pixels with a PSF, noise that differs between pixels and a few masked ones."""
    rng = np.random.default_rng(5)
    grid = PixelGrid((16, 16), 0.2 * u.arcsec)
    source_grid = PixelGrid(source_shape, 0.12 * u.arcsec, center=(0.05, 0.1) * u.arcsec)
    lens = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg, x=0.03 * u.arcsec, y=0 * u.arcsec)
    sigma = unit * rng.uniform(0.5, 2.0, grid.shape)
    mask = rng.uniform(size=grid.shape) < 0.03
    y, x = np.mgrid[-3:4, -3:4]
    psf = np.exp(-(x**2 + y**2) / 2)

    def model_of(values):
        image = NDData(values, uncertainty=StdDevUncertainty(sigma), mask=mask)
        image.psf = psf / psf.sum()
        return ForwardModel(Observation.from_nddata(image, grid=grid), lens, source_grid=source_grid)

    if data is None:
        x, y = source_grid.centers_arcsec()
        truth = unit * amplitude * np.exp(-((x - 0.1) ** 2 + (y - 0.2) ** 2) / (2 * 0.15**2))
        data = model_of(np.zeros(grid.shape)) @ truth + sigma * rng.standard_normal(grid.shape)
    return model_of(data)


def matrices(model, prior, strength):
    """Operator on used pixels (rows), their data and variance, and the prior's covariance, all dense."""
    size = model.shape[1]
    unit_sources = np.eye(size).reshape(-1, *model.in_shape)
    used = model.weights > 0
    operator = (model @ unit_sources)[:, used].T
    sines = sine_transform(unit_sources).reshape(size, size)
    covariance = sines.T @ np.diag(1 / (strength * prior.precision(model.in_shape).ravel())) @ sines
    return operator, model.data[used], 1 / model.weights[used], covariance


def brute_force(model, prior, strength):
    """Mean and covariance of the source, conditioned on the data, and the data's marginal likelihood."""
    operator, data, variance, prior_covariance = matrices(model, prior, strength)
    marginal = operator @ prior_covariance @ operator.T + np.diag(variance)
    gain = prior_covariance @ operator.T @ np.linalg.inv(marginal)
    covariance = prior_covariance - gain @ operator @ prior_covariance
    return gain @ data, covariance, multivariate_normal.logpdf(data, cov=marginal)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def matrix_free():
    """Conjugate gradients and random probes whatever the size."""
    return {"dense_limit": 0}


@pytest.mark.parametrize("name", PRIORS)
def test_mean_std_and_evidence_against_brute_force(model, name):
    strength = 0.3
    posterior = Gaussian(PRIORS[name], strength=strength).solve(model, rng=1)
    mean, covariance, log_evidence = brute_force(model, PRIORS[name], strength)
    np.testing.assert_allclose(posterior.mean.ravel(), mean, rtol=0, atol=1e-8 * mean.max())
    np.testing.assert_allclose(posterior.std.ravel(), np.sqrt(np.diag(covariance)), rtol=1e-8)
    assert posterior.log_evidence == pytest.approx(log_evidence, rel=1e-10)
    prior_precision = np.linalg.inv(matrices(model, PRIORS[name], strength)[3])
    modes = SIZE - np.trace(covariance @ prior_precision)
    assert posterior.effective_modes == pytest.approx(modes, rel=1e-8)


@pytest.mark.parametrize("name", PRIORS)
def test_strength_maximises_the_marginal_likelihood(model, name):
    posterior = Gaussian(PRIORS[name]).solve(model, rng=1)
    key = "std" if name == "Matern" else "strength"
    best = posterior.hyperparameters[key]
    strength = best**-2 if name == "Matern" else best
    at_best, stronger, weaker = (
        brute_force(model, PRIORS[name], factor * strength)[2] for factor in (1, 1.05, 1 / 1.05)
    )
    assert at_best > stronger
    assert at_best > weaker
    assert posterior.log_evidence == pytest.approx(at_best, rel=1e-10)
    # where it is largest, the modes share out the prior's norm: MacKay 1992, eq. 4.8
    precision = PRIORS[name].precision(SHAPE)
    norm = np.sum(precision * sine_transform(posterior.mean) ** 2)
    assert strength * norm == pytest.approx(posterior.effective_modes, rel=1e-4)


def test_all_three_of_matern_maximise_the_marginal_likelihood(model):
    prior = MaternPrior()
    posterior = Gaussian(prior).solve(model, rng=1)
    found = posterior.hyperparameters
    assert set(found) == {"std", "length", "smoothness"}

    def marginal(length, smoothness, std):
        return brute_force(model, MaternPrior(length, smoothness), std**-2)[2]

    best = marginal(found["length"], found["smoothness"], found["std"])
    assert posterior.log_evidence == pytest.approx(best, rel=1e-9)
    rng = np.random.default_rng(3)
    for _ in range(30):
        length, smoothness, std = np.exp(rng.normal(0, 0.5, 3)) * [
            *map(found.get, ("length", "smoothness", "std"))
        ]
        if 1 <= length <= 24 and 0.02 <= smoothness <= 6:
            assert marginal(length, smoothness, std) < best + 0.3


def test_matrix_free_is_the_same(model, matrix_free):
    strength = 0.3
    mean, covariance, log_evidence = brute_force(model, GradientPrior(), strength)
    posterior = Gaussian(strength=strength, n_draws=400, **matrix_free).solve(model, rng=1)
    np.testing.assert_allclose(posterior.mean.ravel(), mean, rtol=0, atol=1e-7 * mean.max())
    # both are estimates from random vectors
    np.testing.assert_allclose(posterior.std.ravel(), np.sqrt(np.diag(covariance)), rtol=0.15)
    exact = Gaussian(strength=strength).solve(model, rng=1)
    assert abs(posterior.log_evidence - log_evidence) < 3
    assert posterior.effective_modes == pytest.approx(exact.effective_modes, rel=0.05)


def test_matrix_free_finds_the_same_strength(model, matrix_free):
    for prior in (GradientPrior(), CurvaturePrior()):
        exact = Gaussian(prior, dense_limit=SIZE).solve(model, rng=1)
        estimate = Gaussian(prior, **matrix_free).solve(model, rng=2)
        ratio = estimate.hyperparameters["strength"] / exact.hyperparameters["strength"]
        assert abs(np.log(ratio)) < 0.15


def test_few_and_many_eigenvalues_give_one_curve(model):
    problem = WhitenedProblem(model, GradientPrior().precision(SHAPE), dense_limit=5000)
    values = np.linalg.eigvalsh(problem.dense_normal())
    curve = problem.evidence_curve([], 0.1)
    assert curve.half_log_det(0.7) == pytest.approx(0.5 * np.sum(np.log1p(values.clip(0) / 0.7)))
    step = 1e-3
    around = [curve.log_evidence(0.7 * np.exp(k * step)) for k in (-1, 0, 1)]
    assert curve.curvature(0.7) == pytest.approx((around[0] - 2 * around[1] + around[2]) / step**2, rel=1e-4)


def test_wide_psf_is_applied_column_by_column(model, monkeypatch):
    problem = WhitenedProblem(model, GradientPrior().precision(SHAPE), dense_limit=5000)
    by_matrix = problem.dense_normal()
    monkeypatch.setattr(whitened, "_MOST_WEIGHTS", 0)
    np.testing.assert_allclose(problem.dense_normal(), by_matrix, rtol=0, atol=1e-11 * by_matrix.max())


@pytest.mark.parametrize("path", ["dense", "matrix-free", "fresh"])
def test_draws_have_the_covariance_of_the_posterior(model, path):
    strength, n = 0.3, 1000
    mean, covariance, _ = brute_force(model, GradientPrior(), strength)
    limit = 0 if path == "matrix-free" else 5000
    posterior = Gaussian(strength=strength, n_draws=2 if path == "fresh" else n, dense_limit=limit).solve(
        model, rng=4
    )
    draws = posterior.samples(n, rng=5) if path == "fresh" else posterior.draws
    # whitened by the exact covariance they are white noise: nothing else has these eigenvalues
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws.reshape(n, -1) - mean).T)
    assert np.abs(white.mean(axis=1)).max() < 5 / np.sqrt(n)
    eigenvalues = np.linalg.eigvalsh(white @ white.T / n)
    edge = np.sqrt(SIZE / n)  # Marchenko & Pastur 1967
    assert eigenvalues.min() > (1 - edge) ** 2 - 0.08
    assert eigenvalues.max() < (1 + edge) ** 2 + 0.08
    assert np.mean(white**2) == pytest.approx(1, abs=5 * np.sqrt(2 / white.size))


@pytest.mark.parametrize("limit", [5000, 0])
@pytest.mark.parametrize("name", PRIORS)
def test_refit_is_the_source_of_the_other_model(model, name, limit):
    strength, rng = 0.3, np.random.default_rng(7)
    posterior = Gaussian(PRIORS[name], strength=strength, n_draws=1, dense_limit=limit).solve(model, rng=1)
    data = model.data + rng.standard_normal(model.out_shape)
    other = model.with_data(data).with_weights(model.weights * rng.choice([0, 1, 2], model.out_shape))
    expected, _, _ = brute_force(other, PRIORS[name], strength)
    np.testing.assert_allclose(posterior.refit(other).ravel(), expected, rtol=0, atol=1e-6 * expected.max())


def test_refit_of_what_is_close_takes_few_steps(model, monkeypatch):
    """The inverse for the first model leads to that of another; of the same one it is known to rounding."""
    steps = []

    def counted(*args, **options):
        found = conjugate_gradients(*args, **options)
        steps.append(found[1])
        return found

    monkeypatch.setattr("lenssuper.solvers.whitened.conjugate_gradients", counted)
    posterior = Gaussian(strength=0.3, n_draws=1).solve(model, rng=1)
    steps.clear()
    np.testing.assert_allclose(posterior.refit(model), posterior.mean, atol=1e-7 * posterior.mean.max())
    heavier = model.with_weights(model.weights * np.random.default_rng(1).choice([0.9, 1.1], model.out_shape))
    posterior.refit(heavier)
    assert steps[0] <= 3
    assert steps[1] <= 12
    there = pickle.loads(pickle.dumps(posterior))  # the inverse is left behind
    assert len(pickle.dumps(posterior._refit)) < len(pickle.dumps(posterior._draw)) + 1000
    np.testing.assert_allclose(there.refit(heavier), posterior.refit(heavier), atol=1e-6)


@pytest.mark.parametrize("limit", [5000, 0])
def test_changes_by_noise_have_their_covariance(model, limit):
    """That of the estimate is C A' N^-1 A C, with the posterior's covariance C: less than C itself."""
    strength, n = 0.3, 1000
    posterior = Gaussian(strength=strength, n_draws=1, dense_limit=limit).solve(model, rng=1)
    changes = posterior.changes_by_noise(model, n, np.random.default_rng(2)).reshape(n, -1)
    operator, _, variance, _ = matrices(model, GradientPrior(), strength)
    covariance = brute_force(model, GradientPrior(), strength)[1]
    gain = covariance @ operator.T / np.sqrt(variance)
    values, vectors = np.linalg.eigh(gain @ gain.T)
    known = values > 1e-4 * values[-1]
    white = (changes @ vectors[:, known]) / np.sqrt(values[known])
    assert np.abs(white.mean(axis=0)).max() < 5 / np.sqrt(n)
    np.testing.assert_allclose(np.mean(white**2, axis=0), 1, atol=6 * np.sqrt(2 / n))
    assert np.mean(white**2) == pytest.approx(1, abs=5 * np.sqrt(2 / white.size))


@pytest.mark.parametrize(("prior", "order"), [(GradientPrior(), 1), (CurvaturePrior(), 2)])
def test_quadratic_form_is_the_sum_of_squared_differences(prior, order):
    source = np.random.default_rng(0).normal(size=(6, 9))
    rows, columns = (np.pad(source, [(1, 1), (0, 0)][::step]) for step in (1, -1))
    expected = np.sum(np.diff(rows, order, axis=0) ** 2) + np.sum(np.diff(columns, order, axis=1) ** 2)
    assert np.sum(source * prior.apply(source)) == pytest.approx(expected, rel=1e-12)


def test_matern_has_unit_variance_and_the_spectrum_of_its_slope():
    shape = (64, 64)
    prior = MaternPrior(length=6.0, smoothness=1.5)
    power = 1 / prior.precision(shape)
    assert power.mean() == pytest.approx(1)
    k2 = 4 * np.sin(np.pi * np.arange(1, 65) / 130) ** 2
    expected = (2 * 1.5 / 36 + k2[:, None] + k2) ** -2.5
    np.testing.assert_allclose(power, expected / expected.mean(), rtol=1e-12)


def test_matern_correlates_as_bessel_functions_do():
    # Rasmussen & Williams 2006, eq. 4.17: smoothness 3/2, far from the border
    prior = MaternPrior(length=8.0, smoothness=1.5)
    middle = np.zeros((151, 151))
    middle[75, 75] = 1
    correlation = sine_transform(sine_transform(middle) / prior.precision(middle.shape))[75, 75:95]
    r = np.sqrt(3) * np.arange(20) / 8
    np.testing.assert_allclose(correlation / correlation[0], (1 + r) * np.exp(-r), atol=0.01)


def test_rough_limit_of_matern_is_the_gradient_prior():
    ratio = MaternPrior(1e6, 1e-9).precision((8, 9)) / GradientPrior().precision((8, 9))
    assert np.ptp(ratio) < 1e-6 * ratio.max()


def test_matern_far_beyond_the_grid_stays_finite():
    assert np.isfinite(MaternPrior(1e9, 40.0).precision((128, 128))).all()


def test_source_pixels_that_nothing_sees_are_filled_by_the_prior():
    model = small_model(source_shape=(40, 30))
    unseen = model.adjoint(np.ones(model.out_shape)) == 0
    assert unseen.any()
    posterior = Gaussian(n_draws=2).solve(model, rng=1)
    assert np.isfinite(posterior.mean).all()
    assert posterior.std[unseen].min() > 0
    # a gradient prior lets the light fade towards the dark border
    assert np.abs(posterior.mean[unseen]).max() < posterior.mean.max()


def test_a_single_source_pixel():
    model = small_model(source_shape=(1, 1))
    posterior = Gaussian(n_draws=2).solve(model, rng=1)
    operator, data, variance, prior = matrices(model, GradientPrior(), posterior.hyperparameters["strength"])
    precision = np.sum(operator[:, 0] ** 2 / variance) + 1 / prior[0, 0]
    assert posterior.mean[0, 0] == pytest.approx(np.sum(operator[:, 0] * data / variance) / precision)
    assert posterior.std[0, 0] == pytest.approx(precision**-0.5)


@pytest.mark.parametrize("limit", [5000, 0])
def test_no_light_at_all_warns_and_gives_a_dark_source(limit):
    rng = np.random.default_rng(1)
    noise = -0.01 * np.abs(rng.standard_normal((16, 16)))
    with pytest.warns(ConvergenceWarning, match="consistent with no source"):
        posterior = Gaussian(n_draws=2, dense_limit=limit).solve(small_model(noise), rng=1)
    assert np.abs(posterior.mean).max() < 0.01
    assert not posterior.converged
    assert posterior.effective_modes < 1


def test_data_that_are_exactly_zero():
    with pytest.warns(ConvergenceWarning, match="consistent with no source"):
        posterior = Gaussian(n_draws=2).solve(small_model(np.zeros((16, 16))), rng=1)
    np.testing.assert_array_equal(posterior.mean, 0)


def test_strength_too_small_for_rounding_is_named():
    with pytest.raises(ValueError, match="strength must be large enough"):
        Gaussian(strength=1e-300).solve(small_model(source_shape=(40, 30)), rng=1)


def test_pickles(model):
    posterior = pickle.loads(pickle.dumps(Gaussian(n_draws=2).solve(model, rng=1)))
    assert posterior.samples(3, rng=1).shape == (3, *SHAPE)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Gaussian("gradient"), TypeError, "prior must be a QuadraticPrior, e.g. GradientPrior"),
        (lambda: Gaussian(strength=-1), ValueError, "strength must be positive; got -1"),
        (lambda: Gaussian(n_draws=0), ValueError, "n_draws must be at least 1; got 0"),
        (lambda: MaternPrior(length=0), ValueError, "length must be positive; got 0"),
        (lambda: MaternPrior(smoothness=np.inf), ValueError, "smoothness must be finite; got inf"),
    ],
)
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()
