"""The pixels in which a source is measured, and the share of its light in them."""

from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
import pytest
from scipy import ndimage

from lenssuper import SIS, ForwardModel, Observation, PixelGrid, SuperResolution
from lenssuper.exceptions import LensSuperWarning
from lenssuper.simulate import GaussianSource, SersicSource, mock_lens
from lenssuper.simulate.instruments import BENCHMARK
from lenssuper.solvers import Posterior
from lenssuper.superres.aperture import find_aperture, smoothed_source

LENS = SIS(theta_E=1.1 * u.arcsec)
GALAXY = SersicSource(0.1 * u.arcsec, 1.0, q=0.7, phi=30 * u.deg, x=0.3 * u.arcsec, y=0.1 * u.arcsec)
# as bright as GALAXY, and apart from it
OTHER = SersicSource(0.1 * u.arcsec, 1.0, x=-0.5 * u.arcsec, y=-0.5 * u.arcsec)


def resolved(source=GALAXY, error=0.01, side=0.03, peak_snr=12):
    """A result whose source is the truth, with errors as a share of the peak, and all of the true flux."""
    mock = mock_lens(LENS, source, BENCHMARK, peak_snr=peak_snr, rng=1)
    pixels = round(2.4 / side)
    grid = PixelGrid((pixels, pixels), side * u.arcsec, reference=mock.grid.reference)
    model = ForwardModel(mock.observation, LENS, source_grid=grid)
    truth = mock.source_image(grid)
    std = np.full(truth.shape, error * truth.max())
    posterior = Posterior(mean=truth, std=std, draws=np.stack([0.9 * truth, truth, 1.1 * truth]))
    ((gain, part),) = mock.source.terms[:1]
    flux = gain * part.flux * len(mock.source.terms) / mock.grid.area_arcsec2
    return SuperResolution.from_posterior(model, posterior), flux


@pytest.mark.parametrize("error", [0.003, 0.05, 0.3])
@pytest.mark.parametrize("side", [0.03, 0.015])
def test_aperture_depends_on_noise_and_not_on_other_errors_or_pixels(error, side):
    """An error budget makes errors several times larger, and so do small pixels."""
    result, flux = resolved(error=error, side=side)
    measured = result.measure_sources(result.posterior.mean)
    share = measured["flux"][0].value / flux
    assert 0.93 < share < 1
    np.testing.assert_allclose(measured["aperture_share"][0], share, atol=0.01)
    np.testing.assert_allclose(measured["half_light_radius"][0].value, 0.1, rtol=0.06)
    reference, _ = resolved(error=0.01, side=0.03)
    area = np.count_nonzero(result.aperture) * side**2
    np.testing.assert_allclose(area, np.count_nonzero(reference.aperture) * 0.03**2, rtol=0.03)


def test_noise_of_a_smoothed_source_is_that_of_pixels_averaged():
    """Without deflection, on the pixels of the data, and therefore of white noise."""
    mock = mock_lens(LENS, GALAXY, BENCHMARK, shape=(48, 48), rng=1)
    psf = GaussianSource(0.16 * u.arcsec).surface_brightness(
        *PixelGrid((33, 33), 0.04 * u.arcsec).centers_arcsec()
    )
    grid = PixelGrid((48, 48), 0.04 * u.arcsec)
    observation = Observation.from_nddata(mock.observation, grid=grid).with_psf(psf / psf.sum())
    observation = observation.with_data(np.ones(grid.shape))
    weak = SIS(theta_E=1e-6 * u.arcsec)
    model = ForwardModel(observation, weak, source_grid=grid)
    model = model.with_weights(np.full(grid.shape, 4.0))
    seen = np.ones(grid.shape, dtype=bool)
    smooth, std = smoothed_source(model, np.ones(grid.shape), seen)
    np.testing.assert_allclose(smooth, 1)
    width = observation.psf_fwhm_arcsec / np.sqrt(8 * np.log(2)) / 0.04
    noise = np.random.default_rng(2).normal(scale=0.5, size=(200, 48, 48))
    expected = ndimage.gaussian_filter(noise, (0, width, width))[:, 20:28, 20:28].std()
    np.testing.assert_allclose(std[20:28, 20:28], expected, rtol=0.05)


def test_another_galaxy_and_noise_at_the_border_are_left_out():
    result, _ = resolved()
    model, source = result._forward_model(), result.posterior.mean.copy()
    alone = find_aperture(model, source)
    peak = source.max()
    source[:6, :3], source[-8:-4, 10:14] = peak, 0.5 * peak
    assert not (alone & (source != result.posterior.mean)).any()
    found = find_aperture(model, source)
    assert not (found & (source != result.posterior.mean)).any()
    # a Kron radius weighs light at some distance, too
    assert np.count_nonzero(found ^ alone) < 0.01 * np.count_nonzero(alone)


def test_too_small_a_share_is_said():
    result, flux = resolved(GALAXY + OTHER, peak_snr=60)
    truth = result.measure_sources(result.posterior.mean)
    np.testing.assert_allclose(truth["aperture_share"][0], truth["flux"][0].value / flux, atol=0.01)
    with pytest.warns(LensSuperWarning, match="aperture holds 4.% of the light in the source plane"):
        table = result.measure()
    np.testing.assert_allclose(table["aperture_share"][1], truth["aperture_share"][0], atol=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolved()[0].measure()["aperture_share"][1] > 0.9


def test_a_source_without_light_cannot_be_measured():
    result, _ = resolved()
    with pytest.raises(ValueError, match="no light to measure"):
        find_aperture(result._forward_model(), -result.posterior.mean)
