import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import StdDevUncertainty
from scipy.special import erf, gammaincinv
from scipy.stats import kstest

from lenssuper import SIE, SIS, ExternalShear, PixelGrid
from lenssuper.simulate import EUCLID_VIS, GaussianSource, ImageSource, Instrument, SersicSource, mock_lens
from lenssuper.simulate.render import pixel_averages

arcsec = u.arcsec
SHARP = Instrument.gaussian(0.05 * arcsec, 0.1 * arcsec)
BENCH = Instrument.gaussian(0.08 * arcsec, 0.16 * arcsec)
LENS = SIE(theta_E=1.1 * arcsec, q=0.7, phi=30 * u.deg, x=0.03 * arcsec, y=-0.02 * arcsec) + ExternalShear(
    gamma1=0.04, gamma2=-0.03
)
SOURCE = SersicSource(0.2 * arcsec, 1.0, q=0.6, phi=70 * u.deg, x=0.12 * arcsec, y=0.05 * arcsec)


class TestPixelAverages:
    grid = PixelGrid((9, 12), 0.1 * arcsec)

    @pytest.mark.parametrize("rays", [1, 4])
    def test_gaussian(self, rays):
        s = 0.06
        found = pixel_averages(lambda x, y: np.exp(-(x**2 + y**2) / 2 / s**2), self.grid, rays=rays)
        edges = [(np.arange(n + 1) - n / 2) * 0.1 for n in (12, 9)]
        x, y = (np.diff(erf(e / s / np.sqrt(2))) * s * np.sqrt(np.pi / 2) / 0.1 for e in edges)
        np.testing.assert_allclose(found, np.outer(y, x), atol=2e-4)

    @pytest.mark.parametrize("rays", [1, 4])
    def test_cusp(self, rays):
        """A cone inside one pixel: the mean of r over a square of side h is 0.38260 h."""
        found = pixel_averages(lambda x, y: 1 - np.hypot(x - 0.05, y), self.grid, rays=rays)
        assert found[4, 6] == pytest.approx(1 - 0.1 * (np.sqrt(2) + np.arcsinh(1)) / 6, abs=1e-4)

    def test_dark(self):
        np.testing.assert_array_equal(pixel_averages(lambda x, y: 0 * x, self.grid), np.zeros((9, 12)))


class TestPhysics:
    def test_total_magnification_of_an_sis(self):
        """mu_tot = 2 theta_E / beta inside the Einstein ring."""
        beta = 0.25
        source = GaussianSource(0.03 * arcsec, x=beta * arcsec, amplitude=1.0)
        mock = mock_lens(SIS(theta_E=1.0 * arcsec), source, SHARP, rng=0)
        for flux, pixel in ((mock.image(2).sum(), 0.025), (mock.noiseless.sum(), 0.05)):
            assert flux * pixel**2 / source.flux == pytest.approx(2 / beta, rel=0.01)

    def test_counter_image(self):
        """Images at beta + theta_E and, on the other side, theta_E - beta, with the flux ratio of the two."""
        beta, radius = 0.3, 1.0
        mock = mock_lens(
            SIS(theta_E=radius * arcsec), GaussianSource(0.02 * arcsec, x=beta * arcsec), SHARP, rng=0
        )
        image = mock.image(4)
        x, y = (c.to_value(arcsec) for c in mock.grid.refine(4).centers)
        fluxes = []
        for side, expected in ((1, radius + beta), (-1, radius - beta)):
            part = image * (np.sign(x) == side)
            fluxes.append(part.sum())
            assert (part * x).sum() / part.sum() == pytest.approx(side * expected, abs=0.01)
            assert (part * y).sum() / part.sum() == pytest.approx(0, abs=1e-3)
        # |mu| = 1 + theta_E / beta and theta_E / beta - 1
        assert fluxes[0] / fluxes[1] == pytest.approx((radius / beta + 1) / (radius / beta - 1), rel=0.02)

    def test_same_as_lenstronomy(self):
        from lenstronomy.Data.imaging_data import ImageData
        from lenstronomy.Data.psf import PSF
        from lenstronomy.ImSim.image_model import ImageModel
        from lenstronomy.LensModel.lens_model import LensModel
        from lenstronomy.LightModel.light_model import LightModel
        from lenstronomy.Util.param_util import phi_q2_ellipticity

        n, pixel = 50, 0.08
        first = -(n - 1) / 2 * pixel
        data = ImageData(
            np.zeros((n, n)),
            background_rms=1.0,
            exposure_time=1.0,
            ra_at_xy_0=first,
            dec_at_xy_0=first,
            transform_pix2angle=np.eye(2) * pixel,
        )
        e1, e2 = phi_q2_ellipticity(np.radians(30), 0.7)
        s1, s2 = phi_q2_ellipticity(np.radians(70), 0.6)
        # lenstronomy's light is per arcsec^2 and its images are fluxes per pixel
        model = ImageModel(
            data,
            PSF(psf_type="GAUSSIAN", fwhm=0.16, pixel_size=pixel),
            LensModel(["SIE", "SHEAR"]),
            LightModel(["SERSIC_ELLIPSE"]),
            kwargs_numerics={"supersampling_factor": 11, "supersampling_convolution": True},
        )
        # its b_n is approximate: an exponential with the same scale length and central brightness is the same
        exact, approximate = gammaincinv(2, 0.5), 1.9992 - 0.3271
        theirs = model.image(
            [
                {"theta_E": 1.1, "e1": e1, "e2": e2, "center_x": 0.03, "center_y": -0.02},
                {"gamma1": 0.04, "gamma2": -0.03, "ra_0": 0, "dec_0": 0},
            ],
            [
                {
                    "amp": np.exp(exact - approximate),
                    "R_sersic": 0.2 * approximate / exact,
                    "n_sersic": 1.0,
                    "e1": s1,
                    "e2": s2,
                    "center_x": 0.12,
                    "center_y": 0.05,
                }
            ],
        )
        ours = mock_lens(LENS, SOURCE, BENCH, shape=(n, n), rng=0).noiseless
        np.testing.assert_allclose(ours, theirs / pixel**2, atol=1e-3 * ours.max())

    def test_light_outside_the_field_scatters_in(self):
        source = GaussianSource(0.05 * arcsec, x=0.82 * arcsec)
        empty = SIS(theta_E=1e-9 * arcsec)
        small = mock_lens(empty, source, BENCH, shape=(20, 20), rng=0)
        large = mock_lens(empty, source, BENCH, shape=(40, 40), rng=0)
        assert small.noiseless[:, -1].max() > 0.05 * large.noiseless.max()
        np.testing.assert_allclose(
            small.noiseless, large.noiseless[10:30, 10:30], atol=2e-4 * large.noiseless.max()
        )

    def test_finer_supersampling_changes_nothing(self):
        coarse, fine = (mock_lens(LENS, SOURCE, BENCH, supersampling=s, rng=0).noiseless for s in (8, 16))
        np.testing.assert_allclose(coarse, fine, atol=1e-3 * fine.max())

    def test_effective_psf_is_the_image_of_a_star(self):
        star = GaussianSource(0.002 * arcsec)
        mock = mock_lens(
            SIS(theta_E=1e-9 * arcsec), star, EUCLID_VIS, shape=(41, 41), supersampling=15, rng=0
        )
        image = mock.noiseless / mock.noiseless.sum()
        n = EUCLID_VIS.psf.shape[0] // 2
        np.testing.assert_allclose(
            image[20 - n : 21 + n, 20 - n : 21 + n], EUCLID_VIS.psf, atol=1e-3 * image.max()
        )


class TestObservation:
    mock = mock_lens(LENS, SOURCE, BENCH, shape=(40, 48), peak_snr=30, rng=5)

    def test_parts(self):
        observation = self.mock.observation
        assert observation.data.shape == (40, 48)
        assert isinstance(observation.uncertainty, StdDevUncertainty)
        assert observation.unit == u.electron / u.s
        assert not observation.mask.any()
        np.testing.assert_array_equal(observation.psf, BENCH.psf)

    def test_north_is_up_and_west_to_the_right(self):
        position = SkyCoord(10 * u.deg, -40 * u.deg)
        wcs = mock_lens(LENS, SOURCE, BENCH, shape=(41, 41), position=position, rng=0).observation.wcs
        centre, right, up = (wcs.pixel_to_world(*p) for p in ((20, 20), (30, 20), (20, 30)))
        assert centre.separation(position) < 1e-6 * arcsec
        assert centre.position_angle(right).to_value(u.deg) == pytest.approx(270, abs=1e-3)
        assert abs(centre.position_angle(up).wrap_at(180 * u.deg).to_value(u.deg)) < 1e-3
        assert centre.separation(right).to_value(arcsec) == pytest.approx(0.8, rel=1e-6)

    def test_grid_is_that_of_the_wcs(self):
        grid = PixelGrid.from_nddata(self.mock.observation)
        for ours, theirs in zip(self.mock.grid.centers, grid.centers, strict=True):
            np.testing.assert_allclose(ours.to_value(arcsec), theirs.to_value(arcsec), atol=1e-8)

    @pytest.mark.parametrize("noise", ["poisson", "gaussian"])
    def test_peak_snr(self, noise):
        mock = mock_lens(LENS, SOURCE, BENCH, peak_snr=42, noise=noise, rng=1)
        peak = np.unravel_index(mock.noiseless.argmax(), mock.noiseless.shape)
        assert mock.noiseless[peak] / mock.observation.uncertainty.array[peak] == pytest.approx(42)

    @pytest.mark.parametrize("noise", ["poisson", "gaussian"])
    def test_noise_is_standard_normal_in_units_of_its_sigma(self, noise):
        mock = mock_lens(LENS, SOURCE, BENCH, shape=(128, 128), peak_snr=40, noise=noise, rng=2)
        sigma = mock.observation.uncertainty.array
        chi = (mock.observation.data - mock.noiseless) / sigma
        assert kstest(chi.ravel(), "norm").pvalue > 0.01
        bright = mock.noiseless > 0.3 * mock.noiseless.max()
        assert bright.sum() > 200
        assert chi[bright].std() == pytest.approx(1, abs=0.12)
        assert (
            np.ptp(sigma) == pytest.approx(0)
            if noise == "gaussian"
            else sigma[bright].min() > 1.2 * sigma.min()
        )

    def test_exposure_time(self):
        short, long = (mock_lens(LENS, SOURCE, BENCH, exposure=t * u.s, rng=0) for t in (1000, 9000))
        ratio = short.observation.uncertainty.array / long.observation.uncertainty.array
        assert (ratio > 3 - 1e-9).all()  # sqrt(9) for photons, 9 for read noise
        assert (ratio < 9).all()

    def test_reproducible(self):
        one, same, other = (
            mock_lens(LENS, SOURCE, BENCH, peak_snr=30, rng=r).observation.data for r in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    def test_source_with_negative_pixels(self):
        image = np.random.default_rng(0).normal(0.1, 0.5, (20, 20))
        mock = mock_lens(LENS, ImageSource(image, 0.03 * arcsec), BENCH, peak_snr=20, rng=0)
        assert mock.noiseless.min() < 0
        chi = (mock.observation.data - mock.noiseless) / mock.observation.uncertainty.array
        assert chi.std() == pytest.approx(1, abs=0.05)
        assert chi.mean() == pytest.approx(0, abs=0.05)

    def test_lens_light_is_observed_but_not_part_of_the_truth(self):
        light = SersicSource(0.5 * arcsec, 4, amplitude=0.2)
        mock = mock_lens(LENS, SOURCE, BENCH, peak_snr=30, lens_light=light, rng=0)
        alone = mock_lens(LENS, mock.source, BENCH, rng=0)
        np.testing.assert_allclose(mock.image(), alone.image(), rtol=1e-12)
        foreground = mock.noiseless - alone.noiseless
        assert foreground[31:33, 31:33].min() > 5 * foreground[31:33, 50].max() > 0


class TestTruth:
    mock = TestObservation.mock

    def test_brightness_does_not_depend_on_the_pixels(self):
        one, two, three = (self.mock.image(f) for f in (1, 2, 3))
        assert two.shape == (80, 96)
        np.testing.assert_array_equal(self.mock.image(), two)
        for fine, f in ((two, 2), (three, 3)):
            binned = fine.reshape(40, f, 48, f).mean(axis=(1, 3))
            np.testing.assert_allclose(binned, one, atol=2e-3 * one.max())

    def test_no_psf(self):
        assert self.mock.image(1).max() > 1.1 * self.mock.noiseless.max()
        assert self.mock.image(1).sum() == pytest.approx(self.mock.noiseless.sum(), rel=1e-2)

    def test_source_in_the_same_unit(self):
        source = self.mock.source_image(PixelGrid((80, 80), 0.01 * arcsec))
        assert source.max() == pytest.approx(self.mock.image(4).max(), rel=0.05)

    def test_the_truth_is_the_users_to_change(self):
        self.mock.image(1)[:] = 0
        assert self.mock.image(1).max() > 0


class TestErrors:
    @pytest.mark.parametrize("snr", [-5, 0, np.nan])
    def test_peak_snr(self, snr):
        with pytest.raises(ValueError, match="peak_snr"):
            mock_lens(LENS, SOURCE, BENCH, peak_snr=snr)

    @pytest.mark.parametrize("shape", [(64,), (0, 10), (4, 4, 4), 64])
    def test_shape(self, shape):
        with pytest.raises((TypeError, ValueError), match="shape"):
            mock_lens(LENS, SOURCE, BENCH, shape=shape)

    @pytest.mark.parametrize("factor", [0, 1.5])
    def test_factor(self, factor):
        with pytest.raises((TypeError, ValueError), match="factor"):
            mock_lens(LENS, SOURCE, BENCH, factor=factor)

    def test_noise(self):
        with pytest.raises(ValueError, match="noise"):
            mock_lens(LENS, SOURCE, BENCH, noise="cosmic")

    def test_kinds(self):
        with pytest.raises(TypeError, match="lens must"):
            mock_lens("SIE", SOURCE, BENCH)
        with pytest.raises(TypeError, match="source must"):
            mock_lens(LENS, np.ones((5, 5)), BENCH)
        with pytest.raises(TypeError, match="instrument must"):
            mock_lens(LENS, SOURCE, "HST")

    def test_source_outside_the_field(self):
        with pytest.raises(ValueError, match="source must"):
            mock_lens(LENS, GaussianSource(0.01 * arcsec, x=50 * arcsec), BENCH, peak_snr=10)

    def test_no_noise_at_all(self):
        silent = Instrument.gaussian(
            0.08 * arcsec, 0.16 * arcsec, background=0 * u.electron / u.s, read_noise=0 * u.electron
        )
        with pytest.raises(ValueError, match="instrument must"):
            mock_lens(LENS, GaussianSource(0.01 * arcsec), silent)
