"""The galaxy in front: found beside arcs, taken off, and not mistaken for them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import SIE, ForwardModel, LensFitter, Observation, read_observation
from lenssuper.exceptions import ObservationError
from lenssuper.light import ForegroundFit, ForegroundFitter, subtract_foreground
from lenssuper.observation.objects import main_object
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens

LENS = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg)
SOURCE = SersicSource(0.12 * u.arcsec, 1.0, q=0.7, x=0.08 * u.arcsec, y=-0.05 * u.arcsec)
BULGE = SersicSource(0.25 * u.arcsec, 2.5, q=0.8, phi=40 * u.deg, amplitude=1.5)
DISK = SersicSource(0.9 * u.arcsec, 1.0, q=0.7, phi=70 * u.deg, amplitude=0.3)
SKY = 0.02


def observe(light, source=SOURCE, *, seed=1):
    mock = mock_lens(LENS, source, HST_ACS_F814W, shape=(72, 72), peak_snr=25, lens_light=light, rng=seed)
    image = mock.observation
    image.data += SKY * image.data.max()
    return mock, image


@pytest.fixture(scope="module")
def scene():
    mock, image = observe(BULGE + DISK)
    model = ForwardModel(Observation.from_nddata(image), LENS)
    arcs = model.forward(mock.source_image(model.source_grid))
    return mock, image, arcs


@pytest.fixture(scope="module")
def fit(scene):
    return ForegroundFitter()(scene[1])


def pulls(image, arcs):
    return (image.data - arcs) / image.sigma


def test_leaves_arcs_and_noise(scene, fit):
    _, _, arcs = scene
    left = pulls(fit.subtracted, arcs)
    assert 0.8 < np.std(left[~fit.arcs]) < 1.1
    assert np.std(left) < 1.3
    # what the galaxy has behind the arcs is not seen, but guessed from around them
    bright = arcs > 0.2 * arcs.max()
    assert fit.subtracted.data[bright].sum() == pytest.approx(arcs[bright].sum(), rel=0.12)


def test_no_quadrupole_is_left_in_the_middle(scene, fit):
    x, y = np.broadcast_arrays(*fit.observation.grid.centers_arcsec())
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    left = pulls(fit.subtracted, scene[2])
    for inner, outer in ((0.05, 0.2), (0.2, 0.4)):
        ring = (radius > inner) & (radius < outer)
        quadrupole = 2 * abs(np.mean(left[ring] * np.exp(2j * angle[ring])))
        assert quadrupole < 3 * np.sqrt(4 / ring.sum())


def test_finds_the_arcs(scene, fit):
    _, image, arcs = scene
    sigma = image.uncertainty.array
    assert np.mean(fit.arcs[arcs > 4 * sigma]) > 0.9
    assert np.mean(fit.arcs[arcs < 0.1 * sigma]) < 0.2


def test_the_galaxy_can_stay_in_the_image(fit):
    image = fit.unsubtracted
    np.testing.assert_array_equal(image.data, fit.observation.data)
    np.testing.assert_allclose(1 / image.weights, 1 / fit.observation.weights + fit.unmodelled**2)
    assert (fit.variance >= fit.unmodelled**2).all()
    assert image.meta == fit.subtracted.meta
    profiles, modes = fit.fit.component_images(), fit.isophotes.parts
    np.testing.assert_array_equal(fit.parts, np.concatenate([profiles, modes]))
    other = fit.with_galaxy(1.1 * fit.light + fit.sky)
    np.testing.assert_allclose(other.subtracted.data, fit.subtracted.data - 0.1 * fit.light)


def test_a_lens_is_fitted_with_the_galaxy_in_the_image(scene, fit):
    _, image, arcs = scene
    lens = LensFitter(LENS, foreground=fit, factor=1, rng=1, progress=False)
    found = lens(fit.unsubtracted)
    assert found.lens.parameters["theta_E"].to_value("arcsec") == pytest.approx(0.9, rel=0.005)
    # light and sky, also beneath the arcs
    error = found.foreground.data - (image.data - arcs)
    bright = arcs > 0.2 * arcs.max()
    assert abs(error[bright].mean()) < 0.06 * arcs[bright].mean()
    before = fit.light + fit.sky - (image.data - arcs)
    assert np.std(error[bright]) < np.std(before[bright])


def test_no_arcs_where_there_are_none(scene):
    mock, original, arcs = scene
    image = original.copy()
    image.psf = original.psf
    noise = original.uncertainty.array
    image.data = mock.noiseless - arcs + noise * np.random.default_rng(2).standard_normal(image.shape)
    fit = ForegroundFitter()(image)
    assert np.mean(fit.arcs) < 0.02
    assert np.std(pulls(fit.subtracted, 0.0)) < 1.15


def test_a_small_galaxy_is_not_mistaken_for_its_arcs():
    small = SersicSource(0.08 * u.arcsec, 1.0, q=0.9, amplitude=2.0)
    large = SersicSource(0.25 * u.arcsec, 1.0, q=0.7, x=0.15 * u.arcsec, y=0.1 * u.arcsec)
    _, image = observe(small, large)
    # the brighter arc alone has more light than the galaxy
    _, of_most_light = main_object(Observation.from_nddata(image))
    assert np.hypot(of_most_light["x"], of_most_light["y"]) > 0.5
    fit = ForegroundFitter()(image)
    x, y = np.broadcast_arrays(*fit.observation.grid.centers_arcsec())
    light = np.clip(fit.model.data - SKY * image.data.max(), 0, None)
    assert np.hypot((light * x).sum(), (light * y).sum()) < 0.05 * light.sum()


def test_result_is_the_image_with_a_larger_variance(scene, fit):
    _, image, _ = scene
    subtracted = fit.subtracted
    assert isinstance(subtracted, Observation)
    assert subtracted.unit == image.unit
    np.testing.assert_array_equal(subtracted.psf, fit.observation.psf)
    assert subtracted.grid == fit.observation.grid
    before, after = image.uncertainty.array, subtracted.sigma
    np.testing.assert_allclose(after**2 - before**2, fit.variance, rtol=1e-6, atol=1e-9 * before.max() ** 2)
    assert fit.variance.min() > 0
    np.testing.assert_allclose(fit.model.data, image.data - subtracted.data, atol=1e-9)
    assert subtracted.meta["FGSERSIC"] == len(fit.fit.components)
    assert subtracted.meta["FGSKY"] == fit.sky


def test_masked_pixels_stay_masked(scene):
    image = scene[1].copy()
    image.psf = scene[1].psf
    image.mask = np.zeros(image.shape, dtype=bool)
    image.mask[50:60, 5:15] = True
    image.data[50:60, 5:15] = 1e6
    fit = ForegroundFitter(1)(image)
    np.testing.assert_array_equal(fit.subtracted.mask, image.mask)
    assert np.abs(fit.sky) < 2 * SKY * scene[1].data.max()


def test_one_call_does_the_same(scene, fit):
    np.testing.assert_array_equal(subtract_foreground(scene[1]).data, fit.subtracted.data)


def test_arcs_as_they_are_given(scene):
    _, image, arcs = scene
    mask = arcs > 0.02 * arcs.max()
    given = ForegroundFitter(2, arcs=mask)(image)
    np.testing.assert_array_equal(given.arcs, mask)
    ring = ForegroundFitter(2, arcs=[0.5, 1.4] * u.arcsec)(image)
    assert 0.15 < np.mean(ring.arcs) < 0.6
    for fit in (given, ring):
        assert np.std(pulls(fit.subtracted, arcs)) < 1.4


def test_jointly_with_the_source(scene):
    _, image, arcs = scene
    fit = ForegroundFitter(2, lens=LENS, modes=0)(image)
    assert 0.85 < fit.reduced_chi2 < 1.15
    assert np.std((fit.source - arcs) / image.uncertainty.array) < 0.5
    (source,) = fit.source_parameters
    assert source[2] == pytest.approx(0.12, rel=0.1)
    assert source[3] == pytest.approx(1.0, abs=0.2)
    assert np.std(pulls(fit.subtracted, arcs)) < 1.1
    bright = arcs > 0.2 * arcs.max()
    assert fit.subtracted.data[bright].sum() == pytest.approx(arcs[bright].sum(), rel=0.04)


def test_summary_plot_and_file(fit, tmp_path):
    assert isinstance(fit, ForegroundFit)
    text = fit.summary()
    assert "Sersic 1" in text
    assert "sky" in text
    assert "Sersic" in repr(fit)
    figure = fit.plot()
    assert len(figure.axes) >= 6
    path = tmp_path / "out.fits"
    fit.write(path)
    back = read_observation(path)
    np.testing.assert_allclose(back.data, fit.subtracted.data)
    np.testing.assert_allclose(back.sigma, fit.subtracted.sigma)
    np.testing.assert_allclose(back.grid.matrix, fit.observation.grid.matrix, atol=1e-10)
    assert back.meta["FGSERSIC"] == len(fit.fit.components)


def test_steps_are_reported(scene, capsys):
    ForegroundFitter(1, progress=True)(scene[1])
    said = capsys.readouterr().err
    assert "fitting the galaxy:  40%" in said
    assert "correcting the isophotes:  90%" in said


class TestBadInput:
    def image(self, **changes):
        rng = np.random.default_rng(1)
        options = {
            "data": rng.standard_normal((40, 40)),
            "uncertainty": StdDevUncertainty(np.ones((40, 40))),
            "mask": None,
        }
        options.update(changes)
        from lenssuper import PixelGrid

        grid = PixelGrid((40, 40), 0.05 * u.arcsec)
        return CCDData(
            options["data"],
            unit="adu",
            uncertainty=options["uncertainty"],
            mask=options["mask"],
            wcs=grid.wcs,
        )

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mask": np.ones((40, 40), dtype=bool)}, "no pixel of the observation can be used"),
            ({"data": np.full((40, 40), np.nan)}, "no pixel of the observation can be used"),
            ({"uncertainty": None}, "no uncertainty"),
            ({"data": np.full((40, 40), 7.0)}, "no object is significantly above"),
            ({}, "no object is significantly above"),
        ],
    )
    def test_images(self, changes, message):
        with pytest.raises(ObservationError, match=message):
            subtract_foreground(self.image(**changes))

    def test_arcs_over_all_of_the_galaxy(self, scene):
        everything = np.ones(scene[1].shape, dtype=bool)
        with pytest.raises(ObservationError, match="arcs covers all of the galaxy"):
            ForegroundFitter(arcs=everything)(scene[1])

    def test_arcs_of_another_shape(self, scene):
        with pytest.raises(ValueError, match="arcs must have the shape"):
            ForegroundFitter(arcs=np.zeros((3, 3), dtype=bool))(scene[1])

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"n_components": 0}, ValueError, "n_components must be at least 1; got 0"),
            ({"n_components": 1.5}, TypeError, "n_components must be an integer"),
            ({"n_source": 0}, ValueError, "n_source must be at least 1"),
            ({"modes": -1}, ValueError, "modes must be at least 0"),
            ({"lens": "SIE"}, TypeError, "lens must be a LensModel"),
            ({"arcs": "ring"}, TypeError, "arcs must be"),
            ({"arcs": [2, 1] * u.arcsec}, ValueError, "arcs must be two radii, the smaller first"),
        ],
    )
    def test_options(self, options, error, message):
        with pytest.raises(error, match=message):
            ForegroundFitter(**options)

    def test_not_an_image(self):
        with pytest.raises(TypeError, match="NDData"):
            subtract_foreground(np.ones((4, 4)))


def test_beside_arcs_that_are_known(scene, fit):
    _, image, arcs = scene
    beside = ForegroundFitter()(image, source=arcs)
    assert not beside.arcs.any()
    assert beside.observation.data is not None
    bright = arcs > 0.2 * arcs.max()
    left = [each.subtracted.data[bright].sum() - arcs[bright].sum() for each in (beside, fit)]
    assert abs(left[0]) < 0.5 * abs(left[1])
    np.testing.assert_allclose(beside.subtracted.data, image.data - beside.light - beside.sky)
    assert beside.reduced_chi2 == pytest.approx(1.0, abs=0.1)
    assert "fitted in turn" in beside.summary()
    with pytest.raises(ValueError, match="source must have the shape of the image"):
        ForegroundFitter()(image, source=arcs[1:])


def test_what_a_source_misses_is_not_what_the_galaxy_misses(scene):
    """A first lens has a rough source: what is left of the arcs is no noise of the galaxy there."""
    _, image, arcs = scene
    x, y = np.broadcast_arrays(*Observation.from_nddata(image).grid.centers_arcsec())
    knots = 1 + 0.5 * np.sin(9 * np.arctan2(y, x)) * np.sign(np.sin(40 * np.hypot(x, y)))
    beside = ForegroundFitter()(image, source=knots * arcs)
    bright = arcs > 0.2 * arcs.max()
    left = (image.data - beside.light - beside.sky - beside.source)[bright]
    assert np.std(left) > 2 * np.median(beside.observation.sigma[bright])
    added = beside.unmodelled[bright] / beside.observation.sigma[bright]
    assert np.median(added) < 0.3


def test_arcs_are_looked_for_near_the_radius(scene):
    fit = ForegroundFitter(einstein_radius=0.5 * u.arcsec)(scene[1])
    x, y = np.broadcast_arrays(*fit.observation.grid.centers_arcsec())
    radius = np.hypot(x, y)[fit.arcs]
    # not beyond 1.9 times 0.5 arcsec, nor closer than 0.35 times it; the peak may be off by a pixel
    assert radius.size
    assert 0.13 < radius.min()
    assert radius.max() < 1.0
    with pytest.raises(ValueError, match="einstein_radius must be"):
        ForegroundFitter(einstein_radius=0 * u.arcsec)
