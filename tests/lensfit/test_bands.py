"""One lens, several observations: bands with a source each, and exposures of one source."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.ndimage import gaussian_filter

from lenssuper import LensFit, LensFitter, LensModel, Observation, PixelGrid, SuperResolver
from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError
from lenssuper.preparation import gaussian_psf
from lenssuper.simulate import SersicSource
from lenssuper.solvers import Gaussian

PLACE = SkyCoord(150 * u.deg, 2 * u.deg)
# by how much the coordinates of one band have to be moved to lie where those of the other are: 0.04"
OFFSET = (0.03, -0.026)
RED = SersicSource(0.15 * u.arcsec, 1.5, q=0.7, phi=50 * u.deg, x=0.1 * u.arcsec, y=0.05 * u.arcsec)
BLUE = SersicSource(0.12 * u.arcsec, 1.0, q=0.6, phi=100 * u.deg, x=-0.02 * u.arcsec, y=0.12 * u.arcsec)
# the PSF is of the optics alone, in quarters of a pixel
OPTICS = {"psf_oversampling": 4, "psf_includes_pixel": False}
FIXED = ["SIE.q", "SIE.phi", "SIE.x", "SIE.y", "ExternalShear"]


def expose(lens, source, n, scale, fwhm, snr, *, offset=(0, 0), rng=1, **placed):
    """An observation with any pixels, whose WCS may be off, by shooting rays."""
    grid = PixelGrid((n, n), scale * u.arcsec, reference=PLACE, **placed)
    k, edge = 8, 8
    x, y = grid.moved_by(np.array(offset)).pad(edge).refine(k).centers_arcsec()
    alpha_x, alpha_y = lens.deflection_arcsec(x, y)
    fine = source.surface_brightness(x - alpha_x, y - alpha_y)
    fine = gaussian_filter(fine, fwhm / 2.3548 / scale * k)
    image = fine.reshape(n + 2 * edge, k, n + 2 * edge, k).mean(axis=(1, 3))[edge:-edge, edge:-edge]
    sigma = np.full(image.shape, image.max() / snr)
    nddata = CCDData(
        image + sigma * np.random.default_rng(rng).standard_normal(image.shape),
        unit="adu",
        uncertainty=StdDevUncertainty(sigma),
        wcs=grid.wcs,
        psf=gaussian_psf(fwhm * u.arcsec, scale / 4 * u.arcsec),
    )
    return Observation.from_nddata(nddata, reference=PLACE, **OPTICS)


@pytest.fixture(scope="module")
def red(truth):
    """The faint band."""
    return expose(truth, RED, 28, 0.12, 0.2, 12, rng=2)


@pytest.fixture(scope="module")
def blue(truth):
    """The bright one: other pixels, PSF, orientation and place, and a WCS that is off."""
    placed = {"rotation": 35 * u.deg, "center": [0.2, 0.1] * u.arcsec}
    return expose(truth, BLUE, 36, 0.09, 0.16, 40, offset=OFFSET, rng=12, **placed)


@pytest.fixture(scope="module")
def fitter(guess):
    def with_options(start=None, **options):
        given = {"rng": 1, **options}
        return LensFitter(guess if start is None else start, **given)

    return with_options


@pytest.fixture(scope="module")
def bands(fitter, red, blue):
    return fitter().bands([red, blue])


def deviations(fit, truth):
    """Found less true, and the errors, of each parameter."""
    found, expected = fit.lens.values(), truth.values()
    differences = np.array([found[name] - expected[name] for name in fit.names])
    turn = fit.names.index("SIE.phi")
    differences[turn] = (differences[turn] + np.pi / 2) % np.pi - np.pi / 2
    return differences, np.sqrt(np.diag(fit.covariance.matrix))


def test_two_bands_know_the_lens_better_than_one(bands, fitter, red, truth):
    alone = fitter()(red)
    differences, errors = deviations(bands, truth)
    assert np.max(np.abs(differences / errors)) < 3.5
    _, larger = deviations(alone, truth)
    assert np.all(errors < larger)
    shape = [bands.names.index(name) for name in ("SIE.theta_E", "SIE.q", "ExternalShear.gamma1")]
    assert np.all(errors[shape] < 0.6 * larger[shape])
    for part in bands.parts:
        assert part.lens == bands.lens
        assert 0.85 < part.reduced_chi2 < 1.15


def test_the_offset_is_found(bands):
    assert bands.offsets.shape == bands.offset_errors.shape == (2, 2)
    assert not bands.offsets[0].value.any()
    assert not bands.offset_errors[0].value.any()
    errors = bands.offset_errors[1].to_value(u.arcsec)
    assert np.all((errors > 0.003) & (errors < 0.02))
    assert np.max(np.abs(bands.offsets[1].to_value(u.arcsec) - OFFSET) / errors) < 3


def test_information_of_bands_adds_up(bands, fitter, red, blue):
    # from one lens, with offsets that are known, and without parameters that have a prior
    fixed = ["SIE.q", "SIE.phi", "ExternalShear"]
    offsets = [(0, 0), OFFSET] * u.arcsec
    together = fitter(bands.lens, fixed=fixed).bands([red, blue], offsets=offsets)
    moved = together.parts[1].observation
    single = [fitter(bands.lens, fixed=fixed)(each) for each in (red, moved)]
    expected = sum(np.linalg.inv(fit.vector_covariance) for fit in single)
    np.testing.assert_allclose(
        np.linalg.inv(together.vector_covariance), expected, atol=0.05 * np.abs(expected).max()
    )
    assert together.offsets.value.tolist() == offsets.value.tolist()
    assert not together.offset_errors.value.any()


def test_offsets_go_on_to_the_super_resolver(bands, red, blue):
    source_grid = PixelGrid((24, 24), 0.05 * u.arcsec, center=[0.05, 0.1] * u.arcsec, reference=PLACE)
    options = {"solver": Gaussian(n_draws=2), "source_grid": source_grid, "rng": 1}
    resolver = SuperResolver(bands.lens, **options)
    right = resolver([red, blue], offsets=bands.offsets)
    wrong = resolver([red, blue])
    assert right[1].log_evidence > wrong[1].log_evidence + 10
    assert right[1].reduced_chi2 == pytest.approx(bands.parts[1].reduced_chi2, abs=0.1)
    # the parts have the pixels where the offsets move them
    (x, y), (x_0, y_0) = (each.observation.grid.centers for each in (bands.parts[1], wrong[1]))
    np.testing.assert_allclose((x - x_0).to_value(u.arcsec), bands.offsets[1, 0].value, atol=1e-9)
    np.testing.assert_allclose((y - y_0).to_value(u.arcsec), bands.offsets[1, 1].value, atol=1e-9)


def test_one_observation_is_the_plain_fit(fitter, red, truth):
    start = truth.replace(**{"SIE.theta_E": 0.94 * u.arcsec})
    plain = fitter(start, fixed=FIXED)(red)
    assert plain.parts == (plain,)
    assert plain.offsets.value.tolist() == [[0, 0]]
    for fit in (fitter(start, fixed=FIXED).bands([red]), fitter(start, fixed=FIXED).joint([red])):
        assert fit.lens == plain.lens
        assert fit.log_evidence == plain.log_evidence
        np.testing.assert_array_equal(fit.covariance.matrix, plain.covariance.matrix)
        np.testing.assert_array_equal(fit.residuals, plain.residuals)


def test_exposures_share_a_source(truth, fitter):
    placed = {"rotation": 50 * u.deg, "center": [0.06, 0.04] * u.arcsec}
    exposures = [
        expose(truth, RED, 26, 0.12, 0.2, 15, rng=3),
        expose(truth, RED, 26, 0.1, 0.16, 15, offset=OFFSET, rng=4, **placed),
    ]
    joint = fitter().joint(exposures)
    apart = fitter().bands(exposures)
    differences, errors = deviations(joint, truth)
    assert np.max(np.abs(differences / errors)) < 3.5
    # one source registers them better than two, and has fewer modes
    assert np.all(joint.offset_errors[1] < 0.8 * apart.offset_errors[1])
    assert np.max(np.abs(joint.offsets[1].value - OFFSET) / joint.offset_errors[1].value) < 3
    assert joint.effective_modes < 0.8 * apart.effective_modes
    assert joint.log_evidence > apart.log_evidence
    first, second = joint.parts
    np.testing.assert_array_equal(first.source.data, second.source.data)
    for part in joint.parts:
        assert 0.85 < part.reduced_chi2 < 1.15


def test_a_band_without_light_constrains_nothing(fitter, red, truth):
    dark = expose(truth, BLUE, 30, 0.1, 0.16, 0.01, rng=5)
    start = truth.replace(**{"SIE.theta_E": 0.94 * u.arcsec})
    alone = fitter(start, fixed=FIXED)(red)
    with pytest.warns(LensSuperWarning, match="observation 2: no pixel is significantly above the noise"):
        fit = fitter(start, fixed=FIXED).bands([red, dark])
    assert fit.lens == alone.lens
    np.testing.assert_allclose(fit.covariance.matrix, alone.covariance.matrix, rtol=1e-6)
    assert fit.log_evidence == pytest.approx(alone.log_evidence)
    # of its offset there is what was known before, times the 1.2 of all errors
    np.testing.assert_allclose(fit.offset_errors[1].value, 0.12, rtol=1e-6)
    nothing = fit.parts[1]
    assert not nothing.model.data.any()
    assert not nothing.source.data.any()
    assert nothing.chi2 == pytest.approx(np.sum((dark.data / dark.sigma) ** 2))
    with pytest.raises(ObservationError, match="significantly above the noise"):
        fitter().bands([dark, dark])


def test_an_exposure_that_shows_nothing_does_no_harm(fitter, red, truth):
    noise = expose(truth, RED, 30, 0.1, 0.16, 0.01, rng=5)
    start = truth.replace(**{"SIE.theta_E": 0.94 * u.arcsec})
    options = {"offsets": np.zeros((2, 2)) * u.arcsec}
    fit = fitter(start, fixed=FIXED).joint([noise, red], **options)
    alone = fitter(start, fixed=FIXED)(red)
    assert fit.lens.parameters["SIE.theta_E"].to_value(u.arcsec) == pytest.approx(
        alone.lens.parameters["SIE.theta_E"].to_value(u.arcsec),
        abs=0.1 * alone.errors["SIE.theta_E"].to_value(u.arcsec),
    )
    np.testing.assert_allclose(fit.covariance.matrix, alone.covariance.matrix, rtol=0.02)


def with_noise(observation, correlation):
    return Observation.from_nddata(
        observation.to_nddata(), grid=observation.grid, noise_correlation=correlation, **OPTICS
    )


def test_foreground_and_noise_of_each(fitter, red, blue, truth):
    start = truth.replace(**{"SIE.theta_E": 0.94 * u.arcsec})
    x, y = blue.grid.centers_arcsec()
    light = 0.5 * blue.data.max() * np.exp(-np.hypot(x, y) / 0.2)
    bright = with_noise(blue.with_data(blue.data + light), 1.5)
    fitter = fitter(start, fixed=FIXED, foreground=[None, 0.7 * light])
    fit = fitter.bands([with_noise(red, 1), bright], offsets=[(0, 0), OFFSET] * u.arcsec)
    assert fit.lens.parameters["SIE.theta_E"].to_value(u.arcsec) == pytest.approx(0.9, rel=0.01)
    assert not fit.parts[0].foreground.data.any()
    np.testing.assert_allclose(fit.parts[1].foreground.data, light, atol=0.1 * light.max())
    np.testing.assert_allclose(fit.parts[1].subtracted.data, bright.data - fit.parts[1].foreground.data)


def test_file_keeps_the_offsets(bands, tmp_path):
    path = tmp_path / "fit.json"
    bands.write(path)
    assert LensModel.read(path) == bands.lens
    again = LensFit.read(path)
    np.testing.assert_array_equal(again.offsets, bands.offsets)
    np.testing.assert_array_equal(again.offset_errors, bands.offset_errors)
    assert again.reduced_chi2 == bands.reduced_chi2
    for one, other in zip(again.parts, bands.parts, strict=True):
        assert (one.chi2, one.n_pixels, one.log_evidence) == (other.chi2, other.n_pixels, other.log_evidence)
        with pytest.raises(ValueError, match="holds no images"):
            one.plot()
    content = json.loads(path.read_text())
    for offsets in ([[0, 0]], [[0, 0], [1, float("nan")]], "near"):
        content["fit"]["offsets"] = offsets
        path.write_text(json.dumps(content))
        with pytest.raises(FileFormatError, match="holds a lens, but no fit"):
            LensFit.read(path)


def test_words_and_pictures_of_each(bands):
    text = bands.summary()
    for k, part in enumerate(bands.parts, 1):
        assert f"image {k}" in text
        assert f"chi2 {part.chi2:.6g}" in text
    assert f"{bands.offsets[1, 0].value:.4f} ± {bands.offset_errors[1, 0].value:.4f}" in text
    titles = [ax.get_title() for ax in bands.plot().axes]
    assert titles.count("Source and caustics") == 2
    assert "Observation 2: data and critical curves" in titles
    assert len(bands.parts[1].plot().axes) == 4
    for name in ("observation", "model", "residuals", "source", "subtracted", "foreground"):
        with pytest.raises(ValueError, match=r"of 2 observations: there are images of each, fit.parts\[0\]"):
            getattr(bands, name)


def other_unit(image):
    sigma = StdDevUncertainty(image.sigma)
    image = image.to_nddata()
    return CCDData(image.data, unit="Jy", uncertainty=sigma, wcs=image.wcs, psf=image.psf)


def no_sky(image):
    grid, image = PixelGrid(image.shape, 0.1 * u.arcsec), image.to_nddata()
    return CCDData(image.data, unit="adu", uncertainty=image.uncertainty, wcs=grid.wcs, psf=image.psf)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda image: [], {}, ValueError, "at least one"),
        (lambda image: image, {}, TypeError, "observations must be a list"),
        (lambda image: "ab", {}, TypeError, "observations must be a list"),
        (lambda image: [image, 3], {}, TypeError, "must be an astropy NDData"),
        (lambda image: [image, no_sky(image)], {}, ValueError, "wcs is not celestial"),
        (lambda image: [image, other_unit(image)], {}, ValueError, "must have the same unit; got 'adu' and"),
        (lambda image: [image], {"offsets": [[0, 0]]}, TypeError, "offsets must be a Quantity"),
        (lambda image: [image], {"offsets": [[0, 0]] * u.s}, ValueError, "offsets"),
        (lambda image: [image], {"offsets": [0, 0] * u.arcsec}, ValueError, "for each of 1 observations"),
        (lambda image: [image], {"offset_std": 0.1}, TypeError, "offset_std must be a Quantity"),
        (lambda image: [image], {"offset_std": 0 * u.arcsec}, ValueError, "offset_std must be positive"),
        (
            lambda image: [image],
            {"offsets": [[0, 0]] * u.arcsec, "offset_std": 1 * u.arcsec},
            ValueError,
            "offset_std is for offsets that are fitted",
        ),
    ],
)
def test_bad_observations(fitter, red, change, options, error, message):
    with pytest.raises(error, match=message):
        fitter().joint(change(red), **options)


def test_bad_settings(fitter, red, truth):
    with pytest.raises(TypeError, match="foreground must be a list with one for each of 2"):
        fitter(foreground=red.data).bands([red, red])
