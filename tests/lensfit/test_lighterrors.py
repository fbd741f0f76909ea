"""Errors of the light in front after a fit with the source, beside linear algebra."""

from types import SimpleNamespace

import numpy as np
import pytest

from lenssuper import Observation
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.lighterrors import amplitude_spread, light_errors


@pytest.fixture
def exposure(mock):
    """Arcs with three images in front: a galaxy, a slope across the field, and, added by the fit, the sky."""
    x, y = np.broadcast_arrays(*mock.grid.centers_arcsec())
    images = np.stack([np.exp(-np.hypot(x, y) / 0.3), x])
    return Exposure.of(Observation.of(mock.observation), images * mock.observation.data.max())


def test_spread_of_amplitudes_is_their_covariance_with_the_source_integrated_out():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((9, 30))
    precision = matrix @ matrix.T + np.eye(9)
    basis = SimpleNamespace(shapes=np.zeros((5, 2)))
    spread = amplitude_spread(SimpleNamespace(basis=basis, factor=np.linalg.cholesky(precision)))
    np.testing.assert_allclose(spread.T @ spread, np.linalg.inv(precision)[5:, 5:], rtol=1e-10)


def test_errors_are_those_of_the_amplitudes_and_are_widened(exposure):
    spread = np.random.default_rng(2).standard_normal((3, 3))
    found = light_errors(exposure, spread)
    parts = exposure.foreground.parts
    expected = np.einsum("kyx,kl,lyx->yx", parts, spread.T @ spread, parts)
    # as many images as parts: nothing is left out
    narrow = found / np.array([1.8, 1.55, 1.55])[:, None, None]
    np.testing.assert_allclose(np.sum(narrow**2, axis=0), expected, rtol=1e-10)
    arcs = exposure.arcs.bright
    over_noise = narrow[:, arcs] * np.sqrt(exposure.arcs.weights[arcs])
    products = over_noise @ over_noise.T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9 * products.max())
    assert np.all(np.diff(np.diag(products)) < 0)


def test_only_the_leading_errors_are_kept(exposure):
    spread = np.random.default_rng(3).standard_normal((5, 3)) * np.array([[1, 1, 1, 1e-3, 1e-3]]).T
    assert light_errors(exposure, spread).shape == (3, 28, 28)


def test_no_errors_without_foreground_or_arcs(mock, exposure):
    assert light_errors(Exposure.of(exposure.observation, None), np.zeros((0, 0))) is None
    dark = exposure.observation.with_data(np.zeros(mock.observation.shape))
    assert light_errors(Exposure.of(dark, np.zeros((2, 28, 28))), np.eye(3)) is None
