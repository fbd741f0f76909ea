"""Variable projection, on models whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from lenssuper.light.sersic import varpro
from lenssuper.light.sersic.render import ConstantRenderer, Renderer

X, Y = np.meshgrid(np.linspace(-1, 1, 23), np.linspace(-1, 1, 19))


class Blobs(Renderer):
    """Gaussians with centres x and widths; the last parameter, the height y, is shared."""

    def __init__(self, n=2):
        self.n_parameters, self.n_columns, self.out_shape = 2 * n + 1, n, X.shape
        self.column_of = np.repeat(np.arange(n), 3)
        self._parameter_of = np.concatenate([[2 * k, 2 * k + 1, 2 * n] for k in range(n)])

    @property
    def parameter_of(self):
        return self._parameter_of

    def columns(self, theta):
        return self.columns_and_derivatives(theta)[0]

    def columns_and_derivatives(self, theta):
        columns, slopes = [], []
        for x, width in theta[:-1].reshape(-1, 2):
            dx, dy = X - x, Y - theta[-1]
            image = np.exp(-0.5 * (dx**2 + dy**2) / width**2)
            columns.append(image)
            slopes += [image * dx / width**2, image * (dx**2 + dy**2) / width**3, image * dy / width**2]
        return np.array(columns), np.array(slopes)


TRUE, AMPLITUDES = np.array([-0.3, 0.2, 0.4, 0.35, 0.1]), np.array([3.0, 2.0, 0.5])
LOW, HIGH = np.array([-1, 0.05, -1, 0.05, -1.0]), np.array([1, 1, 1, 1, 1.0])
START = np.array([-0.2, 0.3, 0.3, 0.3, 0.0])


def image(theta=TRUE, amplitudes=AMPLITUDES):
    columns = np.concatenate([Blobs().columns(theta), np.ones((1, *X.shape))])
    return np.tensordot(amplitudes, columns, 1)


def noisy(seed=1, sigma=0.05):
    rng = np.random.default_rng(seed)
    weights = np.full(X.shape, sigma**-2.0)
    weights[3:6, 10:15] = 0
    data = image() + rng.normal(0, sigma, X.shape)
    return np.where(weights > 0, data, 1e3), weights


def run(data, weights, start=START, **options):
    options = {"nonnegative": [True, True, False]} | options
    return varpro.fit([Blobs(), ConstantRenderer(X.shape)], start, LOW, HIGH, data, weights, **options)


def test_data_without_noise_are_fitted_exactly():
    found = run(image(), np.ones(X.shape), tolerance=1e-12)
    np.testing.assert_allclose(found.theta, TRUE, atol=1e-7)
    np.testing.assert_allclose(found.amplitudes, AMPLITUDES, rtol=1e-7)
    np.testing.assert_allclose(found.model, image(), atol=1e-7)
    assert found.converged
    assert found.chi2 < 1e-12


def test_minimum_and_errors_are_those_of_a_fit_of_everything_at_once():
    data, weights = noisy()
    found = run(data, weights, tolerance=1e-12)

    def residual(p):
        return ((image(p[:5], p[5:]) - data) * np.sqrt(weights)).ravel()

    all_at_once = least_squares(residual, np.concatenate([TRUE, AMPLITUDES]), xtol=1e-12, ftol=1e-12)
    np.testing.assert_allclose(np.concatenate([found.theta, found.amplitudes]), all_at_once.x, atol=1e-5)
    assert found.chi2 == pytest.approx(2 * all_at_once.cost, rel=1e-8)
    covariance = np.linalg.inv(all_at_once.jac.T @ all_at_once.jac)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-3, atol=1e-8)


def test_jacobian_is_that_of_the_projected_residual():
    data, weights = noisy()
    parts = [Blobs(), ConstantRenderer(X.shape)]
    problem = varpro._ProjectedResidual(parts, data, weights, [True, True, False])
    jacobian = problem.jacobian(START)
    for k in range(5):
        step = 1e-5 * np.eye(5)[k]
        numeric = (problem.residual(START + step) - problem.residual(START - step)) / 2e-5
        assert np.abs(jacobian[:, k] - numeric).max() < 1e-6 * np.abs(numeric).max()


def test_amplitudes_do_not_become_negative():
    columns = Blobs().columns(TRUE)
    data = 2 * columns[0] - 1 * columns[1] - 0.7
    found = run(data, np.ones(X.shape), TRUE, fixed=[True] * 5)
    assert found.amplitudes[1] == 0
    assert found.amplitudes[0] > 0
    assert found.amplitudes[2] < 0
    # the others are best without it
    design = np.array([columns[0].ravel(), np.ones(X.size)]).T
    np.testing.assert_allclose(found.amplitudes[[0, 2]], np.linalg.lstsq(design, data.ravel())[0], rtol=1e-8)
    assert np.all(found.covariance[6] == 0)


def test_solved_amplitudes_satisfy_the_conditions_of_the_minimum():
    rng = np.random.default_rng(3)
    for _ in range(20):
        columns, target = rng.normal(size=(40, 6)), rng.normal(size=40)
        signed = np.array([True, True, True, True, False, False])
        c = varpro.solve_amplitudes(columns, target, signed)
        gradient = columns.T @ (columns @ c - target)
        assert np.all(c[signed] >= 0)
        assert np.abs(gradient[c != 0]).max() < 1e-10
        assert np.all(gradient[signed & (c == 0)] > -1e-10)


def test_a_fixed_parameter_stays():
    data, weights = noisy()
    start = START.copy()
    start[1] = 0.31
    found = run(data, weights, start, fixed=[False, True, False, False, False])
    assert found.theta[1] == 0.31
    assert np.all(found.covariance[1] == 0)
    assert found.chi2 > run(data, weights).chi2


def test_a_parameter_ends_at_its_bound_and_has_no_error():
    data, weights = noisy()
    high = HIGH.copy()
    high[1] = 0.15
    options = {"nonnegative": [True, True, False]}
    found = varpro.fit(
        [Blobs(), ConstantRenderer(X.shape)], START * [1, 0.4, 1, 1, 1], LOW, high, data, weights, **options
    )
    assert found.theta[1] == pytest.approx(0.15, abs=1e-6)
    assert found.covariance[1, 1] == 0
    assert found.covariance[0, 0] > 0


def test_search_that_is_cut_short_says_so():
    data, weights = noisy()
    counts = []
    found = run(data, weights, max_iter=2, report=lambda n, chi2: counts.append((n, chi2)))
    assert not found.converged
    assert found.n_evaluations <= 2
    assert counts[-1][1] < counts[0][1]


@pytest.mark.parametrize("dark", [0.0, 1e-312, 1e-200])
def test_a_column_without_light_gets_no_amplitude(dark):
    """Not even if rounding has left it the smallest of numbers, whose squares are zero."""
    rng = np.random.default_rng(4)
    columns = rng.uniform(0.5, 1.0, (30, 3))
    columns[:, 1] = dark * rng.uniform(-1, 1, 30)
    target = 2 * columns[:, 0] - 0.5 * columns[:, 2]
    nonnegative = np.array([True, True, True])
    found = varpro.solve_amplitudes(columns, target, nonnegative)
    assert found[1] == 0
    assert np.isfinite(found).all()
    found = varpro.solve_amplitudes(columns, target, np.array([False, True, False]))
    np.testing.assert_allclose(found, [2.0, 0.0, -0.5], rtol=1e-9, atol=1e-12)
