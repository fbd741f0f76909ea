"""What people hand in by mistake, and what real data are like: it works, or an error says what is wrong."""

import copy
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from lenssuper import (
    SIE,
    SIS,
    ExternalShear,
    ForwardModel,
    LensFitter,
    Observation,
    PixelGrid,
    PointMass,
    SuperResolver,
    prepare,
)
from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.simulate import GaussianSource, Instrument, mock_lens
from lenssuper.solvers import Gaussian, LogNormal, Positive

pytestmark = pytest.mark.usefixtures("operators_once")

arcsec = u.arcsec
SHAPE = (24, 28)
LENS = SIE(theta_E=0.6 * arcsec, q=0.8, phi=30 * u.deg)
SOURCE = GaussianSource(0.15 * arcsec, x=0.08 * arcsec, y=0.05 * arcsec)
INSTRUMENT = Instrument.gaussian(0.08 * arcsec, 0.16 * arcsec)
SOURCES = PixelGrid((24, 24), 0.035 * arcsec)
QUICK = LogNormal(n_draws=2, max_evaluations=3, passes=0, n_probes=1, lanczos_steps=10)


@pytest.fixture(scope="module")
def mock():
    return mock_lens(LENS, SOURCE, INSTRUMENT, shape=SHAPE, peak_snr=40, rng=1)


@pytest.fixture(scope="module")
def expected(mock):
    """The result for good input: what is an error is meant relative to this one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return resolve(mock.observation)


@pytest.fixture(scope="module")
def sigma(mock):
    return mock.observation.uncertainty.array.copy()


@pytest.fixture
def changed(mock):
    """The observation with something else in it."""

    def change(**changes):
        image = mock.observation
        kept = {"unit": image.unit, "uncertainty": image.uncertainty, "wcs": image.wcs, "psf": image.psf}
        return CCDData(np.array(changes.pop("data", image.data)), **kept | changes)

    return change


def resolve(image, lens=LENS, *, factor=2, solver=QUICK, source_grid=SOURCES, **options):
    return SuperResolver(lens, factor, solver=solver, source_grid=source_grid, rng=1, **options)(image)


def relative_error(result, mock, factor=2):
    truth = mock.image(factor)
    return np.sqrt(np.mean((result.image.data - truth) ** 2)) / truth.max()


def test_good_input_works(mock, expected):
    assert relative_error(expected, mock) < 0.025
    assert 0.85 < expected.reduced_chi2 < 1.15


def assert_same_image(result, expected, tolerance=1e-3):
    """Relative to the peak; iterations stop at a tolerance of their own."""
    found, expected = result.image.data, expected.image.data
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * expected.max())


class TestPSF:
    def test_none(self, mock, changed):
        with pytest.warns(LensSuperWarning, match="no psf and is taken as not blurred"):
            result = resolve(changed(psf=None))
        # as good as not deconvolved
        assert 0.02 < relative_error(result, mock) < 0.1

    def test_delta_is_no_blur(self, changed):
        with pytest.warns(LensSuperWarning):
            without = resolve(changed(psf=None))
        delta = np.zeros((5, 5))
        delta[2, 2] = 1
        assert_same_image(resolve(changed(psf=delta)), without)

    @pytest.mark.parametrize("shape", [(8, 8), (9, 8), (8, 9), (2, 2)])
    def test_even_sides(self, changed, shape):
        with pytest.raises(
            ObservationError, match=r"psf must have an odd number of rows and of columns.* got \("
        ):
            resolve(changed(psf=np.ones(shape)))

    def test_larger_than_the_image(self, changed, expected):
        """With zeros around, it is the same PSF."""
        large = np.pad(INSTRUMENT.psf, 20)
        assert min(large.shape) > max(SHAPE)
        assert_same_image(resolve(changed(psf=large)), expected)

    def test_not_normalised(self, changed, expected):
        with pytest.warns(LensSuperWarning, match="psf sums to 7; it is normalised"):
            result = resolve(changed(psf=7 * INSTRUMENT.psf))
        assert_same_image(result, expected)

    @pytest.mark.parametrize(
        ("psf", "message"),
        [
            (np.full((5, 5), np.nan), "psf must be finite; got 25 pixels"),
            (-np.ones((5, 5)), "psf must have a positive sum; got -25"),
            (np.zeros((5, 5)), "psf must have a positive sum; got 0"),
            (np.ones(5), "psf must be a two-dimensional array"),
            (np.ones((3, 5, 5)), "psf must be a two-dimensional array"),
        ],
    )
    def test_nonsense(self, changed, psf, message):
        with pytest.raises(ObservationError, match=message):
            resolve(changed(psf=psf))


class TestPixels:
    def test_all_masked(self, changed):
        with pytest.raises(
            ObservationError, match="no pixel of the observation can be used: of 672, 672 are masked"
        ):
            resolve(changed(mask=np.ones(SHAPE, dtype=bool)))

    def test_all_nan(self, changed):
        with pytest.raises(ObservationError, match="672 are not finite"):
            resolve(changed(data=np.full(SHAPE, np.nan)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_some_are_not_finite(self, mock, changed, value):
        data = mock.observation.data.copy()
        data[5:8, 10:20] = value
        data[::7, 0] = value
        result = resolve(changed(data=data))
        assert np.isfinite(result.image.data).all()
        assert np.isfinite(result.chi2)
        assert np.isnan(result.residuals[5:8, 10:20]).all()
        assert result.n_pixels == data.size - 30 - 4
        assert relative_error(result, mock) < 0.03

    def test_masked_pixels_can_hold_anything(self, mock, changed, sigma):
        mask = np.zeros(SHAPE, dtype=bool)
        mask[4:9, 3:6] = True
        data, noise = mock.observation.data.copy(), sigma.copy()
        expected = resolve(changed(mask=mask)).image.data
        data[mask], noise[mask] = 1e30, -5
        found = resolve(changed(data=data, mask=mask, uncertainty=StdDevUncertainty(noise))).image.data
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("dtype", [">f4", "<f8", np.float32])
    def test_numbers_as_in_files(self, mock, changed, expected, dtype):
        assert_same_image(resolve(changed(data=mock.observation.data.astype(dtype))), expected)

    def test_integers(self, mock, changed, sigma):
        """Counts."""
        counts = np.round(100 * mock.observation.data / sigma.max()).astype(np.int16)
        result = resolve(changed(data=counts, uncertainty=StdDevUncertainty(100 * sigma / sigma.max())))
        assert 0.85 < result.reduced_chi2 < 1.15

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (np.ones((3, 24, 28)), r"two-dimensional image; got shape \(3, 24, 28\)"),
            (np.ones(24), r"two-dimensional image; got shape \(24,\)"),
            (np.ones(SHAPE, dtype=complex), "real numbers"),
        ],
    )
    def test_not_an_image(self, data, message):
        image = NDData(data, uncertainty=StdDevUncertainty(np.ones(data.shape)))
        with pytest.raises(ObservationError, match=message):
            resolve(Observation.from_nddata(image, grid=PixelGrid(SHAPE, 0.08 * arcsec)))

    def test_magnitudes(self, mock):
        image = NDData(mock.observation.data, unit=u.mag, uncertainty=StdDevUncertainty(np.ones(SHAPE)))
        with pytest.raises(ObservationError, match="linear in the flux; got the unit 'mag'"):
            resolve(Observation.from_nddata(image, grid=mock.grid))


class TestNoise:
    def test_missing(self, changed):
        with pytest.raises(
            ObservationError, match=r"no uncertainty.*nddata\.uncertainty = .*StdDevUncertainty"
        ):
            resolve(changed(uncertainty=None))

    @pytest.mark.parametrize(
        ("kind", "value", "message"),
        [
            (StdDevUncertainty, 0.0, r"uncertainty is zero in 6 pixels .* mask them"),
            (VarianceUncertainty, 0.0, r"uncertainty is zero in 6 pixels"),
            (StdDevUncertainty, -0.1, r"uncertainty is negative in 6 pixels"),
            (VarianceUncertainty, -0.1, r"uncertainty is negative in 6 pixels"),
            (InverseVariance, -0.1, r"uncertainty is negative in 6 pixels"),
            (InverseVariance, np.inf, r"uncertainty is infinite in 6 pixels"),
        ],
    )
    def test_zero_or_negative(self, changed, sigma, kind, value, message):
        power = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}[kind]
        values = sigma**power
        values[3:5, 6:9] = value
        with pytest.raises(ObservationError, match=message):
            resolve(changed(uncertainty=kind(values)))
        mask = np.zeros(SHAPE, dtype=bool)
        mask[3:5, 6:9] = True
        assert resolve(changed(uncertainty=kind(values), mask=mask)).n_pixels == 672 - 6

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (InverseVariance, 0.0),
            (StdDevUncertainty, np.inf),
            (VarianceUncertainty, np.nan),
            (StdDevUncertainty, np.nan),
        ],
    )
    def test_pixels_without_weight(self, mock, changed, sigma, kind, value):
        power = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}[kind]
        values = sigma**power
        values[3:5, 6:9] = value
        result = resolve(changed(uncertainty=kind(values)))
        assert result.n_pixels == 672 - 6
        assert relative_error(result, mock) < 0.03

    def test_all_kinds_agree(self, changed, expected, sigma):
        for uncertainty in (VarianceUncertainty(sigma**2), InverseVariance(sigma**-2)):
            assert_same_image(resolve(changed(uncertainty=uncertainty)), expected)

    @pytest.mark.parametrize("factor", [1e6, 1e-6])
    def test_far_off(self, changed, sigma, factor):
        """Noise overestimated: nothing is seen. Underestimated: nothing fits, and chi-square says so."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSuperWarning)
            result = resolve(changed(uncertainty=StdDevUncertainty(factor * sigma)))
        assert np.isfinite(result.image.data).all()
        assert (result.chi2 / result.n_pixels < 0.01) if factor > 1 else (result.chi2 / result.n_pixels > 10)


class TestGeometry:
    def test_missing_wcs(self, changed, expected):
        image = changed(wcs=None)
        with pytest.raises(
            ObservationError, match=r"no WCS .* Observation\.from_nddata\(nddata, grid=PixelGrid\(\(24, 28\)"
        ):
            resolve(image)
        assert_same_image(
            resolve(Observation.from_nddata(image, grid=PixelGrid(SHAPE, 0.08 * arcsec))), expected
        )

    @pytest.mark.parametrize("source_grid", [None, SOURCES])
    def test_degrees_instead_of_arcsec(self, mock, source_grid):
        with pytest.raises(ValueError, match=r"check the units and (the )?centre of "):
            resolve(mock.observation, SIS(theta_E=0.6 * u.deg), source_grid=source_grid)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: SIS(theta_E=1.2),
            lambda: SIE(theta_E=1.2 * arcsec, q=0.8, phi=30),
            lambda: SIE(theta_E=1.2 * arcsec, q=0.8, phi=30 * u.deg, x=0.1),
            lambda: PixelGrid(SHAPE, 0.08),
            lambda: PixelGrid(SHAPE, 0.08 * arcsec, center=(0, 0)),
        ],
    )
    def test_bare_numbers(self, make):
        with pytest.raises(TypeError, match=r"must be a Quantity with an angular unit, e\.g\. .*; got "):
            make()

    def test_wrong_physical_unit(self):
        with pytest.raises((TypeError, ValueError), match="theta_E must have an angular unit"):
            SIS(theta_E=1.2 * u.kpc)

    def test_lens_outside_of_the_field(self, mock):
        """There are lenses that far away, so it works; but more often x and y are wrong."""
        lens = LENS + SIS(theta_E=0.02 * arcsec, x=4 * arcsec)
        with pytest.warns(
            LensSuperWarning, match=r'the lens has a centre at \(4", 0"\), outside of the field'
        ):
            result = resolve(mock.observation, lens)
        assert relative_error(result, mock) < 0.1

    def test_lens_far_outside(self, mock):
        with pytest.warns(LensSuperWarning, match="outside of the field"):
            result = resolve(mock.observation, SIS(theta_E=0.6 * arcsec, x=5 * arcsec), source_grid=None)
        # it moves all light by its Einstein radius, away from where the source is, and distorts little
        np.testing.assert_allclose(result.source_grid.center.to_value(arcsec), [0.6, 0], atol=0.2)
        assert result.chi2 / result.n_pixels < 1.2

    @pytest.mark.parametrize("center", [(0.0, 0.0), (0.04, 0.04), (0.08, 0.0)])
    def test_lens_centre_on_pixel_corner_edge_or_centre(self, mock, center):
        x, y = center * arcsec
        for lens in (SIS(theta_E=0.6 * arcsec, x=x, y=y), PointMass(theta_E=0.6 * arcsec, x=x, y=y)):
            model = ForwardModel(mock.observation, lens, source_grid=SOURCES)
            assert np.isfinite(model.forward(np.ones(SOURCES.shape))).all()

    @pytest.mark.parametrize("shape", [(24, 40), (41, 22)])
    def test_not_square(self, shape):
        mock = mock_lens(LENS, SOURCE, INSTRUMENT, shape=shape, peak_snr=40, rng=1)
        result = resolve(mock.observation)
        assert result.image.shape == (2 * shape[0], 2 * shape[1])
        assert relative_error(result, mock) < 0.025

    def test_source_grid_that_misses_the_light(self, mock):
        """It lies in the field, but next to the source: the fit is bad, and says so."""
        beside = PixelGrid((20, 20), 0.02 * arcsec, center=(0.6, 0.6) * arcsec)
        result = resolve(mock.observation, source_grid=beside)
        assert result.chi2 / result.n_pixels > 10

    def test_source_grid_that_misses_the_field(self, mock):
        elsewhere = PixelGrid((20, 20), 0.02 * arcsec, center=(60, 0) * arcsec)
        with pytest.raises(ValueError, match=r"no pixel .* sees the source grid"):
            resolve(mock.observation, source_grid=elsewhere)

    def test_lens_without_a_centre(self, mock):
        result = resolve(mock.observation, ExternalShear(gamma1=0.1, gamma2=0), source_grid=None)
        assert np.isfinite(result.image.data).all()

    def test_cutout_without_the_lens(self, mock):
        """Only one arc is in the field."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSuperWarning)
            part = resolve(Observation.from_nddata(mock.observation)[:, 16:], source_grid=None)
        assert 0.7 < part.reduced_chi2 < 1.3

    @pytest.mark.parametrize(
        "use",
        [
            lambda image, lens: resolve(image, lens),
            lambda image, lens: LensFitter(lens)(image),
            lambda image, lens: LensFitter(lens.theta_E)(image),
            lambda image, lens: LensFitter(lens).joint([image]),
            lambda image, lens: prepare(image, lens=lens),
        ],
        ids=["SuperResolver", "LensFitter", "radius", "joint", "prepare"],
    )
    def test_einstein_radius_below_two_pixels(self, mock, use):
        """Of 0.08 arcsec; arcmin for arcsec in the pixel scale, or a theta_E in pixels, ends in this."""
        with pytest.raises(
            ObservationError, match=r"at least 2 pixels; that of the lens is 0\.159 arcsec, .* has 0\.08"
        ):
            use(mock.observation, SIE(theta_E=0.159 * arcsec, q=0.8, phi=30 * u.deg))

    def test_substructure_may_be_small(self, mock, expected):
        lens = LENS + SIS(theta_E=1e-6 * arcsec, x=0.5 * arcsec)
        assert_same_image(resolve(mock.observation, lens), expected)

    @pytest.mark.parametrize("row", [(1, 1), (2, 2), (1, 2)])
    def test_scale_that_wcslib_made_up(self, changed, row):
        """Of a row of zeros in a CD matrix it makes one degree per pixel, which is bent over an image."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [150, 2]
        cd = np.diag([-0.08, 0.08]) / 3600
        for axis in row:
            cd[axis - 1] = 0
        header = wcs.to_header()
        for card in ("PC1_1", "PC2_2", "CDELT1", "CDELT2"):
            header.remove(card, ignore_missing=True)
        header.update({f"CD{i + 1}_{j + 1}": cd[i, j] for i in (0, 1) for j in (0, 1)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            broken = WCS(header)
        with pytest.raises(
            ObservationError, match=r"pixel scale of the wcs cannot be: it gives pixels of .*3\d\d\d"
        ):
            resolve(changed(wcs=broken))


class TestFactor:
    @pytest.mark.parametrize("factor", [1, 3])
    def test_other_factors(self, mock, factor):
        if factor == 1:
            result = resolve(mock.observation, factor=factor)
        else:  # finer than PSF and noise support, which is said
            with pytest.warns(LensSuperWarning, match="factor=3 is finer than PSF and S/N"):
                result = resolve(mock.observation, factor=factor)
        assert result.image.shape == (24 * factor, 28 * factor)
        assert relative_error(result, mock, factor) < 0.03
        assert 0.85 < result.reduced_chi2 < 1.2

    @pytest.mark.parametrize("factor", [1.5, "2", None, True])
    def test_not_a_whole_number(self, factor):
        with pytest.raises(TypeError, match=r"factor must be .*integer.*; got "):
            SuperResolver(LENS, factor)

    @pytest.mark.parametrize("factor", [0, -2])
    def test_too_small(self, factor):
        with pytest.raises(ValueError, match=f"factor must be .*; got {factor}"):
            SuperResolver(LENS, factor)


class TestKinds:
    @pytest.mark.parametrize("what", ["ring.fits", b"ring.fits", 5, None])
    def test_not_an_observation(self, what):
        with pytest.raises(
            TypeError, match="observations must be an NDData, such as a CCDData, or a list of them"
        ):
            resolve(what)

    def test_array(self):
        with pytest.raises(TypeError, match=r"must be an astropy NDData, e\.g\. a CCDData"):
            resolve(np.ones(SHAPE))

    def test_list_with_something_else_in_it(self, mock):
        with pytest.raises(TypeError, match="must be an astropy NDData"):
            resolve([mock.observation, "ring.fits"])

    def test_list(self, mock, changed, expected):
        results = resolve([mock.observation, changed()])
        assert len(results) == 2
        for result in results:
            np.testing.assert_array_equal(result.image.data, expected.image.data)


SOLVERS = {
    # three evaluations are no more than the corners from which the search sets out
    "LogNormal": LogNormal(n_draws=2, max_evaluations=6, passes=1, n_probes=1, lanczos_steps=10),
    "Positive": Positive(n_draws=2, max_evaluations=3),
    "Gaussian": Gaussian(n_draws=2),
}
EVERY_SOLVER = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


class TestHardlyAnyLight:
    grid = PixelGrid((14, 14), 0.06 * arcsec)

    @EVERY_SOLVER
    @pytest.mark.parametrize("amount", [0, 1], ids=["zeros", "noise"])
    def test_none_at_all(self, changed, sigma, solver, amount):
        """A source that is zero within its errors, and a word on it."""
        data = amount * sigma * np.random.default_rng(3).normal(size=SHAPE)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = resolve(changed(data=data), solver=solver, source_grid=self.grid)
        assert any("no pixel is significantly above the noise" in str(w.message) for w in caught)
        assert all(issubclass(w.category, LensSuperWarning) for w in caught)
        source, error = result.source.data, result.source.uncertainty.array
        assert np.isfinite(error).all()
        # a tenth of the noise of a pixel, in a galaxy of many, is nothing
        assert (np.abs(source) < 3 * error + 0.1 * sigma.min()).mean() > 0.95
        assert np.abs(source).max() < sigma.min()

    @pytest.mark.parametrize("solver", [QUICK, SOLVERS["Positive"]], ids=["LogNormal", "Positive"])
    def test_one_bright_pixel(self, changed, sigma, solver):
        """A cosmic ray, sharper than the PSF: it cannot be fitted, and chi-square says so."""
        data = sigma * np.random.default_rng(3).normal(size=SHAPE)
        data[14, 18] = 100 * sigma.max()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSuperWarning)
            result = resolve(changed(data=data), solver=solver, source_grid=self.grid)
        assert np.isfinite(result.image.data).all()
        assert result.chi2 / result.n_pixels > 2

    @EVERY_SOLVER
    def test_negative_light(self, mock, changed, solver):
        """The wrong sign."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LensSuperWarning)
            result = resolve(changed(data=-mock.observation.data), solver=solver, source_grid=self.grid)
        assert np.isfinite(result.image.data).all()
        if not isinstance(solver, Gaussian):
            assert (result.source.data >= 0).all()
            assert result.chi2 / result.n_pixels > 2

    @EVERY_SOLVER
    def test_unit_does_not_matter(self, mock, changed, sigma, solver):
        expected = resolve(mock.observation, solver=solver, source_grid=self.grid)
        for factor, unit in ((1e-20, u.erg / u.s / u.cm**2), (1e6, u.adu)):
            noise = StdDevUncertainty(factor * sigma)
            image = changed(data=factor * mock.observation.data, uncertainty=noise, unit=unit)
            found = resolve(image, solver=solver, source_grid=self.grid)
            peak = expected.image.data.max()
            np.testing.assert_allclose(
                found.image.data / factor, expected.image.data, rtol=0, atol=0.01 * peak
            )
            assert found.chi2 == pytest.approx(expected.chi2, rel=0.02)
            assert found.image.unit == unit


class TestInterrupted:
    class Stopped(LogNormal):
        """Somebody presses Ctrl-C while it runs."""

        def __init__(self, after):
            super().__init__(n_draws=2, max_evaluations=3, passes=0, n_probes=1, lanczos_steps=10)
            self.after = after

        def solve(self, model, *, rng=None, report=None):
            calls = 0

            def counted(share, what):
                nonlocal calls
                calls += 1
                report(share, what)
                if calls == self.after:
                    raise KeyboardInterrupt

            return super().solve(model, rng=rng, report=counted)

    @pytest.mark.parametrize("after", [1, 3, 4])
    def test_nothing_is_changed_and_a_later_call_works(self, mock, expected, tmp_path, monkeypatch, after):
        monkeypatch.chdir(tmp_path)
        before = copy.deepcopy(mock.observation)
        with pytest.raises(KeyboardInterrupt):
            resolve(mock.observation, solver=self.Stopped(after), progress=True)
        assert list(tmp_path.iterdir()) == []
        assert_same(mock.observation, before)
        np.testing.assert_array_equal(resolve(mock.observation).image.data, expected.image.data)

    def test_a_resolver_can_be_used_again(self, mock, expected):
        stopped = self.Stopped(2)
        resolver = SuperResolver(LENS, solver=stopped, source_grid=SOURCES, rng=1)
        with pytest.raises(KeyboardInterrupt):
            resolver(mock.observation)
        stopped.after = None
        np.testing.assert_array_equal(resolver(mock.observation).image.data, expected.image.data)


def assert_same(image, before):
    np.testing.assert_array_equal(image.data, before.data)
    np.testing.assert_array_equal(image.uncertainty.array, before.uncertainty.array)
    np.testing.assert_array_equal(image.mask, before.mask)
    np.testing.assert_array_equal(image.psf, before.psf)
    assert image.unit == before.unit
    assert dict(image.meta) == dict(before.meta)
    assert image.wcs.to_header_string() == before.wcs.to_header_string()


def test_input_is_not_changed(mock, changed, sigma):
    data = mock.observation.data.copy()
    data[3, 4] = np.nan
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10] = True
    image = changed(data=data, mask=mask, psf=3 * INSTRUMENT.psf, meta={"OBSERVER": "Hubble"})
    before = copy.deepcopy(image)
    with pytest.warns(LensSuperWarning, match="normalised"):
        result = resolve(image)
    assert_same(image, before)
    # nor does changing it later change the result
    image.data[:] = 0
    image.psf[:] = 0
    image.meta["OBSERVER"] = "nobody"
    assert result.observation.data.any()
    assert result.observation.psf.sum() == pytest.approx(1)
    assert result.observation.meta["OBSERVER"] == "Hubble"
