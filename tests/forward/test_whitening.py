"""Correlated noise made white: against dense covariances, and in every model and solver that takes it."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.ndimage import convolve
from scipy.signal import correlate2d
from scipy.stats import multivariate_normal

from lenssuper import SIE, ForwardModel, JointForwardModel, Observation, PixelGrid
from lenssuper.forward.whitening import Whitener
from lenssuper.solvers import Gaussian, GradientPrior

# what the noise of a pixel is made of, about as in drizzled images of JWST
KERNEL = np.array([[0.0, 0.08, 0.0], [0.08, 0.7, 0.12], [0.02, 0.12, 0.02]])
KERNEL /= np.sqrt(np.sum(KERNEL**2))
COVARIANCE = correlate2d(KERNEL, KERNEL)


def dense(used, covariance=COVARIANCE):
    """The covariance of the used pixels, pair by pair."""
    reach = covariance.shape[0] // 2
    rows, columns = np.nonzero(used)
    apart = np.stack([rows[:, None] - rows, columns[:, None] - columns])
    near = np.abs(apart).max(axis=0) <= reach
    j, i = np.where(near, apart, 0) + reach
    return np.where(near, covariance[j, i], 0.0)


def of_used(whitener, used):
    return whitener.matrix.toarray()[np.ix_(used.ravel(), used.ravel())]


@pytest.fixture(scope="module")
def used():
    used = np.random.default_rng(1).uniform(size=(17, 20)) < 0.9
    used[5:9, 4:12] = False
    return used


class TestWhitener:
    def test_what_comes_out_is_white(self, used):
        matrix = of_used(Whitener(used, COVARIANCE), used)
        white = matrix @ dense(used) @ matrix.T
        np.testing.assert_allclose(np.diag(white), 1, rtol=0, atol=1e-12)
        assert np.abs(white - np.eye(len(white))).max() < 0.02
        np.testing.assert_allclose(np.linalg.eigvalsh(white)[[0, -1]], 1, atol=0.06)

    def test_of_pixels_with_few_before_them_it_is_the_cholesky_factor(self):
        used = np.ones((2, 3), dtype=bool)
        expected = np.linalg.inv(np.linalg.cholesky(dense(used)))
        np.testing.assert_allclose(Whitener(used, COVARIANCE).matrix.toarray(), expected, rtol=0, atol=1e-12)

    def test_determinant(self, used):
        expected = -0.5 * np.linalg.slogdet(dense(used))[1]
        assert Whitener(used, COVARIANCE).log_det == pytest.approx(expected, abs=1e-3 * used.sum())
        assert abs(expected) > 0.05 * used.sum()

    def test_unused_pixels_are_out(self, used):
        matrix = Whitener(used, COVARIANCE).matrix.toarray()
        assert not matrix[~used.ravel()].any()
        assert not matrix[:, ~used.ravel()].any()

    def test_independent_noise_is_left_alone(self, used):
        np.testing.assert_allclose(Whitener(used, [[4.0]]).matrix.toarray(), np.diag(used.ravel() / 2.0))

    def test_noise_without_short_waves_gets_some(self):
        """The mean of two pixels has no power at the shortest wave: its inverse would be infinite."""
        white = Whitener(np.ones((1, 40), dtype=bool), [[0.5, 1.0, 0.5]])
        assert np.abs(white.matrix).max() < 5

    @pytest.mark.parametrize(
        ("covariance", "message"),
        [
            ([[1, 0.5]], "two odd sides"),
            ([1, 0.5, 1], "two odd sides"),
            (np.eye(17), "up to 15 pixels"),
            ([[0.5, 1, 0.3]], "symmetric about its middle"),
            ([[np.nan, 1, np.nan]], "finite"),
            ([[2, 1, 2]], "largest there"),
            ([[0, 0, 0]], "largest there"),
        ],
    )
    def test_what_is_no_covariance(self, used, covariance, message):
        with pytest.raises(ValueError, match=message):
            Whitener(used, covariance)


class TestMeasured:
    def test_in_the_sky(self):
        rng = np.random.default_rng(2)
        noise = convolve(rng.normal(size=(160, 160)), KERNEL, mode="wrap")
        sky = observe(noise + 0.02 * np.arange(160.0) - 1.6)  # with a gradient
        found = sky.noise_covariance
        np.testing.assert_allclose(found, COVARIANCE, rtol=0, atol=0.05)
        assert sky.noise_correlation == pytest.approx(found.sum())

    def test_there_is_none(self):
        assert observe(np.random.default_rng(3).normal(size=(64, 64))).noise_covariance is None


def observe(data, sigma=1.0, mask=None, grid=None):
    ccd = CCDData(
        data, unit="adu", uncertainty=StdDevUncertainty(np.broadcast_to(sigma, data.shape)), mask=mask
    )
    return Observation.from_nddata(ccd, grid=grid or PixelGrid(data.shape, 0.2 * u.arcsec))


@pytest.fixture(scope="module")
def model(used):
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.5, 2, used.shape)
    data = 5 * sigma * convolve(rng.normal(size=used.shape), KERNEL)
    lens = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg)
    source_grid = PixelGrid((9, 10), 0.15 * u.arcsec)
    return ForwardModel(observe(data, sigma, ~used), lens, source_grid=source_grid)


class TestModels:
    def test_whiten(self, model, used):
        shared = model.with_noise_covariance(COVARIANCE)
        expected = np.zeros(used.shape)
        expected[used] = of_used(Whitener(used, COVARIANCE), used) @ model.residuals(np.zeros((9, 10)))[used]
        np.testing.assert_allclose(shared.whiten(model.data), expected, rtol=0, atol=1e-10)
        image = torch.tensor(model.data)
        np.testing.assert_allclose(shared.whiten(image).numpy(), expected, rtol=0, atol=1e-10)

    def test_residuals_and_chi2_stay_those_of_pixels(self, model):
        shared, source = model.with_noise_covariance(COVARIANCE), np.ones((9, 10))
        np.testing.assert_array_equal(shared.residuals(source), model.residuals(source))
        assert shared.chi2(source) == model.chi2(source)

    def test_adjoint(self, model):
        rng = np.random.default_rng(5)
        for shared in (
            model.with_noise_covariance(COVARIANCE),
            JointForwardModel([model, model.with_noise_covariance(COVARIANCE)]),
        ):
            x, y = rng.normal(size=shared.in_shape), rng.normal(size=shared.out_shape)
            whitened = shared.whitened
            np.testing.assert_allclose(np.vdot(whitened @ x, y), np.vdot(x, whitened.adjoint(y)), rtol=1e-11)

    def test_weights_and_covariance_are_changed_one_by_one(self, model):
        weights = np.where(np.arange(20) < 9, 0.0, model.weights)
        one = model.with_noise_covariance(COVARIANCE).with_weights(weights)
        other = model.with_weights(weights).with_noise_covariance(COVARIANCE)
        image = np.random.default_rng(6).normal(size=model.out_shape)
        np.testing.assert_array_equal(one.whiten(image), other.whiten(image))
        assert not one.whiten(image)[:, :9].any()
        np.testing.assert_array_equal(one.with_noise_covariance(None).whiten(image), image * np.sqrt(weights))
        assert model.noise_covariance is None
        np.testing.assert_array_equal(one.noise_covariance, COVARIANCE)

    def test_several_observations(self, model):
        shared = model.with_noise_covariance(COVARIANCE)
        joint = JointForwardModel([model, shared])
        first, second = joint.split(joint.whiten(joint.data))
        np.testing.assert_array_equal(first, model.whiten(model.data))
        np.testing.assert_array_equal(second, shared.whiten(model.data))
        assert joint.log_norm == pytest.approx(model.log_norm + shared.log_norm)
        both = joint.with_noise_covariance(COVARIANCE)
        np.testing.assert_array_equal(both.split(both.whiten(joint.data))[0], second)

    @pytest.mark.parametrize("most_weights", [None, 0])
    def test_evidence_is_that_of_the_dense_covariance(self, model, used, monkeypatch, most_weights):
        """The marginal likelihood of the data with the covariance that the whitener stands for."""
        from lenssuper.solvers import whitened
        from lenssuper.solvers.priors import sine_transform

        if most_weights is not None:
            monkeypatch.setattr(whitened, "_MOST_WEIGHTS", most_weights)
        prior, strength = GradientPrior(), 0.3
        posterior = Gaussian(prior, strength=strength).solve(model.with_noise_covariance(COVARIANCE), rng=1)
        sources = np.eye(90).reshape(-1, 9, 10)
        sines = sine_transform(sources).reshape(90, 90)
        of_source = sines.T @ np.diag(1 / (strength * prior.precision((9, 10)).ravel())) @ sines
        operator = model.forward(sources)[:, used].T
        inverse = np.linalg.inv(of_used(Whitener(used, COVARIANCE), used))
        sigma = model.weights[used] ** -0.5
        of_noise = np.outer(sigma, sigma) * (inverse @ inverse.T)
        of_data = operator @ of_source @ operator.T + of_noise
        mean = of_source @ operator.T @ np.linalg.solve(of_data, model.data[used])
        np.testing.assert_allclose(posterior.mean.ravel(), mean, rtol=0, atol=1e-8 * np.abs(mean).max())
        expected = multivariate_normal.logpdf(model.data[used], cov=of_data)
        assert posterior.log_evidence == pytest.approx(expected, rel=1e-9)
