"""How fine an image PSF and noise support: against the closed form for a Gaussian PSF."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import SIE, Observation, PixelGrid, SuperResolver
from lenssuper.superres.detail import supported_factor


def observation(spread, snr, oversampling=3, **options):
    """A bright square, blurred by a Gaussian whose standard deviation is ``spread`` pixels."""
    axis = np.arange(-45, 46) / oversampling
    psf = np.exp(-(axis**2 + axis[:, None] ** 2) / (2 * spread**2))
    data = np.zeros((48, 48))
    data[16:32, 16:32] = snr
    image = CCDData(data, uncertainty=StdDevUncertainty(np.ones_like(data)), unit="adu", psf=psf / psf.sum())
    options = {"psf_oversampling": oversampling, "psf_includes_pixel": True} | options
    return Observation.from_nddata(image, grid=PixelGrid((48, 48), 0.1 * u.arcsec), **options)


@pytest.mark.parametrize("spread", [0.6, 0.9, 1.7])
@pytest.mark.parametrize("snr", [5.0, 30.0, 300.0])
def test_gaussian(spread, snr):
    # |p(k)| = exp(-2 pi^2 s^2 k^2) = max(p) sqrt(N) / S, with max(p) = 1 / (2 pi s^2) and N = 4 pi s^2
    threshold = 1 / (np.sqrt(np.pi) * spread * snr)
    finest = np.sqrt(-np.log(threshold) / 2) / (np.pi * spread)
    assert abs(4 * finest - round(4 * finest)) > 0.02  # not on the edge between two
    assert supported_factor(observation(spread, snr)) == int(np.ceil(4 * finest))


def test_without_a_psf_there_is_no_limit():
    plain = CCDData(np.full((9, 9), 30.0), uncertainty=StdDevUncertainty(np.ones((9, 9))), unit="adu")
    grid = PixelGrid((9, 9), 0.1 * u.arcsec)
    assert supported_factor(Observation.from_nddata(plain, grid=grid), 5) == 5


def test_too_fine_a_factor_is_said():
    seen = observation(1.7, 30.0)
    resolver = SuperResolver(SIE(theta_E=1 * u.arcsec, q=0.8, phi=0 * u.deg), factor=4)
    assert any("factor=4 is finer than PSF and S/N" in text for text in resolver._remarks(seen))
    assert not any("finer" in text for text in SuperResolver(resolver.lens, factor=2)._remarks(seen))
