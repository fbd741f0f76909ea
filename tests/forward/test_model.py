import pickle

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty
from astropy.wcs import WCS
from scipy.ndimage import spline_filter
from scipy.special import gammaincinv

from lenssuper import SIE, ExternalShear, ForwardModel, Observation, PixelGrid
from lenssuper.exceptions import ObservationError
from lenssuper.operators import SplineSampling
from lenssuper.operators.boxed import BoxedConvolution
from lenssuper.simulate import Instrument, SersicSource
from lenssuper.simulate.mock import _lensed, _observe
from lenssuper.simulate.render import pixel_averages

arcsec = u.arcsec
LENS = SIE(theta_E=1.1 * arcsec, q=0.7, phi=30 * u.deg, x=0.03 * arcsec, y=-0.02 * arcsec) + ExternalShear(
    gamma1=0.04, gamma2=-0.03
)
# without a cusp, which pixels of a source round off
SOURCE = SersicSource(0.35 * arcsec, 0.5, q=0.6, phi=70 * u.deg, x=0.12 * arcsec, y=0.05 * arcsec)
EXPONENTIAL = SersicSource(0.35 * arcsec, 1.0, q=0.6, phi=70 * u.deg, x=0.12 * arcsec, y=0.05 * arcsec)
INSTRUMENT = Instrument.gaussian(0.08 * arcsec, 0.16 * arcsec)
GRID = PixelGrid((40, 48), 0.08 * arcsec)
# on critical curves one sees single pixels of the source: this is how fine they must be
FINE_SOURCE = PixelGrid((560, 560), 0.005 * arcsec)
COARSE_SOURCE = PixelGrid((30, 26), 0.06 * arcsec, center=(0.1, 0) * arcsec)


def observation(data, grid=GRID, *, sigma=1.0, mask=None, psf=INSTRUMENT.psf, **options):
    image = CCDData(
        data, unit="", uncertainty=StdDevUncertainty(np.broadcast_to(sigma, data.shape)), mask=mask, psf=psf
    )
    return Observation.from_nddata(image, grid=grid, **options)


def largest_error(found, expected):
    """Relative to the peak."""
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def source():
    return pixel_averages(SOURCE.surface_brightness, FINE_SOURCE)


@pytest.fixture(scope="module")
def rendered():
    """The observation by shooting rays: no operator of the package is in it."""
    return _observe(_lensed(LENS, SOURCE), GRID, INSTRUMENT, 12)


@pytest.fixture(scope="module")
def model():
    """A small model with noise that varies and some pixels that are not used."""
    rng = np.random.default_rng(3)
    mask = rng.uniform(size=GRID.shape) < 0.1
    sigma = rng.uniform(0.5, 2, GRID.shape)
    return ForwardModel(
        observation(rng.normal(size=GRID.shape), sigma=sigma, mask=mask), LENS, source_grid=COARSE_SOURCE
    )


def lenstronomy_image(n, kernel, oversampling):
    """An exponential source through the same lens and PSF in lenstronomy, in surface brightness per pixel."""
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    pixel = 0.08
    data = ImageData(
        np.zeros((n, n)),
        background_rms=1.0,
        exposure_time=1.0,
        ra_at_xy_0=-(n - 1) / 2 * pixel,
        dec_at_xy_0=-(n - 1) / 2 * pixel,
        transform_pix2angle=np.eye(2) * pixel,
    )
    psf = PSF(
        psf_type="PIXEL",
        kernel_point_source=kernel,
        point_source_supersampling_factor=oversampling,
        pixel_size=pixel,
    )
    model = ImageModel(
        data,
        psf,
        LensModel(["SIE", "SHEAR"]),
        LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": oversampling, "supersampling_convolution": True},
    )
    e1, e2 = phi_q2_ellipticity(np.radians(30), 0.7)
    s1, s2 = phi_q2_ellipticity(np.radians(70), 0.6)
    # its b_n is approximate: an exponential of the same scale length and central brightness is the same
    exact, approximate = gammaincinv(2, 0.5), 1.9992 - 0.3271
    image = model.image(
        [
            {"theta_E": 1.1, "e1": e1, "e2": e2, "center_x": 0.03, "center_y": -0.02},
            {"gamma1": 0.04, "gamma2": -0.03, "ra_0": 0, "dec_0": 0},
        ],
        [
            {
                "amp": np.exp(exact - approximate),
                "R_sersic": 0.35 * approximate / exact,
                "n_sersic": 1.0,
                "e1": s1,
                "e2": s2,
                "center_x": 0.12,
                "center_y": 0.05,
            }
        ],
    )
    return image / pixel**2  # its images are fluxes per pixel, of light per arcsec^2


class TestAgainstOtherCodes:
    @pytest.mark.filterwarnings("ignore:`axes` should not be:DeprecationWarning:lenstronomy")
    @pytest.mark.parametrize("factor", [2, 3])
    def test_lenstronomy(self, factor):
        """But for the border of the image: in lenstronomy there is no light beyond it."""
        kernel = INSTRUMENT.optics.optical(0.08 / 9 * arcsec)
        theirs = lenstronomy_image(44, kernel, 9)
        # the source has a cusp: this is how fine its pixels must be
        sources = PixelGrid((450, 450), 0.006 * arcsec)
        source = pixel_averages(EXPONENTIAL.surface_brightness, sources)
        observed = observation(
            theirs,
            PixelGrid((44, 44), 0.08 * arcsec),
            psf=kernel,
            psf_oversampling=9,
            psf_includes_pixel=False,
        )
        ours = ForwardModel(observed, LENS, factor=factor, source_grid=sources).forward(source)
        assert largest_error(ours[5:-5, 5:-5], theirs[5:-5, 5:-5]) < 1e-3

    # factor 1 blurs images of whole pixels, and two of them are the PSF's FWHM
    @pytest.mark.parametrize(("factor", "tolerance"), [(1, 3e-3), (2, 1e-3), (3, 1e-3)])
    @pytest.mark.parametrize(
        ("psf", "options"),
        [
            (INSTRUMENT.psf, {}),
            (INSTRUMENT.optics.optical(0.08 * arcsec), {"psf_includes_pixel": False}),
            (INSTRUMENT.optics.optical(0.02 * arcsec), {"psf_includes_pixel": False, "psf_oversampling": 4}),
        ],
        ids=["effective", "optical", "oversampled"],
    )
    def test_rays(self, source, rendered, factor, tolerance, psf, options):
        """Light from outside of the field included."""
        observed = observation(rendered, psf=psf, **options)
        ours = ForwardModel(observed, LENS, factor=factor, source_grid=FINE_SOURCE).forward(source)
        assert largest_error(ours, rendered) < tolerance

    @pytest.mark.parametrize("factor", [1, 2, 3])
    @pytest.mark.parametrize("psf", [None, np.ones((1, 1)), np.pad([[1.0]], 2)], ids=["none", "one", "delta"])
    def test_no_blur(self, source, factor, psf):
        expected = pixel_averages(_lensed(LENS, SOURCE), GRID)
        model = ForwardModel(observation(expected, psf=psf), LENS, factor=factor, source_grid=FINE_SOURCE)
        assert largest_error(model.forward(source), expected) < 2e-3

    @pytest.mark.parametrize("factor", [1, 2, 3])
    def test_lensed_image(self, source, rendered, factor):
        """The image without PSF, on the finer pixels of the field alone."""
        model = ForwardModel(observation(rendered), LENS, factor=factor, source_grid=FINE_SOURCE)
        expected = pixel_averages(_lensed(LENS, SOURCE), model.fine_grid)
        assert model.fine_grid == GRID.refine(factor)
        assert largest_error(model.lensed_image(source), expected) < 5e-3

    def test_psf_that_is_not_symmetric_is_not_mirrored(self, source):
        """All light moved by a pixel along the columns and two along the rows."""
        psf = np.zeros((7, 7))
        psf[3 + 2, 3 + 1] = 1
        still = pixel_averages(_lensed(LENS, SOURCE), GRID)
        moved = ForwardModel(observation(still, psf=psf), LENS, source_grid=FINE_SOURCE).forward(source)
        plain = ForwardModel(observation(still, psf=None), LENS, source_grid=FINE_SOURCE).forward(source)
        # a delta that is not in the middle is interpolated, to a kernel that is a pixel wide
        assert np.corrcoef(moved[2:, 1:].ravel(), plain[:-2, :-1].ravel())[0, 1] > 0.999
        assert moved.sum() == pytest.approx(plain.sum(), rel=0.05)


class TestSky:
    """The lens is on the sky, not on the detector."""

    position = SkyCoord(150.1 * u.deg, 2.2 * u.deg)

    def tilted(self, angle, parity):
        """An observation by a detector that is turned, and mirrored where parity is -1."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = self.position.ra.deg, self.position.dec.deg
        wcs.wcs.crpix = 22.5, 25.5
        c, s = np.cos(angle), np.sin(angle)
        west_north = np.array([[c, -parity * s], [s, parity * c]]) * 0.08 / 3600
        wcs.wcs.cd = west_north * [[-1], [1]]  # right ascension grows to the east
        wcs.wcs.set()
        grid = PixelGrid.from_wcs(wcs, (50, 44))
        data = _observe(_lensed(LENS, SOURCE), grid, INSTRUMENT, 8)
        return CCDData(
            data, unit="", uncertainty=StdDevUncertainty(np.ones(data.shape)), wcs=wcs, psf=INSTRUMENT.psf
        )

    @pytest.mark.parametrize(("angle", "parity"), [(0.0, 1), (0.6, 1), (2.5, -1)])
    def test_rotated_and_mirrored_detectors(self, source, angle, parity):
        observed = self.tilted(angle, parity)
        ours = ForwardModel(observed, LENS, source_grid=FINE_SOURCE).forward(source)
        assert largest_error(ours, observed.data) < 1e-3

    def test_mirrored_lens_is_another_one(self, source):
        """Or the test above would pass whatever the orientation."""
        observed = self.tilted(0.6, 1)
        mirrored = SIE(theta_E=1.1 * arcsec, q=0.7, phi=150 * u.deg, x=-0.03 * arcsec, y=-0.02 * arcsec)
        ours = ForwardModel(observed, mirrored, source_grid=FINE_SOURCE).forward(source)
        assert largest_error(ours, observed.data) > 0.1


class TestOperator:
    @pytest.mark.parametrize("factor", [1, 2, 3])
    @pytest.mark.parametrize("whitened", [False, True])
    def test_adjoint(self, model, factor, whitened):
        rng = np.random.default_rng(1)
        op = ForwardModel(model.observation, LENS, factor=factor, source_grid=COARSE_SOURCE)
        op = op.whitened if whitened else op
        x, y = rng.normal(size=op.in_shape), rng.normal(size=op.out_shape)
        ax, aty = op.forward(x), op.adjoint(y)
        scale = np.linalg.norm(ax) * np.linalg.norm(y)
        assert abs(np.vdot(ax, y) - np.vdot(x, aty)) < 1e-12 * scale
        assert ax.std() > 0.01

    def test_shapes(self, model):
        assert model.in_shape == (30, 26)
        assert model.out_shape == (40, 48)
        assert model.source_grid == COARSE_SOURCE
        assert repr(model) == "<ForwardModel: source (30, 26) -> image (40, 48), factor 2>"
        assert model.lens == LENS
        assert model.factor == 2

    def test_batches(self, model):
        x = np.random.default_rng(2).normal(size=(2, 3, *model.in_shape))
        found = model.forward(x)
        assert found.shape == (2, 3, 40, 48)
        np.testing.assert_allclose(found[1, 2], model.forward(x[1, 2]), rtol=0, atol=1e-13)
        assert model.lensed_image(x).shape == (2, 3, 80, 96)

    def test_is_the_product_of_its_parts(self, model):
        x = np.random.default_rng(2).normal(size=model.in_shape)
        np.testing.assert_array_equal(model.forward(x), model.blur.forward(model.lensing.forward(x)))

    def test_constant_source_keeps_its_brightness(self):
        """A source that fills all the image is as bright in the image: the PSF loses nothing at the edges."""
        field = PixelGrid((24, 30), 0.08 * arcsec)
        wide = PixelGrid((60, 60), 0.1 * arcsec)
        model = ForwardModel(observation(np.ones(field.shape), field), LENS, source_grid=wide)
        np.testing.assert_allclose(model.forward(np.ones(wide.shape)), 1, rtol=0, atol=1e-12)

    def test_torch(self, model):
        x = np.random.default_rng(4).normal(size=(2, *model.in_shape))
        tensor = torch.tensor(x, requires_grad=True)
        image = model.forward(tensor)
        np.testing.assert_allclose(image.detach().numpy(), model.forward(x), rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            model.whitened.forward(tensor).detach().numpy(), model.whitened.forward(x), rtol=0, atol=1e-12
        )
        weight = torch.tensor(np.random.default_rng(5).normal(size=(2, *model.out_shape)))
        (image * weight).sum().backward()
        np.testing.assert_allclose(tensor.grad.numpy(), model.adjoint(weight.numpy()), rtol=0, atol=1e-12)

    def test_gradient_of_chi2(self, model):
        """What a network is trained by, against finite differences."""
        x = torch.tensor(np.random.default_rng(4).normal(size=model.in_shape), requires_grad=True)
        target = torch.tensor(model.data)
        chi2 = (model.whiten(target - model.forward(x)) ** 2).sum()
        assert chi2.item() == pytest.approx(model.chi2(x.detach().numpy()))
        chi2.backward()
        direction = np.random.default_rng(6).normal(size=model.in_shape)
        start, step = x.detach().numpy(), 1e-4
        slope = (model.chi2(start + step * direction) - model.chi2(start - step * direction)) / (2 * step)
        assert np.vdot(x.grad.numpy(), direction) == pytest.approx(slope, rel=1e-6)

    def test_float32(self, model):
        x = np.random.default_rng(4).normal(size=model.in_shape)
        assert model.forward(x.astype(np.float32)).dtype == np.float32
        assert model.forward(torch.tensor(x, dtype=torch.float32)).dtype == torch.float32
        np.testing.assert_allclose(model.forward(x.astype(np.float32)), model.forward(x), rtol=0, atol=1e-5)

    def test_pickle(self, model):
        x = np.random.default_rng(4).normal(size=model.in_shape)
        other = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(other.forward(x), model.forward(x))


class TestNoise:
    def test_masked_pixels_never_enter(self, model):
        """Whatever they hold, NaN included: the same data, weights, adjoint and chi-square."""
        mask = model.observation.mask
        sigma = model.observation.sigma
        assert mask.any()
        poisoned, no_noise = model.data.copy(), np.where(mask, 0.0, sigma)
        poisoned[mask] = np.where(np.arange(mask.sum()) % 2, np.nan, 1e30)
        other = ForwardModel(
            observation(poisoned, sigma=no_noise, mask=mask), LENS, source_grid=COARSE_SOURCE
        )
        x = np.random.default_rng(5).normal(size=model.in_shape)
        np.testing.assert_array_equal(other.data, model.data)
        np.testing.assert_allclose(other.weights, model.weights, rtol=1e-14)
        assert other.chi2(x) == pytest.approx(model.chi2(x), rel=1e-12)
        assert (other.residuals(x)[mask] == 0).all()
        assert (other.whitened.forward(x)[mask] == 0).all()

    def test_masked_pixels_do_not_push_the_source(self, model):
        y = np.zeros(model.out_shape)
        y[model.observation.mask] = 1e6
        assert not model.whitened.adjoint(y).any()

    def test_pixels_without_weight_are_masked(self, model):
        ivar = model.weights.copy()
        ivar[3:5, 7:9] = 0
        image = CCDData(model.data, unit="", uncertainty=InverseVariance(ivar), psf=INSTRUMENT.psf)
        other = ForwardModel(Observation.from_nddata(image, grid=GRID), LENS, source_grid=COARSE_SOURCE)
        x = np.random.default_rng(5).normal(size=model.in_shape)
        expected = model.residuals(x)
        expected[3:5, 7:9] = 0
        np.testing.assert_allclose(other.residuals(x), expected, rtol=0, atol=1e-12)

    def test_chi2(self, model):
        x = np.random.default_rng(5).normal(size=model.in_shape)
        used = ~model.observation.mask
        by_hand = ((model.data - model.forward(x)) / model.observation.sigma)[used]
        assert model.chi2(x) == pytest.approx((by_hand**2).sum())
        np.testing.assert_allclose(model.residuals(x)[used], by_hand)

    def test_whitened(self, model):
        x = np.random.default_rng(5).normal(size=model.in_shape)
        expected = model.forward(x) * np.sqrt(model.weights)
        np.testing.assert_allclose(model.whitened.forward(x), expected, rtol=0, atol=1e-13)
        np.testing.assert_allclose(
            model.whitened.adjoint(expected), model.adjoint(expected * np.sqrt(model.weights)), rtol=1e-12
        )

    def test_with_weights(self, model):
        x = np.random.default_rng(5).normal(size=model.in_shape)
        before = model.chi2(x)
        other = model.with_weights(np.full(model.out_shape, 4.0))
        used = ~model.observation.mask
        np.testing.assert_array_equal(other.weights, 4.0 * used)
        assert other.chi2(x) == pytest.approx(4 * ((model.data - model.forward(x))[used] ** 2).sum())
        assert other.lensing is model.lensing
        assert model.chi2(x) == before
        np.testing.assert_array_equal(other.whitened.forward(x), 2 * used * model.forward(x))

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (np.ones((3, 3)), r"shape of the image, \(40, 48\)"),
            (np.full((40, 48), -1.0), "not negative"),
            (np.full((40, 48), np.nan), "finite"),
        ],
    )
    def test_wrong_weights(self, model, weights, message):
        with pytest.raises(ValueError, match=message):
            model.with_weights(weights)


class TestArguments:
    data = np.ones(GRID.shape)

    def test_nddata_is_taken_as_it_is(self):
        image = CCDData(self.data, unit="", uncertainty=StdDevUncertainty(self.data), wcs=GRID.wcs)
        model = ForwardModel(image, LENS)
        assert model.out_shape == GRID.shape
        np.testing.assert_allclose(
            model.observation.grid.centers_arcsec(), GRID.centers_arcsec(), rtol=0, atol=1e-9
        )

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"lens": 1.2}, TypeError, "lens must be a LensModel; got float"),
            ({"factor": 0}, ValueError, "factor"),
            ({"factor": 1.5}, TypeError, "factor"),
            ({"factor": "2"}, TypeError, "factor"),
            ({"source_grid": (48, 48)}, TypeError, "source_grid must be a PixelGrid; got tuple"),
            ({"tol": 0}, ValueError, "tol"),
            ({"observation": np.ones((5, 5))}, TypeError, "NDData"),
            (
                {"observation": CCDData(np.ones((5, 5)), unit="", wcs=GRID.wcs)},
                ObservationError,
                "uncertainty",
            ),
        ],
    )
    def test_wrong_kinds(self, change, error, message):
        arguments = {"observation": observation(self.data), "lens": LENS, "source_grid": COARSE_SOURCE}
        arguments |= change
        with pytest.raises(error, match=message):
            ForwardModel(arguments.pop("observation"), arguments.pop("lens"), **arguments)

    def test_source_grid_that_nothing_falls_in(self):
        elsewhere = PixelGrid((8, 8), 0.05 * arcsec, center=(30, 0) * arcsec)
        with pytest.raises(ValueError, match=r"no pixel of the observation .* sees the source grid"):
            ForwardModel(observation(self.data), LENS, source_grid=elsewhere)


def test_other_source_pixels_same_everything_else(model):
    weights = model.weights * 0.5
    finer = model.with_weights(weights).with_source_grid(model.source_grid.refine(2))
    assert finer.in_shape == tuple(2 * n for n in model.in_shape)
    assert (finer.factor, finer.lens, finer.observation) == (model.factor, model.lens, model.observation)
    np.testing.assert_array_equal(finer.weights, weights)
    source = np.random.default_rng(1).random(model.in_shape)
    expected = model.forward(source)
    same = finer.forward(np.kron(source, np.ones((2, 2))))
    np.testing.assert_allclose(same, expected, atol=3e-3 * expected.max())


@pytest.mark.parametrize("options", [{}, {"order": 1}, {"lensing": SplineSampling}])
def test_coarser_model_of_the_same_data(source, options):
    weights = np.random.default_rng(1).uniform(0.5, 2, GRID.shape)
    shared = np.array([[0.0, 0.1, 0.0], [0.1, 1.0, 0.1], [0.0, 0.1, 0.0]])
    fine, coarse = (
        ForwardModel(
            observation(np.ones(GRID.shape)), LENS, factor=factor, source_grid=COARSE_SOURCE, **options
        )
        for factor in (4, 2)
    )
    found = fine.with_weights(weights).with_noise_covariance(shared).coarser()
    assert found.factor == 2
    np.testing.assert_array_equal(found.weights, weights)
    np.testing.assert_array_equal(found.noise_covariance, shared)
    image = np.random.default_rng(2).random(COARSE_SOURCE.shape)
    np.testing.assert_allclose(found.forward(image), coarse.forward(image), rtol=1e-12)
    assert found.coarser().factor == 1
    assert found.coarser().coarser() is None


def test_other_lensing_operators(model, source):
    options = {"source_grid": FINE_SOURCE, "lensing": SplineSampling}
    splines = ForwardModel(model.observation, LENS, **options)
    assert isinstance(splines.lensing, SplineSampling)
    assert isinstance(splines.with_source_grid(COARSE_SOURCE).lensing, SplineSampling)
    overlap = model.with_source_grid(FINE_SOURCE)
    found = splines.forward(spline_filter(source, mode="mirror"))
    assert largest_error(found, overlap.forward(source)) < 0.01
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=splines.in_shape), rng.normal(size=splines.out_shape)
    assert np.sum(splines.forward(x) * y) == pytest.approx(np.sum(x * splines.adjoint(y)), rel=1e-10)


def test_another_image_through_the_same_operators(model):
    rng = np.random.default_rng(4)
    mask = rng.uniform(size=GRID.shape) < 0.2
    other = observation(rng.normal(size=GRID.shape), sigma=0.5, mask=mask)
    changed, made = (
        model.with_observation(other),
        ForwardModel(other, model.lens, factor=model.factor, source_grid=model.source_grid),
    )
    assert changed.lensing is model.lensing
    source = rng.random(model.in_shape)
    assert changed.chi2(source) == made.chi2(source) != model.chi2(source)
    np.testing.assert_array_equal(changed.whitened.forward(source), made.whitened.forward(source))
    elsewhere = PixelGrid.from_wcs(
        PixelGrid(GRID.shape, 0.08 * arcsec, reference=SkyCoord(30, 60, unit="deg")).wcs, GRID.shape
    )
    assert elsewhere != GRID
    assert model.with_observation(observation(other.data, grid=elsewhere)).lensing is model.lensing
    wider = observation(other.data, psf=Instrument.gaussian(0.08 * arcsec, 0.2 * arcsec).psf)
    moved = observation(other.data, grid=PixelGrid(GRID.shape, 0.08 * arcsec, center=(0.1, 0) * arcsec))
    for wrong in (wider, moved, observation(other.data, psf=None)):
        with pytest.raises(ValueError, match="grid and the PSF"):
            model.with_observation(wrong)


def test_another_psf_may_be_wider_than_the_given_one():
    """Of the given one all samples but the middle are 0, and it needs no pixels beyond the image."""
    profile = np.array([0.002, 0.19, 0.616, 0.19, 0.002])
    data, wide = np.ones(GRID.shape), np.outer(profile, profile)
    narrow = np.pad([[1.0]], 2)
    model = ForwardModel(observation(data, psf=narrow), LENS, source_grid=COARSE_SOURCE)
    expected = ForwardModel(observation(data, psf=wide), LENS, source_grid=COARSE_SOURCE)
    source = np.random.default_rng(1).random(model.in_shape)
    found = model.with_psf(wide)
    np.testing.assert_allclose(found.forward(source), expected.forward(source), rtol=1e-12)
    residual = np.random.default_rng(2).random(model.out_shape)
    np.testing.assert_allclose(found.adjoint(residual), expected.adjoint(residual), rtol=1e-10, atol=1e-15)
    assert found.lensed_image(source).shape == model.lensed_image(source).shape


class TestLitPart:
    """The model is as small as the lit part of a large field."""

    @pytest.fixture
    def large(self):
        field = observation(np.ones((110, 96)), PixelGrid((110, 96), 0.08 * arcsec))
        return ForwardModel(field, LENS, source_grid=PixelGrid((20, 24), 0.04 * arcsec))

    def compare(self, model):
        assert isinstance(model._product._first, BoxedConvolution)
        rng = np.random.default_rng(0)
        source, data = rng.random((2, *model.in_shape)), rng.normal(size=(2, *model.out_shape))
        expected = model.blur.forward(model.lensing.forward(source))
        np.testing.assert_allclose(model.forward(source), expected, atol=1e-12)
        back = model.lensing.adjoint(model.blur.adjoint(data))
        np.testing.assert_allclose(model.adjoint(data), back, atol=1e-12)

    def test_is_the_whole_model(self, large):
        self.compare(large)

    def test_of_another_lens_psf_and_source_grid(self, large):
        large.forward(np.zeros(large.in_shape))
        self.compare(large.with_lens(SIE(theta_E=0.7 * u.arcsec, q=0.8, phi=10 * u.deg, x=0.4 * u.arcsec)))
        wider = np.maximum(large.observation.psf, 0) ** 0.8
        self.compare(large.with_psf(wider / wider.sum()))
        self.compare(large.with_source_grid(PixelGrid((16, 16), 0.05 * u.arcsec, center=(0.1, 0) * u.arcsec)))

    def test_survives_pickle_without_its_operators(self, large):
        large.forward(np.zeros(large.in_shape))
        again = pickle.loads(pickle.dumps(large))
        assert "_product" not in vars(again)
        self.compare(again)
