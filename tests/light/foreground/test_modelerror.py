"""The core of a galaxy, for which no PSF is good enough, does not decide about its disk."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from scipy import ndimage
from scipy.stats import norm

from lenssuper import SIE, Observation
from lenssuper.light import ForegroundFitter
from lenssuper.light.foreground import fitter
from lenssuper.light.foreground.modelerror import misfit_with_error, with_model_error
from lenssuper.observation.objects import smoothed
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens

LENS = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg)
SOURCE = SersicSource(0.12 * u.arcsec, 1.0, q=0.7, x=0.08 * u.arcsec, y=-0.05 * u.arcsec)
BULGE = SersicSource(0.06 * u.arcsec, 2.0, q=0.8, phi=40 * u.deg, amplitude=60)
DISK = SersicSource(0.6 * u.arcsec, 1.0, q=0.7, phi=70 * u.deg, amplitude=0.6)


@pytest.fixture(scope="module")
def scene():
    """Return the image of a bright bulge, a disk and arcs, with too wide a PSF; the arcs; the galaxy."""
    options = {"shape": (60, 60), "peak_snr": 25, "rng": 1}
    mock = mock_lens(LENS, SOURCE, HST_ACS_F814W, lens_light=BULGE + DISK, **options)
    arcs = mock_lens(LENS, SOURCE, HST_ACS_F814W, **options).noiseless
    image = mock.observation
    wide = ndimage.gaussian_filter(np.asarray(image.psf), 0.8)
    image.psf = wide / wide.sum()
    return Observation.from_nddata(image), arcs, mock.noiseless - arcs


def left_of_galaxy(fit, arcs, galaxy):
    """Return what the fit leaves of the galaxy beneath the arcs, as a share of their light."""
    bright = arcs > 0.2 * arcs.max()
    return (galaxy - fit.light - fit.sky)[bright].sum() / arcs[bright].sum()


def test_a_wrong_psf_costs_no_disk(scene, monkeypatch):
    image, arcs, galaxy = scene
    fit_galaxy = ForegroundFitter(einstein_radius=0.9 * u.arcsec, progress=False)
    fit = fit_galaxy(image)
    monkeypatch.setattr(fitter, "_POOR", np.inf)
    certain = fit_galaxy(image)
    # without a model error, nearly all of the disk beneath the arcs is left for arcs
    assert left_of_galaxy(certain, arcs, galaxy) > 0.8
    assert abs(left_of_galaxy(fit, arcs, galaxy)) < 0.4
    assert certain.model_error == 0 < fit.model_error
    assert fit.reduced_chi2 < 1.2
    assert fit.verdict == "look"
    assert any("added to the noise" in reason for reason in fit.reasons)
    assert fit.subtracted.meta["FGMODERR"] == fit.model_error
    assert "noise     7% of the light was added" in fit.summary()
    # what the core misses is measured, and beyond the noise that was observed
    core = np.hypot(*image.grid.centers_arcsec()) < 0.1
    assert (fit.unmodelled > image.sigma)[core].all()


def test_noise_with_a_model_error(scene):
    image = scene[0]
    light, _ = smoothed(image)
    np.testing.assert_allclose(1 / with_model_error(image, 0.1).weights, image.sigma**2 + (0.1 * light) ** 2)
    assert with_model_error(image, 0.0) is image


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_misfit_is_that_of_the_most_likely_error(scene, share):
    image, rng = scene[0], np.random.default_rng(1)
    light, _ = smoothed(image)
    width = np.sqrt(image.sigma**2 + (share * light) ** 2)
    # the model is too bright everywhere, so that no pixel may be an arc
    model = image.data + width * np.abs(rng.standard_normal(image.shape))
    fit = SimpleNamespace(observation=image, light=model, sky=0.0)
    expected = -2 * np.sum(norm.logpdf(image.data - model, scale=width) - norm.logpdf(0, scale=image.sigma))
    assert misfit_with_error(fit) == pytest.approx(expected, abs=10)


def test_light_that_is_left_counts_little(scene):
    image = scene[0]
    model = image.data.copy()
    model[34, 44] -= 100 * image.sigma[34, 44]
    assert misfit_with_error(SimpleNamespace(observation=image, light=model, sky=0.0)) == 1.0
    model[34, 44] += 200 * image.sigma[34, 44]
    assert misfit_with_error(SimpleNamespace(observation=image, light=model, sky=0.0)) > 10


def test_model_error_as_it_is_given(scene):
    image, arcs, _ = scene
    one_profile = ForegroundFitter(n_components=1, progress=False)
    assert one_profile(image, source=arcs, model_error=0.1).model_error == 0.1
    assert one_profile(image, source=arcs).model_error == 0
    with pytest.raises(ValueError, match="model_error"):
        one_profile(image, model_error=-1)
