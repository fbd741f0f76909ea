from dataclasses import FrozenInstanceError, replace

import astropy.units as u
import numpy as np
import pytest

from lenssuper.simulate import (
    EUCLID_VIS,
    HST_ACS_F814W,
    HST_WFC3_F160W,
    JWST_NIRCAM_F150W,
    JWST_NIRCAM_F444W,
    LSST_I,
    GaussianPSF,
    Instrument,
)

PRESETS = {  # pixel scale and effective FWHM, arcsec
    "acs": (HST_ACS_F814W, 0.05, 0.103),
    "wfc3": (HST_WFC3_F160W, 0.08, 0.15),
    "f150w": (JWST_NIRCAM_F150W, 0.03, 0.053),
    "f444w": (JWST_NIRCAM_F444W, 0.06, 0.147),
    "euclid": (EUCLID_VIS, 0.10, 0.16),
    "lsst": (LSST_I, 0.20, 0.70),
}


@pytest.mark.parametrize(("instrument", "scale", "fwhm"), PRESETS.values(), ids=PRESETS)
def test_presets(instrument, scale, fwhm):
    assert instrument.pixel_scale.to_value(u.arcsec) == scale
    assert instrument.psf_fwhm.to_value(u.arcsec) == pytest.approx(fwhm, rel=0.05)
    assert instrument.psf.shape[0] % 2 == 1
    assert instrument.psf.sum() == pytest.approx(1, abs=1e-12)


def test_effective_width_of_a_gaussian():
    """Variances of PSF and pixel add up, and the FWHM follows them closely."""
    instrument = Instrument.gaussian(0.08 * u.arcsec, 0.16 * u.arcsec)
    n = instrument.psf.shape[0] // 2
    x = np.arange(-n, n + 1) * 0.08
    variance = np.sum(instrument.psf * x**2)
    expected = 0.16**2 / (8 * np.log(2)) + 0.08**2 / 12
    # the sampled second moment holds the pixel once more
    assert variance == pytest.approx(expected, rel=2e-3)
    assert instrument.psf_fwhm.to_value(u.arcsec) == pytest.approx(
        np.sqrt(8 * np.log(2) * expected), rel=0.01
    )


def test_variance_from_photons_and_read_out():
    instrument = Instrument.gaussian(
        0.1 * u.arcsec,
        0.2 * u.arcsec,
        background=0.5 * u.electron / u.s,
        read_noise=5 * u.electron,
        exposure=100 * u.s,
        n_exposures=2,
    )
    # 0.5 + 1.5 electron/s over 100 s are 200 electrons; two read-outs add 2 x 25
    assert instrument.variance(1.5) * 100**2 == pytest.approx(250)


def test_immutable():
    with pytest.raises(FrozenInstanceError):
        EUCLID_VIS.exposure = 1 * u.s
    with pytest.raises(ValueError, match="read-only"):
        EUCLID_VIS.psf[0, 0] = 1


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("background", 0.1), ("read_noise", 4.0), ("exposure", 100.0), ("exposure", 1 * u.m)],
    )
    def test_missing_or_wrong_units(self, name, value):
        with pytest.raises(TypeError, match=name):
            replace(EUCLID_VIS, **{name: value})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("background", -1 * u.electron / u.s),
            ("read_noise", np.nan * u.electron),
            ("exposure", 0 * u.s),
            ("n_exposures", 0),
        ],
    )
    def test_out_of_range(self, name, value):
        with pytest.raises(ValueError, match=name):
            replace(EUCLID_VIS, **{name: value})

    def test_bare_pixel_scale(self):
        with pytest.raises(TypeError, match="pixel_scale"):
            Instrument("x", 0.1, GaussianPSF(0.1 * u.arcsec))

    def test_optics_of_the_wrong_kind(self):
        with pytest.raises(TypeError, match="optics"):
            Instrument("x", 0.1 * u.arcsec, np.ones((3, 3)))
