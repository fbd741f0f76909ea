"""What is expected of a super-resolution, beside dense linear algebra."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest

from lenssuper import ForwardModel, Observation, expected_resolution
from lenssuper.exceptions import ObservationError
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.solvers.numerics import StationaryField
from lenssuper.superres.expected import coherence, half_coherence, predicted
from lenssuper.superres.interpolation import interpolated

SIDE, STD, SLOPE = 14, 1.5, 3.0


def dense(apply, shape):
    """A linear map of images as a matrix."""
    size = int(np.prod(shape))
    return np.stack([np.ravel(apply(unit.reshape(shape))) for unit in np.eye(size)], axis=1)


def over_rings(power, factor):
    """Sums of a spectrum over the rings of `coherence`, by a loop."""
    ny, nx = power.shape
    sums = np.zeros(10 * factor)
    for i in range(ny):
        for j in range(nx // 2 + 1):  # as of a transform of real numbers
            wave = 2 * factor * np.hypot(np.fft.fftfreq(ny)[i], j / nx)
            if wave < factor:
                sums[int(wave / 0.1)] += power[i, j]
    return sums


@pytest.mark.parametrize("snr", [25, 3000])
def test_is_the_wiener_filter_of_dense_matrices(snr):
    """Coherence and gain of a problem in which all covariances can be written down."""
    mock = random_mock(3, shape=(18, 18), peak_snr=(snr, snr))
    observation = Observation.of(mock.observation)
    grid = square_source_grid(observation, mock.lens, 2, SIDE)
    model = ForwardModel(observation, mock.lens, source_grid=grid, order=1)
    y, x = np.indices(grid.shape)
    brightness = observation.data.max() * np.exp(-0.5 * ((x - 6) ** 2 + (y - 7) ** 2) / 2.5**2)

    field = StationaryField(grid.shape, length=SIDE / 3, slope=SLOPE, std=STD)
    root = brightness.ravel()[:, None] * dense(field.apply, grid.shape)
    jacobian = dense(model.forward, grid.shape) @ root / observation.sigma.ravel()[:, None]
    known = np.linalg.cholesky(np.eye(SIDE**2) + jacobian.T @ jacobian)
    lensing = dense(model.lensed_image, grid.shape)
    shape = model.fine_grid.shape
    prior, left = lensing @ root, lensing @ root @ np.linalg.inv(known).T

    def spectrum(columns):
        return np.sum(np.abs(np.fft.fft2(columns.T.reshape(-1, *shape))) ** 2, axis=0)

    mean = spectrum((lensing @ brightness.ravel())[:, None])
    whole, rest = over_rings(spectrum(prior) + mean, 2), over_rings(spectrum(left), 2)
    expected = np.sqrt(np.maximum(1 - rest / whole, 0))

    interpolation = dense(lambda image: interpolated(observation.with_data(image), 2), observation.shape)
    off = interpolation @ dense(model.forward, grid.shape) - lensing
    error = np.sum((off @ root) ** 2) + np.sum((off @ brightness.ravel()) ** 2)
    error += np.sum((interpolation * observation.sigma.ravel()) ** 2)
    gain = 10 * np.log10(error / np.sum(left**2))

    found = predicted(model, brightness, STD, SLOPE, 200, np.random.default_rng(1))
    strong = whole > 1e-4 * whole.max()
    np.testing.assert_allclose(found.coherence[strong], expected[strong], atol=0.03)
    assert found.gain == pytest.approx(gain, abs=0.4)
    assert found.limit == pytest.approx(half_coherence(np.arange(20) / 10 + 0.05, expected), abs=0.06)


def test_more_light_shows_more():
    found = [
        expected_resolution(mock.observation, mock.lens)
        for mock in (random_mock(5, shape=(24, 24), peak_snr=(snr, snr)) for snr in (8, 200))
    ]
    assert found[1].coherence.mean() > found[0].coherence.mean() + 0.05
    assert found[1].limit >= found[0].limit
    assert found[1].gain > found[0].gain > 0
    assert found[1].scale.unit == u.arcsec
    np.testing.assert_allclose((found[0].scale * found[0].limit * found[0].nyquist).value, 0.5)
    assert "Nyquist" in repr(found[0])


def test_source_that_reaches_beyond_the_field():
    """Pixels of the source that the data do not show are dark, not 0 / 0."""
    mock = random_mock(5, shape=(24, 24))
    found = expected_resolution(mock.observation, mock.lens, n=2)
    assert found.coherence[0] > 0.9
    assert found.gain > 1


def test_coherence():
    """1 for the same image whatever its scale, and what the powers of signal and noise say."""
    rng = np.random.default_rng(1)
    image, other = rng.normal(size=(2, 20, 40, 40))
    frequencies, known = coherence(3 * image, image, 2)
    np.testing.assert_allclose(frequencies, np.arange(20) / 10 + 0.05)
    np.testing.assert_allclose(known, 1)
    np.testing.assert_allclose(coherence(image + other, image, 2)[1][5:], np.sqrt(0.5), atol=0.05)
    np.testing.assert_allclose(coherence(other, image, 2)[1][5:], 0, atol=0.1)
    # a wave of 0.76 of the Nyquist frequency of the data, 0.38 of that of the fine pixels, is lost
    y, x = np.indices((40, 40))
    wave = np.cos(2 * np.pi * (7 * x + 3 * y) / 40)
    known = coherence(image[0], image[0] + 1e3 * wave, 2)[1]
    assert np.argmin(known[2:15]) + 2 == 7


def test_half_coherence():
    k = np.array([0.5, 1.0, 1.5])
    assert half_coherence(k, np.array([1.0, 0.75, 0.25])) == pytest.approx(1.25)
    assert half_coherence(k, np.array([1.0, 0.9, 0.8])) == 1.5
    assert half_coherence(k, np.array([0.3, 0.2, 0.1])) == 0.5
    assert half_coherence(k, np.array([0.9, 0.4, 0.8])) == pytest.approx(0.9)


def test_wrong_arguments():
    mock = random_mock(5, shape=(32, 32))
    observation = Observation.of(mock.observation)
    with pytest.raises(ObservationError, match="no source to resolve"):
        expected_resolution(observation.with_data(np.zeros((32, 32))), mock.lens)
    with pytest.raises(ValueError, match="n must be"):
        expected_resolution(observation, mock.lens, n=0)
    with pytest.raises(ValueError, match="std must"):
        expected_resolution(observation, mock.lens, std=-1)
    with pytest.raises(TypeError, match="lens must be"):
        expected_resolution(observation, "SIE")
