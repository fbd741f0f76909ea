import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS
from scipy.ndimage import convolve

from lenssuper import (
    SIE,
    SIS,
    ExternalShear,
    ForwardModel,
    Observation,
    PixelGrid,
    SuperResolution,
    SuperResolver,
)
from lenssuper.exceptions import LensSuperWarning
from lenssuper.observation import image as image_module
from lenssuper.simulate import GaussianSource, Instrument, random_mock
from lenssuper.simulate.mock import _lensed, _observe
from lenssuper.solvers import Gaussian, LogNormal, Posterior, Solver

pytestmark = pytest.mark.usefixtures("operators_once")

arcsec = u.arcsec
QUICK = LogNormal(n_draws=2, max_evaluations=3, passes=0)
LINEAR = Gaussian(n_draws=2)
SMALL = PixelGrid((20, 20), 0.064 * arcsec)


class Recorder(Solver):
    """Finds a flat source, and keeps what it was given."""

    def __init__(self):
        self.models, self.rngs = [], []

    def solve(self, model, *, rng=None, report=None):
        self.models.append(model)
        self.rngs.append(rng)
        report(0.3, "thinking")
        report(1.0, "done")
        mean = np.full(model.in_shape, 0.1)
        return Posterior(mean=mean, std=mean, draws=np.stack([mean, 2 * mean]), held_out_chi2=1.5)


@pytest.fixture(scope="module")
def mock():
    return random_mock(3, shape=(24, 26))


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def unjudged(monkeypatch):
    """Spare the flat sources a verdict, which takes longer than all else here and is tested elsewhere."""
    monkeypatch.setattr("lenssuper.superres.result.judge_result", lambda result, further: None)


@pytest.mark.usefixtures("unjudged")
class TestCall:
    def test_order_is_that_of_the_solver_unless_given(self, mock, recorder):
        assert SuperResolver(mock.lens).order == 1
        for given, order in ({}, 0), ({"order": 1}, 1), ({"order": 2}, 2):
            result = SuperResolver(mock.lens, solver=recorder, source_grid=SMALL, **given)(mock.observation)
            assert recorder.models[-1].order == recorder.models[-1].lensing.order == result.order == order
        with pytest.raises(ValueError, match="order must be 0, 1 or 2; got 3"):
            SuperResolver(mock.lens, order=3)

    def test_default_solver(self, mock):
        resolver = SuperResolver(mock.lens)
        assert isinstance(resolver.solver, LogNormal)
        assert resolver.factor == 2
        assert repr(resolver).endswith("factor=2, solver=LogNormal())")

    def test_result(self, mock, recorder):
        with pytest.warns(LensSuperWarning, match="factor=3 is finer than"):
            result = SuperResolver(mock.lens, factor=3, solver=recorder)(mock.observation)
        assert isinstance(result, SuperResolution)
        assert result.image.shape == (72, 78)
        assert result.model.shape == (24, 26)
        assert result.factor == 3
        assert result.lens == mock.lens
        assert result.solver == "Recorder"
        assert recorder.models[0].out_shape == (24, 26)

    def test_observation_as_well(self, mock, recorder):
        observation = Observation.from_nddata(mock.observation)
        result = SuperResolver(mock.lens, solver=recorder)(observation)
        assert result.observation is observation

    @pytest.mark.parametrize("kind", [list, tuple, iter])
    def test_many_give_a_list(self, mock, recorder, kind):
        other = random_mock(4, shape=(20, 20)).observation
        results = SuperResolver(mock.lens, solver=recorder)(kind([mock.observation, other]))
        assert isinstance(results, list)
        assert [result.image.shape for result in results] == [(48, 52), (40, 40)]

    def test_none_give_an_empty_list(self, mock):
        assert SuperResolver(mock.lens)([]) == []

    def test_grids_are_used(self, mock, recorder):
        grid = PixelGrid((24, 26), 0.07 * arcsec)
        sources = PixelGrid((20, 22), 0.05 * arcsec)
        observation = Observation.from_nddata(mock.observation, grid=grid)
        result = SuperResolver(mock.lens, solver=recorder, source_grid=sources)(observation)
        assert result.observation.grid == grid
        assert result.source_grid == sources
        assert result.source.shape == (20, 22)

    def test_psf_options_are_used(self, mock, recorder):
        image = mock.observation
        image = CCDData(image.data, unit=image.unit, uncertainty=image.uncertainty, wcs=image.wcs)
        image.psf = mock.instrument.optics.optical(0.04 * arcsec)
        image = Observation.from_nddata(image, psf_oversampling=2, psf_includes_pixel=False)
        observation = SuperResolver(mock.lens, solver=recorder)(image).observation
        assert observation.psf_oversampling == 2
        assert observation.psf_includes_pixel is False

    def test_seed_reaches_the_solver(self, mock, recorder):
        SuperResolver(mock.lens, solver=recorder, rng=7)(mock.observation)
        assert recorder.rngs == [7]

    def test_seed_gives_the_same_result(self, mock):
        results = [
            SuperResolver(mock.lens, solver=LINEAR, source_grid=SMALL, rng=seed)(mock.observation)
            for seed in (1, 1, 2)
        ]
        np.testing.assert_array_equal(results[0].source.data, results[1].source.data)
        np.testing.assert_array_equal(results[0].samples(2), results[1].samples(2))
        assert not np.array_equal(results[0].samples(2), results[2].samples(2))

    def test_does_not_keep_what_it_solved(self, mock):
        resolver = SuperResolver(mock.lens, solver=LINEAR, source_grid=SMALL, rng=1)
        before = dict(vars(resolver))
        first, _, again = resolver(
            [mock.observation, random_mock(4, shape=(20, 20)).observation, mock.observation]
        )
        assert vars(resolver) == before
        np.testing.assert_array_equal(again.image.data, first.image.data)
        np.testing.assert_array_equal(again.samples(2), first.samples(2))


@pytest.mark.usefixtures("unjudged")
class TestProgress:
    def test_off(self, mock, recorder, capfd):
        SuperResolver(mock.lens, solver=recorder, progress=False)(mock.observation)
        assert capfd.readouterr() == ("", "")

    def test_not_shown_where_nobody_looks(self, mock, recorder, capfd):
        SuperResolver(mock.lens, solver=recorder)(mock.observation)
        assert capfd.readouterr() == ("", "")

    def test_on(self, mock, recorder, capfd):
        SuperResolver(mock.lens, solver=recorder, progress=True)(mock.observation)
        out, err = capfd.readouterr()
        assert out == ""
        assert "%" in err

    def test_solver_tells_what_it_does(self, mock, capfd):
        SuperResolver(mock.lens, solver=QUICK, source_grid=SMALL, progress=True)(mock.observation)
        assert "tuning the prior" in capfd.readouterr().err


class TestWarnings:
    def blank(self, mock, **changes):
        image = mock.observation
        kept = {"uncertainty": image.uncertainty, "wcs": image.wcs, "psf": image.psf, "unit": image.unit}
        return CCDData(changes.pop("data", image.data), **kept | changes)

    def test_none_for_good_data(self, mock, recorder):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert SuperResolver(mock.lens, solver=recorder)(mock.observation).messages == ()

    def test_no_psf(self, mock, recorder):
        with pytest.warns(LensSuperWarning, match=r"no psf .* add one with nddata.psf"):
            result = SuperResolver(mock.lens, solver=recorder)(self.blank(mock, psf=None))
        assert "no psf" in result.messages[0]

    def test_no_light(self, mock, recorder):
        noise = mock.observation.uncertainty.array * np.random.default_rng(1).normal(size=(24, 26))
        with pytest.warns(LensSuperWarning, match="no pixel is significantly above the noise"):
            SuperResolver(mock.lens, solver=recorder)(self.blank(mock, data=noise))

    def test_lens_outside_of_the_field(self, mock, recorder):
        lens = mock.lens + SIS(theta_E=0.1 * arcsec, x=5 * arcsec)
        with pytest.warns(LensSuperWarning, match=r'centre at \(5", 0"\), outside of the field') as caught:
            SuperResolver(lens, solver=recorder)(mock.observation)
        # the line that called is what a user sees
        assert caught[0].filename == __file__

    def test_warning_names_the_line_of_a_list_too(self, mock, recorder):
        with pytest.warns(LensSuperWarning, match="no psf") as caught:
            SuperResolver(mock.lens, solver=recorder)([self.blank(mock, psf=None)])
        assert caught[0].filename == __file__


@pytest.fixture(scope="module")
def drizzled():
    """Sky noise shared by neighbours: of a sum over many pixels it is 2.25 times what single ones say."""
    rng = np.random.default_rng(1)
    noise = convolve(rng.normal(size=(80, 80)), np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]]) / 2, mode="wrap")
    grid = PixelGrid((80, 80), 0.1 * arcsec)
    x, y = grid.centers_arcsec()
    data = noise + 60 * np.exp(-((x - 0.3) ** 2 + y**2) / 0.1)
    psf = Instrument.gaussian(0.1 * arcsec, 0.2 * arcsec).psf
    return CCDData(data, unit="", uncertainty=StdDevUncertainty(np.ones((80, 80))), wcs=grid.wcs, psf=psf)


PLACE = SkyCoord(1, 2, unit="deg")
COVARIANCE = np.array([[0.25, 1, 0.25]])


class TestCorrelatedNoise:
    lens = SIS(theta_E=0.25 * arcsec)

    def test_is_found_and_the_solver_told(self, drizzled, recorder):
        with pytest.warns(LensSuperWarning, match="noise of neighbouring pixels is correlated"):
            result = SuperResolver(self.lens, solver=recorder)(drizzled)
        factor = 1 / recorder.models[0].weights.max()
        assert factor == pytest.approx(4, rel=0.25)
        # chi-square is that of the noise as it was given, of the pixels held out as well
        model = ForwardModel(result.observation, self.lens, source_grid=result.source_grid)
        assert result.chi2 == pytest.approx(model.chi2(result.source.data))
        assert result.held_out_chi2 == pytest.approx(1.5 * factor)

    def test_solver_that_can_take_it_gets_the_covariance(self, drizzled, recorder):
        recorder.takes_covariance = True
        with pytest.warns(LensSuperWarning, match="fitted with their covariance"):
            result = SuperResolver(self.lens, solver=recorder)(drizzled)
        (model,) = recorder.models
        assert model.weights.max() == pytest.approx(1)
        np.testing.assert_array_equal(model.noise_covariance, result.observation.noise_covariance)
        assert model.noise_covariance[2, 1:] == pytest.approx([0.5, 1, 0.5, 0], abs=0.1)
        assert result.held_out_chi2 == pytest.approx(1.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            observation = Observation.from_nddata(drizzled, noise_correlation=COVARIANCE)
            SuperResolver(self.lens, solver=recorder)(observation)
        np.testing.assert_array_equal(recorder.models[1].noise_covariance, COVARIANCE)

    @pytest.mark.parametrize("factor", [1, 2.5])
    def test_can_be_given(self, drizzled, recorder, factor):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            observation = Observation.from_nddata(drizzled, noise_correlation=factor)
            SuperResolver(self.lens, solver=recorder)(observation)
        assert recorder.models[0].weights.max() == pytest.approx(1 / factor)

    @pytest.mark.parametrize("together", [False, True])
    def test_is_measured_once(self, drizzled, recorder, monkeypatch, together):
        calls, measure = [], image_module.measure_covariance

        def counted(*arrays):
            calls.append(arrays)
            return measure(*arrays)

        monkeypatch.setattr(image_module, "measure_covariance", counted)
        recorder.takes_covariance = True
        resolver = SuperResolver(self.lens, solver=recorder)
        solve = resolver.joint if together else resolver
        image = CCDData(drizzled, wcs=PixelGrid((80, 80), 0.1 * arcsec, reference=PLACE).wcs)
        with pytest.warns(LensSuperWarning, match="fitted with their covariance"):
            solve([image, image] if together else image)
        assert len(calls) == 1 + together


class TestArguments:
    lens = SIS(theta_E=1 * arcsec)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"solver": LogNormal}, "solver must be a Solver; got <class"),
            ({"solver": "lognormal"}, "solver must be a Solver; got 'lognormal'"),
            ({"source_grid": 64}, "source_grid must be a PixelGrid or None"),
            ({"progress": 1}, "progress must be True, False or None"),
        ],
    )
    def test_wrong_kind(self, options, message):
        with pytest.raises(TypeError, match=message):
            SuperResolver(self.lens, **options)

    def test_lens(self):
        with pytest.raises(TypeError, match=r"lens must be a LensModel; got 1\.2"):
            SuperResolver(1.2)

    def test_options_are_named(self):
        with pytest.raises(TypeError):
            SuperResolver(self.lens, 2, LogNormal())

    @pytest.mark.parametrize("option", ["grid", "reference", "psf_oversampling", "noise_correlation"])
    def test_what_an_observation_says_is_no_option(self, option):
        with pytest.raises(TypeError, match=option):
            SuperResolver(self.lens, **{option: 1})


def test_turned_and_mirrored_detectors_see_the_same_source():
    """The lens is on the sky: two bands with other orientations share it."""
    lens = SIE(theta_E=0.6 * arcsec, q=0.7, phi=30 * u.deg, x=0.04 * arcsec) + ExternalShear(
        gamma1=0, gamma2=0.06
    )
    source = GaussianSource(0.15 * arcsec, x=0.08 * arcsec, y=0.12 * arcsec) + 0.7 * GaussianSource(
        0.1 * arcsec, x=-0.12 * arcsec, y=0.02 * arcsec
    )
    instrument = Instrument.gaussian(0.08 * arcsec, 0.16 * arcsec)
    position = SkyCoord(150.1 * u.deg, 2.2 * u.deg)
    sources = PixelGrid((32, 32), 0.025 * arcsec, reference=position)
    found = []
    for angle, parity in ((0.0, 1), (0.7, 1), (2.0, -1)):
        c, s = np.cos(angle), np.sin(angle)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = position.ra.deg, position.dec.deg
        wcs.wcs.crpix = 14.5, 14.5
        wcs.wcs.cd = np.array([[-c, parity * s], [s, parity * c]]) * 0.08 / 3600
        grid = PixelGrid.from_wcs(wcs, (28, 28))
        clean = _observe(_lensed(lens, source), grid, instrument, 6)
        noise = StdDevUncertainty(np.full(clean.shape, clean.max() / 50))
        image = CCDData(clean, unit="", uncertainty=noise, wcs=wcs, psf=instrument.psf)
        found.append(SuperResolver(lens, solver=QUICK, source_grid=sources, rng=1)(image).source.data)
    x, y = sources.centers_arcsec()
    truth = source.surface_brightness(x, y)
    for image in found:
        assert np.abs(image - truth).max() < 0.25 * truth.max()
        assert np.corrcoef(image.ravel(), truth.ravel())[0, 1] > 0.99
