"""Positive sources: penalties, the minimum, its strength and its error bars."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from scipy.optimize import approx_fprime, minimize

from lenssuper import ForwardModel, PixelGrid
from lenssuper.simulate import random_mock
from lenssuper.solvers import Positive, RelativeGradient, SquaredGradient, TotalVariation
from lenssuper.solvers.positive import _PenalisedProblem, differences, means, spread, spread_means

PENALTIES = [RelativeGradient(), SquaredGradient(), TotalVariation(0.02)]


def names(penalty):
    return type(penalty).__name__


@pytest.fixture(scope="module")
def model():
    mock = random_mock(4, shape=(24, 24))
    grid = PixelGrid((12, 14), 0.12 * u.arcsec, reference=mock.grid.reference)
    return ForwardModel(mock.observation, mock.lens, source_grid=grid)


def energy_of(model, penalty, strength):
    """What `Positive` says it minimises, written out with an explicit matrix."""
    matrix = model.whitened.forward(np.eye(12 * 14).reshape(-1, 12, 14)).reshape(12 * 14, -1).T
    data = model.whiten(model.data).ravel()
    scale = model.data[model.weights > 0].max()

    def energy(flat):
        residual = scale * matrix @ flat - data
        return 0.5 * residual @ residual + strength * penalty.value(flat.reshape(12, 14))

    def gradient(flat):
        residual = scale * matrix @ flat - data
        return scale * matrix.T @ residual + strength * penalty.gradient(flat.reshape(12, 14)).ravel()

    return energy, gradient, scale


@pytest.mark.parametrize("penalty", PENALTIES, ids=names)
def test_gradient_is_the_derivative_of_the_value(penalty):
    source = np.random.default_rng(1).uniform(0.05, 1, (4, 5))
    numeric = approx_fprime(source.ravel(), lambda s: penalty.value(s.reshape(4, 5)), 1e-7)
    np.testing.assert_allclose(penalty.gradient(source).ravel(), numeric, rtol=2e-4, atol=1e-5)


def test_values_by_hand():
    source = np.zeros((3, 3))
    source[1, 1] = 2.0
    assert SquaredGradient().value(source) == pytest.approx(4 * 4 / 2)
    # the pixel itself, with both its differences, and the ones before it along y and x
    assert TotalVariation(1e-9).value(source) == pytest.approx(2 * 2**0.5 + 2 + 2)
    # four borders, each with a mean of one
    assert RelativeGradient(1.0).value(source) == pytest.approx(4 * 4 / (2 * (1 + 1)))


def test_relative_gradient_does_not_mind_how_bright():
    source = np.random.default_rng(2).uniform(1, 2, (6, 6))
    bright, faint = RelativeGradient(1e-12).value(100 * source), RelativeGradient(1e-12).value(source)
    assert bright == pytest.approx(100 * faint)  # SquaredGradient: 10 000 times


def test_total_variation_is_the_length_of_an_edge_times_its_height():
    y, x = np.mgrid[-40:41, -40:41]
    disc = np.clip(0.5 + (30 - np.hypot(x, y)) / 6, 0, 1)  # an edge that the pixels resolve
    # with differences along x and y taken one by one it would be 8 / 2 pi times as long
    assert TotalVariation(1e-9).value(disc) == pytest.approx(2 * np.pi * 30, rel=0.02)
    assert TotalVariation(1e-9).value(3 * disc) == pytest.approx(3 * 2 * np.pi * 30, rel=0.02)


def test_border_is_dark_in_differences_and_means():
    rng = np.random.default_rng(3)
    source, along_y, along_x = rng.normal(size=(4, 5)), rng.normal(size=(5, 5)), rng.normal(size=(4, 6))
    for there, back in ((differences, spread), (means, spread_means)):
        forward = sum(np.sum(a * b) for a, b in zip(there(source), [along_y, along_x], strict=True))
        assert forward == pytest.approx(np.sum(source * back([along_y, along_x])))


@pytest.mark.parametrize("penalty", PENALTIES, ids=names)
def test_minimum_against_scipy(model, penalty):
    strength = 30.0
    energy, gradient, scale = energy_of(model, penalty, strength)
    posterior = Positive(penalty, strength=strength, n_draws=2).solve(model, rng=1)
    start = np.full(12 * 14, 0.01)
    expected = minimize(
        energy,
        start,
        jac=gradient,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(start),
        options={"maxiter": 5000},
    )
    found = posterior.mean.ravel() / scale
    assert posterior.converged
    assert found.min() >= 0
    assert energy(found) - expected.fun < 0.05  # a sigma is one half
    # no pixel wants to move, but into the dark
    slope = gradient(found)
    lit = found > 0.01
    assert np.abs(slope[lit]).max() < 0.02 * np.abs(gradient(start)).max()
    assert slope[found == 0].min(initial=0) > -0.02 * np.abs(gradient(start)).max()


@pytest.mark.parametrize(
    ("penalty", "limit"), [(SquaredGradient(), 1e-6), (RelativeGradient(), 1e-6), (TotalVariation(), 1e-4)]
)
def test_conditions_of_a_minimum_hold_when_asked_to(model, penalty, limit):
    # Karush, Kuhn & Tucker: no slope where it is bright, none downwards where it is dark
    strength = 30.0
    problem = _PenalisedProblem.of(model, penalty)
    found = problem.minimise(strength, tolerance=1e-13)
    _, gradient, _ = energy_of(model, penalty, strength)
    slope = gradient(found.source.ravel()) / np.abs(gradient(np.zeros(12 * 14))).max()
    assert found.source.min() >= 0
    assert np.any(found.source == 0) or not isinstance(penalty, SquaredGradient)
    assert np.abs(np.minimum(found.source.ravel(), slope)).max() < limit


def test_draws_have_the_covariance_of_the_gaussian(model):
    strength = 1e3
    _, _, scale = energy_of(model, SquaredGradient(), strength)
    posterior = Positive(SquaredGradient(), strength=strength, n_draws=400).solve(model, rng=2)
    matrix = model.whitened.forward(np.eye(12 * 14).reshape(-1, 12, 14)).reshape(12 * 14, -1).T
    rough = np.stack([SquaredGradient().gradient(e) for e in np.eye(12 * 14).reshape(-1, 12, 14)])
    covariance = np.linalg.inv(matrix.T @ matrix + strength / scale**2 * rough.reshape(12 * 14, -1))
    sigma = np.sqrt(np.diag(covariance)).reshape(12, 14)
    inside = posterior.mean > 4 * sigma  # where nothing is cut off
    assert inside.sum() > 20
    np.testing.assert_allclose(posterior.std[inside], sigma[inside], rtol=0.2)
    modes = np.trace(covariance @ (matrix.T @ matrix))
    assert 0.5 * modes < posterior.effective_modes < 1.3 * modes


def test_strength_is_found_where_pixels_held_out_are_foretold_best(model):
    best = Positive(n_draws=2).solve(model, rng=3)
    for factor in (0.03, 30):
        other = Positive(n_draws=2, strength=factor * best.hyperparameters["strength"]).solve(model, rng=3)
        assert other.held_out_chi2 > best.held_out_chi2 - 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0}, "strength must be positive; got 0"),
        ({"strength": np.nan}, "strength must be finite"),
        ({"n_draws": 3}, "n_draws must be even"),
        ({"max_evaluations": 1}, "max_evaluations must be at least 3"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Positive(**options)


def test_roughness_is_an_object():
    with pytest.raises(TypeError, match=r"roughness must be a Roughness, e\.g\. TotalVariation"):
        Positive("tv")
