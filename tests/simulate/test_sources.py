import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.models import Sersic2D

from lenssuper import PixelGrid
from lenssuper.simulate import ClumpySpiral, GaussianSource, ImageSource, SersicSource
from lenssuper.simulate.render import pixel_averages
from lenssuper.simulate.spirals import _cos_of_turns

arcsec = u.arcsec


def flux(source, size=8.0, n=400):
    grid = PixelGrid((n, n), size / n * arcsec)
    return pixel_averages(source.surface_brightness, grid).sum() * (size / n) ** 2


class TestSersic:
    @pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0])
    def test_half_the_light_is_inside_R_e(self, n):
        source = SersicSource(0.5 * arcsec, n)
        r = np.geomspace(1e-6, 0.5, 20001)
        light = 2 * np.pi * r * source.surface_brightness(r, 0.0)
        assert np.trapezoid(light, r) == pytest.approx(source.flux / 2, rel=1e-3)

    def test_same_as_astropy(self):
        """Astropy's r_eff is on the major axis: R_e / sqrt(q)."""
        q, phi = 0.4, 0.7
        ours = SersicSource(
            0.3 * arcsec, 1.7, q=q, phi=phi * u.rad, x=0.1 * arcsec, y=-0.2 * arcsec, amplitude=2
        )
        theirs = Sersic2D(2, 0.3 / np.sqrt(q), 1.7, 0.1, -0.2, 1 - q, phi)
        x, y = np.random.default_rng(1).uniform(-1, 1, (2, 200))
        np.testing.assert_allclose(ours.surface_brightness(x, y), theirs(x, y), rtol=1e-10)

    def test_amplitude_at_R_e(self):
        assert SersicSource(0.3 * arcsec, 4, amplitude=3).surface_brightness(0, 0.3) == pytest.approx(3)

    @pytest.mark.parametrize(
        ("arguments", "error", "name"),
        [
            ({"R_e": 0.3}, TypeError, "R_e"),
            ({"R_e": -0.3 * arcsec}, ValueError, "R_e"),
            ({"n": 0}, ValueError, "n"),
            ({"q": 1.2}, ValueError, "q"),
            ({"q": 0}, ValueError, "q"),
            ({"phi": 30}, TypeError, "phi"),
            ({"x": 0.1}, TypeError, "x"),
            ({"y": np.nan * arcsec}, ValueError, "y"),
            ({"amplitude": "bright"}, TypeError, "amplitude"),
        ],
    )
    def test_errors_name_the_argument(self, arguments, error, name):
        with pytest.raises(error, match=rf"\b{name} must"):
            SersicSource(**({"R_e": 0.3 * arcsec, "n": 1.0} | arguments))


def test_gaussian_flux_and_width():
    source = GaussianSource(0.2 * arcsec, x=0.1 * arcsec, amplitude=5)
    assert flux(source, 2.0) == pytest.approx(source.flux, rel=1e-4)
    assert source.surface_brightness(0.2, 0.0) == pytest.approx(2.5)


class TestImageSource:
    image = np.random.default_rng(3).uniform(size=(5, 7))

    def test_pixels_are_reproduced_where_they_belong(self):
        source = ImageSource(self.image, 0.1 * arcsec, x=0.3 * arcsec, y=-0.2 * arcsec)
        x, y = np.meshgrid((np.arange(7) - 3) * 0.1 + 0.3, (np.arange(5) - 2) * 0.1 - 0.2)
        np.testing.assert_allclose(source.surface_brightness(x, y), self.image, atol=1e-12)

    def test_turned_counter_clockwise(self):
        image = np.zeros((5, 5))
        image[2, 4] = 1.0  # on the +x side
        source = ImageSource(image, 0.1 * arcsec, phi=90 * u.deg)
        assert source.surface_brightness(0.0, 0.2) == pytest.approx(1)
        assert source.surface_brightness(0.2, 0.0) == pytest.approx(0, abs=1e-9)

    def test_dark_outside(self):
        source = ImageSource(np.ones((5, 5)), 0.1 * arcsec)
        assert source.surface_brightness(0.0, 0.0) == pytest.approx(1)
        np.testing.assert_allclose(source.surface_brightness(np.array([0.7, 9.0]), 0.0), 0, atol=1e-2)

    def test_flux_is_kept(self):
        image = np.pad(self.image, 3)
        source = ImageSource(image, 0.05 * arcsec, phi=33 * u.deg)
        assert flux(source, 2.0) == pytest.approx(image.sum() * 0.05**2, rel=1e-3)

    def test_cubic_between_pixels(self):
        x = np.linspace(-3, 3, 41)
        image = np.exp(-(x**2) / 2 - x[:, None] ** 2 / 2)
        source = ImageSource(image, 0.15 * arcsec)
        at = np.random.default_rng(0).uniform(-2, 2, (2, 100))
        np.testing.assert_allclose(source.surface_brightness(*at), np.exp(-(at**2).sum(0) / 2), atol=2e-5)

    def test_the_users_array_may_change_later(self):
        image = np.ones((5, 5))
        source = ImageSource(image, 0.1 * arcsec)
        image[:] = 7
        assert source.placed(0 * arcsec, 0 * arcsec, 0 * u.deg).surface_brightness(0, 0) == pytest.approx(1)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.ones(5), "two-dimensional"),
            (np.ones((0, 5)), "two-dimensional"),
            (np.full((3, 3), np.nan), "9 NaN"),
        ],
    )
    def test_bad_images(self, image, message):
        with pytest.raises(ValueError, match=message):
            ImageSource(image, 0.1 * arcsec)


class TestSums:
    a, b = SersicSource(0.3 * arcsec, 1), GaussianSource(0.1 * arcsec, x=0.2 * arcsec)

    def test_linear(self):
        both = 2 * (self.a + 0.5 * self.b)
        at = (np.array([0.1, -0.3]), np.array([0.0, 0.2]))
        expected = 2 * self.a.surface_brightness(*at) + self.b.surface_brightness(*at)
        np.testing.assert_allclose(both.surface_brightness(*at), expected, rtol=1e-14)
        assert [f for f, _ in both.terms] == [2, 1]

    def test_only_sources_add_up(self):
        with pytest.raises(TypeError):
            self.a + 1
        with pytest.raises(TypeError):
            self.a * self.b


class TestClumpySpiral:
    def test_cosine_of_turns(self):
        """However many turns: float32 alone would be wrong by 1e-5 of a hundred turns."""
        turns = np.random.default_rng(0).uniform(-300, 300, 10_000)
        np.testing.assert_allclose(_cos_of_turns(turns), np.cos(2 * np.pi * turns), rtol=0, atol=3e-7)

    def test_seed_makes_the_galaxy(self):
        at = np.random.default_rng(0).uniform(-0.6, 0.6, (2, 500))
        one, same, other = (ClumpySpiral(0.3 * arcsec, rng=s).surface_brightness(*at) for s in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert np.abs(one - other).max() > 0.05 * one.max()

    def test_shares_of_the_light(self):
        """A plain disc, with a bulge and clumps added as fractions of flux."""
        plain = {"patchiness": 0.0, "arm_contrast": 0.0, "rng": 3}
        disc = flux(ClumpySpiral(0.3 * arcsec, bulge_fraction=0, clumps=0, **plain))
        bulge = flux(ClumpySpiral(0.3 * arcsec, bulge_fraction=0.25, clumps=0, **plain))
        clumpy = flux(ClumpySpiral(0.3 * arcsec, bulge_fraction=0.25, clumps=8, clump_fraction=0.3, **plain))
        smooth = SersicSource(0.3 * arcsec, 1.0).flux
        assert disc == pytest.approx(smooth, rel=0.01)
        assert bulge == pytest.approx(disc / 0.75, rel=0.02)
        assert clumpy == pytest.approx(1.3 * bulge, rel=0.01)

    def test_arms_move_light_but_do_not_make_it(self):
        arms = ClumpySpiral(
            0.3 * arcsec, bulge_fraction=0, clumps=0, patchiness=0.0, arm_contrast=0.8, arms=3, rng=1
        )
        assert flux(arms) == pytest.approx(SersicSource(0.3 * arcsec, 1.0).flux, rel=0.01)
        theta = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        ring = arms.surface_brightness(0.4 * np.cos(theta), 0.4 * np.sin(theta))
        spectrum = np.abs(np.fft.rfft(ring))
        assert spectrum[1:].argmax() + 1 == 3

    @pytest.mark.parametrize("seed", range(4))
    def test_smooth_and_positive_everywhere(self, seed):
        galaxy = ClumpySpiral(0.3 * arcsec, q=0.5, phi=20 * u.deg, patchiness=0.5, clumps=20, rng=seed)
        rng = np.random.default_rng(seed)
        at = np.concatenate([rng.uniform(-1, 1, (2, 4000)), np.zeros((2, 1))], axis=1)
        # also across the line where the azimuth jumps by 2 pi
        along = -np.geomspace(1e-3, 1, 200)
        cut = along * np.array([[np.cos(np.radians(20))], [np.sin(np.radians(20))]])
        at = np.concatenate([at, cut], axis=1)
        value = galaxy.surface_brightness(*at)
        assert (value > 0).all()
        step = 1e-7 * rng.normal(size=at.shape)
        change = np.abs(galaxy.surface_brightness(*(at + step)) - value).max()
        assert change < 1e-4 * value.max()

    def test_clumps_have_the_sizes_asked_for(self):
        galaxy = ClumpySpiral(0.3 * arcsec, clumps=200, clump_fwhm=(0.03, 0.12) * arcsec, rng=0)
        fwhm = galaxy._clumps[:, 3] * np.sqrt(8 * np.log(2))
        assert fwhm.min() >= 0.03 - 1e-12
        assert fwhm.max() <= 0.12 + 1e-12
        assert fwhm.std() > 0.01

    @pytest.mark.parametrize(
        ("arguments", "error", "name"),
        [
            ({"R_e": 0.3}, TypeError, "R_e"),
            ({"arms": 2.5}, TypeError, "arms"),
            ({"clumps": -1}, ValueError, "clumps"),
            ({"pitch": 0 * u.deg}, ValueError, "pitch"),
            ({"arm_contrast": 1.5}, ValueError, "arm_contrast"),
            ({"bulge_fraction": 1.0}, ValueError, "bulge_fraction"),
            ({"patchiness": -0.1}, ValueError, "patchiness"),
            ({"clump_fwhm": (0.03, 0.12)}, TypeError, "clump_fwhm"),
            ({"clump_fwhm": (0.3, 0.1) * arcsec}, ValueError, "clump_fwhm"),
        ],
    )
    def test_errors_name_the_argument(self, arguments, error, name):
        with pytest.raises(error, match=rf"\b{name} must"):
            ClumpySpiral(**({"R_e": 0.3 * arcsec} | arguments))
