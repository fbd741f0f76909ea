import astropy.units as u
import numpy as np
import pytest
from scipy.special import erf, j1

from lenssuper.simulate import AiryPSF, GaussianPSF, MoffatPSF

PSFS = [
    GaussianPSF(0.16 * u.arcsec),
    MoffatPSF(0.7 * u.arcsec),
    AiryPSF(1.5 * u.um, 6.5 * u.m, obscuration=0.2, blur=0.015 * u.arcsec),
]


@pytest.mark.parametrize("psf", PSFS, ids=repr)
class TestEveryPSF:
    def test_kernels_are_odd_symmetric_and_normalised(self, psf):
        for kernel in (psf.optical(0.2 * psf.fwhm), psf.effective(0.5 * psf.fwhm)):
            assert kernel.shape[0] == kernel.shape[1]
            assert kernel.shape[0] % 2 == 1
            assert kernel.sum() == pytest.approx(1, abs=1e-12)
            np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
            np.testing.assert_allclose(kernel, kernel.T, atol=1e-15)
            assert np.unravel_index(kernel.argmax(), kernel.shape) == (kernel.shape[0] // 2,) * 2

    def test_fwhm_is_where_the_profile_has_halved(self, psf):
        half = psf.fwhm.to_value(u.arcsec) / 2
        centre, there = psf._profile(np.array([0.0, half]))
        assert there / centre == pytest.approx(0.5, abs=1e-3)

    def test_effective_psf_is_the_optical_one_averaged_over_pixels(self, psf):
        pixel, k = 0.6 * psf.fwhm, 41
        fine = psf.optical(pixel / k)
        effective = psf.effective(pixel)
        n = effective.shape[0]
        border = (n * k - fine.shape[0]) // 2
        assert border >= 0, "the effective PSF must hold all of the optical one"
        binned = np.pad(fine, border).reshape(n, k, n, k).sum(axis=(1, 3))
        np.testing.assert_allclose(effective, binned, atol=2e-4 * effective.max())

    def test_little_light_is_cut_off(self, psf):
        kernel = psf.optical(0.2 * psf.fwhm)
        assert max(kernel[0].max(), kernel[:, 0].max()) < 1e-4 * kernel.max()


def test_gaussian_matches_the_error_function():
    fwhm, pixel = 0.16, 0.08
    kernel = GaussianPSF(fwhm * u.arcsec).effective(pixel * u.arcsec)
    sigma = fwhm / np.sqrt(8 * np.log(2))
    n = kernel.shape[0] // 2
    edges = (np.arange(-n, n + 2) - 0.5) * pixel
    profile = np.diff(erf(edges / sigma / np.sqrt(2))) / 2
    np.testing.assert_allclose(kernel, np.outer(profile, profile), atol=3e-5)


def test_moffat_with_the_stated_width():
    psf = MoffatPSF(0.7 * u.arcsec, beta=3.0)
    assert psf.fwhm.to_value(u.arcsec) == pytest.approx(0.7, rel=1e-3)


@pytest.mark.parametrize("obscuration", [0.0, 0.33])
def test_airy_pattern(obscuration):
    """The closed form of an annular aperture's pattern (Born & Wolf, section 8.6.2)."""
    psf = AiryPSF(0.8 * u.um, 2.4 * u.m, obscuration=obscuration)
    resolution = (0.8e-6 / 2.4) * u.rad.to(u.arcsec)
    r = np.linspace(0.01, 5, 300) * resolution
    v = np.pi * r / resolution
    amplitude = 2 * j1(v) / v
    if obscuration:
        amplitude -= obscuration**2 * 2 * j1(obscuration * v) / (obscuration * v)
    expected = (amplitude / (1 - obscuration**2)) ** 2
    np.testing.assert_allclose(psf._profile(r), expected, atol=2e-6)


def test_blur_adds_in_quadrature_to_the_second_moment():
    blur = 0.08
    plain, blurred = (
        AiryPSF(0.8 * u.um, 2.4 * u.m, blur=b * u.arcsec).optical(0.01 * u.arcsec) for b in (0, blur)
    )
    assert blurred.max() < plain.max()
    # convolving the sharp one by hand gives the same core
    n = plain.shape[0] // 2
    x = np.arange(-n, n + 1) * 0.01
    gauss = np.exp(-4 * np.log(2) * (x[:, None] ** 2 + x**2) / blur**2)
    by_hand = np.sum(plain * gauss / gauss.sum())
    assert blurred.max() == pytest.approx(by_hand, rel=0.01)


class TestErrors:
    @pytest.mark.parametrize("fwhm", [0.1, None])
    def test_bare_numbers(self, fwhm):
        with pytest.raises(TypeError, match="fwhm"):
            GaussianPSF(fwhm)

    def test_wrong_unit(self):
        with pytest.raises((TypeError, ValueError), match="fwhm"):
            GaussianPSF(1 * u.m)

    @pytest.mark.parametrize("fwhm", [-0.1, 0.0, np.nan])
    def test_not_positive(self, fwhm):
        with pytest.raises(ValueError, match="fwhm"):
            MoffatPSF(fwhm * u.arcsec)

    def test_arrays_are_refused(self):
        with pytest.raises(ValueError, match="fwhm must be one value"):
            GaussianPSF([0.1, 0.2] * u.arcsec)

    def test_obscuration_out_of_range(self):
        with pytest.raises(ValueError, match="obscuration"):
            AiryPSF(1 * u.um, 2 * u.m, obscuration=1.0)

    def test_lengths_need_units(self):
        with pytest.raises(TypeError, match="wavelength"):
            AiryPSF(0.8, 2.4 * u.m)

    def test_moffat_without_finite_flux(self):
        with pytest.raises(ValueError, match="beta"):
            MoffatPSF(0.7 * u.arcsec, beta=1.0)
