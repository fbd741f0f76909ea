"""Sersic profiles behind a lens: columns, their derivatives, and where a fit starts."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import SIE, ForwardModel
from lenssuper.light.sersic.lensed import LensedRenderer, lensed_components, lensed_guesses, profiles_on
from lenssuper.simulate import EUCLID_VIS, SersicSource, mock_lens

TRUTH = np.array([0.12, -0.08, 0.3, 1.3, 0.7, 0.6])


@pytest.fixture(scope="module")
def mock():
    x, y, R_e, n, q, phi = TRUTH
    source = SersicSource(
        R_e * u.arcsec, n, q=q, phi=phi * u.rad, x=x * u.arcsec, y=y * u.arcsec, amplitude=2.0
    )
    lens = SIE(theta_E=1.2 * u.arcsec, q=0.8)
    return mock_lens(lens, source, EUCLID_VIS, shape=(40, 44), peak_snr=50, rng=1)


@pytest.fixture(scope="module")
def model(mock):
    return ForwardModel(mock.observation, mock.lens)


@pytest.fixture(scope="module")
def renderer(model):
    return LensedRenderer(model, lensed_components(model, 2))


@pytest.fixture(scope="module")
def theta(model):
    other = TRUTH + np.array([0.05, 0.02, 0.1, 0.5, -0.2, 1.0])
    return lensed_components(model, 2).pack([TRUTH, other])


def test_columns_are_the_forward_model_of_the_profiles(model, renderer, theta):
    sources = profiles_on(model.source_grid, lensed_components(model, 2), theta)
    assert sources.shape == (2, *model.in_shape)
    np.testing.assert_allclose(renderer.columns(theta), model.forward(sources))
    columns, slopes = renderer.columns_and_derivatives(theta)
    np.testing.assert_allclose(columns, renderer.columns(theta), rtol=1e-5, atol=1e-6)
    assert len(slopes) == len(renderer.column_of) == len(renderer.parameter_of) == 12


def test_columns_look_like_the_lensed_galaxy(mock, model, renderer, theta):
    column = renderer.columns(theta)[0]
    amplitude = np.vdot(column, mock.noiseless) / np.vdot(column, column)
    # to what the pixels of the source grid are good for
    assert np.abs(amplitude * column - mock.noiseless).max() < 0.03 * mock.noiseless.max()


def test_derivatives_are_those_of_the_columns(renderer, theta):
    _, slopes = renderer.columns_and_derivatives(theta)
    for slope, column, parameter in zip(slopes, renderer.column_of, renderer.parameter_of, strict=True):
        step = np.zeros_like(theta)
        step[parameter] = 1e-4
        change = (renderer.columns(theta + step) - renderer.columns(theta - step))[column] / 2e-4
        np.testing.assert_allclose(slope, change, atol=2e-3 * np.abs(change).max())


def test_guesses_are_near(mock, model):
    guesses = lensed_guesses(model, model.data, model.weights)
    x, y, size, *_ = guesses[0]
    assert np.hypot(x - TRUTH[0], y - TRUTH[1]) < 0.1
    assert 0.4 < size / TRUTH[2] < 2.5
    more = lensed_guesses(model, model.data, model.weights, TRUTH)
    np.testing.assert_allclose(more[1][:2], TRUTH[:2])
    assert more[1][2] < more[2][2] < TRUTH[2] < more[3][2]


def test_guess_of_nothing_is_on_the_grid(model):
    guess = lensed_guesses(model, np.zeros(model.out_shape), model.weights)[0]
    assert np.isfinite(guess).all()
    assert model.source_grid.contains(*(guess[:2] * u.arcsec))
