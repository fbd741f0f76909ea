"""SuperResolution: what is worked out from a posterior, and FITS files of it."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from lenssuper import SIS, ExternalShear, ForwardModel, Observation, PixelGrid, SuperResolution
from lenssuper.exceptions import FileFormatError
from lenssuper.observation import hdus
from lenssuper.simulate import HST_ACS_F814W, GaussianPSF, random_mock
from lenssuper.solvers import Posterior
from lenssuper.superres import resultfile


def posterior_of(mean, n=5, **given):
    """A stand-in for what a solver finds: draws about the truth."""
    rng = np.random.default_rng(7)
    draws = mean + 0.1 * mean.max() * rng.standard_normal((n, *mean.shape))
    words = {"effective_modes": 20.5, "log_evidence": -812.25, "held_out_chi2": 1.04}
    words |= {"hyperparameters": {"slope": 2.5, "scale": 0.1}, "converged": True}
    return Posterior(mean=mean, std=draws.std(axis=0), draws=draws, **{**words, **given})


@pytest.fixture(scope="module")
def model():
    mock = random_mock(3, shape=(26, 30))
    image = mock.observation
    image.mask[3:6, 20:24] = True
    image.meta["OBJECT"] = "a ring"
    return ForwardModel(image, mock.lens, factor=2)


@pytest.fixture(scope="module")
def posterior(model):
    return posterior_of(np.abs(model.lensing.delens(model.blur.adjoint(model.data))))


@pytest.fixture(scope="module")
def result(model, posterior):
    return SuperResolution.from_posterior(
        model, posterior, solver="Stand-in", messages=["look at the mask"], meta={"id": 7, "tags": ["a"]}
    )


@pytest.fixture(scope="module")
def file(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "out.fits"
    result.write(path)
    return path


# What is worked out


def test_images_are_those_of_the_mean_source(result, model, posterior):
    assert result.image.shape == (52, 60)
    np.testing.assert_array_equal(result.image.data, model.lensed_image(posterior.mean))
    np.testing.assert_array_equal(result.source.data, posterior.mean)
    np.testing.assert_array_equal(result.model.data, model.forward(posterior.mean))
    assert result.image.unit == result.source.unit == result.model.unit == u.electron / u.s


def test_uncertainties_are_those_of_the_draws(result, model, posterior):
    lensed = np.stack([model.lensed_image(draw) for draw in posterior.draws])
    expected = np.sqrt(((lensed - lensed.mean(axis=0)) ** 2).sum(axis=0) / 4)
    assert isinstance(result.image.uncertainty, StdDevUncertainty)
    np.testing.assert_allclose(result.image.uncertainty.array, expected, rtol=1e-10, atol=1e-15)
    np.testing.assert_array_equal(result.source.uncertainty.array, posterior.std)


def test_one_draw_gives_no_uncertainty_of_the_image(model, posterior):
    single = dataclasses.replace(posterior, draws=posterior.draws[:1])
    assert SuperResolution.from_posterior(model, single).image.uncertainty is None


def test_residuals_and_what_follows_from_them(result, model, posterior):
    observation = model.observation
    by_hand = (observation.data - model.forward(posterior.mean)) / observation.sigma
    used = ~observation.mask
    np.testing.assert_allclose(result.residuals[used], by_hand[used], rtol=1e-12)
    assert np.isnan(result.residuals[observation.mask]).all()
    assert result.n_pixels == 26 * 30 - 12
    assert result.chi2 == pytest.approx((by_hand[used] ** 2).sum())
    assert result.reduced_chi2 == pytest.approx(result.chi2 / (768 - 20.5))
    assert result.model.mask.sum() == 12


def test_weights_of_the_model_count(model, posterior):
    held_out = model.with_weights(np.where(np.arange(30) < 10, 0.0, model.weights))
    part = SuperResolution.from_posterior(held_out, posterior)
    assert part.n_pixels == np.count_nonzero(held_out.weights)
    assert part.chi2 == pytest.approx(held_out.chi2(posterior.mean))


def test_numbers_of_the_solver(result, model):
    assert (result.effective_modes, result.log_evidence, result.held_out_chi2) == (20.5, -812.25, 1.04)
    assert result.hyperparameters == {"slope": 2.5, "scale": 0.1}
    assert (result.factor, result.solver, result.messages) == (2, "Stand-in", ("look at the mask",))
    assert result.lens is model.lens
    assert result.observation is model.observation
    np.testing.assert_array_equal(result.coverage, model.lensing.coverage)
    np.testing.assert_array_equal(result.magnification, model.lensing.magnification)


def test_a_solver_that_tells_little(model, posterior):
    quiet = dataclasses.replace(posterior, effective_modes=np.nan, log_evidence=np.nan, held_out_chi2=np.nan)
    result = SuperResolution.from_posterior(model, quiet)
    assert np.isnan([result.reduced_chi2, result.log_evidence, result.held_out_chi2]).all()
    assert "nan" not in result.summary() + repr(result)


@pytest.mark.parametrize("name", ["image", "source", "model"])
def test_wcs_agrees_with_the_grid(result, name):
    grid = {"image": result.fine_grid, "source": result.source_grid, "model": result.observation.grid}[name]
    ny, nx = grid.shape
    sky = getattr(result, name).wcs.pixel_to_world([0, nx - 1, 0], [0, 0, ny - 1])
    x, y = grid.centers
    expected = grid.offset_to_sky(x[[0, 0, -1], [0, -1, 0]], y[[0, 0, -1], [0, -1, 0]])
    assert sky.separation(expected).max() < 1e-6 * u.arcsec


def test_image_and_data_cover_the_same_sky(result):
    fine, coarse = result.image.wcs, result.model.wcs
    corner = coarse.pixel_to_world(-0.5, -0.5)
    assert corner.separation(fine.pixel_to_world(-0.5, -0.5)) < 1e-6 * u.arcsec


def test_samples(result, model, posterior):
    unit = result.source.unit
    assert result.samples(3).unit == result.image_samples(1).unit == unit
    np.testing.assert_array_equal(result.samples(3).value, posterior.draws[:3])
    np.testing.assert_allclose(
        result.image_samples(3).value, model.lensed_image(posterior.draws[:3]), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize(
    ("n", "rng", "error", "complaint"),
    [
        (-1, None, ValueError, "n must be at least 1; got -1"),
        (1.5, None, TypeError, "n must be an integer"),
        (99, "a", TypeError, "rng must be a numpy.random.Generator, an integer or None; got 'a'"),
        (99, -3, ValueError, "rng must be at least 0; got -3"),
    ],
)
def test_samples_that_make_no_sense(model, posterior, n, rng, error, complaint):
    able = replace(posterior, _draw=lambda n, rng: rng.normal(size=(n, *posterior.mean.shape)))
    result = SuperResolution.from_posterior(model, able)
    with pytest.raises(error, match=complaint):
        result.samples(n, rng)


def test_a_notebook_shows_summary_and_picture(result):
    text = result._repr_html_()
    assert text.startswith("<pre>solver")
    assert 'src="data:image/png;base64,iVBOR' in text
    assert "alt=" in text


def test_summary_tells_how_good_it_is(result):
    text = result.summary()
    for word in ("Stand-in", "26 x 30", "52 x 60", "768 pixels", "look at the mask", "-812.25", "SIE("):
        assert word in text
    assert f"{result.reduced_chi2:.3f}" in text
    assert f"{result.reduced_chi2:.3f}" in repr(result)
    assert "converged" not in text


def test_summary_has_the_psf_where_the_source_is_bright(model):
    mean = np.full(model.source_grid.shape, 0.01)
    middle = mean.shape[0] // 2, mean.shape[1] // 2
    mean[middle], mean[middle[0] + 2, middle[1] + 3] = 1, 0.2
    result = SuperResolution.from_posterior(model, posterior_of(mean))
    widths = sorted(result.resolution_arcsec[mean > 0.1])
    assert widths[1] < np.nanmax(result.resolution_arcsec)
    assert f'PSF      {widths[0]:.2g}" to {widths[1]:.2g}" where the source is bright' in result.summary()


def test_summary_says_when_it_did_not_converge(model, posterior):
    stopped = dataclasses.replace(posterior, converged=False)
    assert "before it converged" in SuperResolution.from_posterior(model, stopped).summary()


# Resolution


def gaussian(fwhm, oversampling=1, half=12):
    offset = np.arange(-half, half + 1) / oversampling
    psf = np.exp(-4 * np.log(2) * (offset[:, np.newaxis] ** 2 + offset**2) / fwhm**2)
    return psf / psf.sum()


def blank(lens_psf=None, shape=(24, 24), **options):
    image = CCDData(np.ones(shape), unit="adu", uncertainty=StdDevUncertainty(np.ones(shape)), psf=lens_psf)
    return Observation.from_nddata(image, grid=PixelGrid(shape, 0.1 * u.arcsec), **options)


def psf_fwhm(observation):
    """In pixels."""
    return observation.psf_fwhm_arcsec / 0.1


@pytest.mark.parametrize("fwhm", [1.8, 2.5, 5.0])
def test_fwhm_of_a_gaussian_on_the_pixels(fwhm):
    assert psf_fwhm(blank(gaussian(fwhm))) == pytest.approx(fwhm, rel=0.02)


def test_fwhm_of_an_optical_psf_includes_the_pixel():
    psf = GaussianPSF(0.08 * u.arcsec)
    fine = psf.optical(0.02 * u.arcsec)
    observation = blank(fine, psf_oversampling=5, psf_includes_pixel=False)
    # a Gaussian of variance s^2 with a box of variance 1/12, its half width solved from the error function
    from scipy.optimize import brentq
    from scipy.special import erf

    s = 0.8 / np.sqrt(8 * np.log(2))

    def profile(x):
        return erf((x + 0.5) / (s * np.sqrt(2))) - erf((x - 0.5) / (s * np.sqrt(2)))

    expected = 2 * brentq(lambda x: profile(x) - profile(0) / 2, 0, 3)
    assert psf_fwhm(observation) == pytest.approx(expected, rel=0.02)
    # the same detector behind a sharper PSF of one pixel is limited by it
    assert psf_fwhm(blank(fine, psf_oversampling=5)) == 1.0


def test_fwhm_of_an_instrument():
    observation = blank(HST_ACS_F814W.psf)
    expected = (HST_ACS_F814W.psf_fwhm / HST_ACS_F814W.pixel_scale).to_value("")
    assert psf_fwhm(observation) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("psf", [None, np.pad([[1.0]], 3)])
def test_without_blur_the_pixel_is_the_psf(psf):
    assert psf_fwhm(blank(psf)) == pytest.approx(1.0, abs=0.3)


def resolution_of(lens, source_grid, psf):
    model = ForwardModel(blank(psf, (40, 40)), lens, factor=1, source_grid=source_grid)
    posterior = posterior_of(np.ones(source_grid.shape))
    return SuperResolution.from_posterior(model, posterior).resolution


def test_resolution_behind_a_uniform_lens():
    resolution = resolution_of(
        ExternalShear(gamma1=0.3, gamma2=0.0), PixelGrid((8, 8), 0.1 * u.arcsec), gaussian(2.5)
    )
    # det A = (1 - 0.3) (1 + 0.3) everywhere
    np.testing.assert_allclose(resolution.to_value(u.arcsec), 0.25 * np.sqrt(0.91), rtol=0.02)


def test_resolution_behind_an_isothermal_sphere():
    grid = PixelGrid((4, 4), 0.02 * u.arcsec, center=(0.5, 0.0) * u.arcsec)
    x, y = (c.to_value(u.arcsec) for c in grid.centers)
    resolution = resolution_of(SIS(theta_E=1 * u.arcsec), grid, gaussian(2.5))
    expected = 0.25 / np.sqrt(2.0 / np.hypot(x, y))
    np.testing.assert_allclose(resolution.to_value(u.arcsec), expected, rtol=0.02)


def test_resolution_is_unknown_where_nothing_is_seen():
    # 40 pixels of 0.1": the field ends at 2", which is in the tenth pixel to the left and right of the middle
    grid = PixelGrid((4, 30), 0.21 * u.arcsec)
    resolution = resolution_of(ExternalShear(gamma1=0.0, gamma2=0.0), grid, psf=None)
    assert np.isfinite(resolution[1]).tolist() == [False] * 5 + [True] * 20 + [False] * 5
    np.testing.assert_allclose(resolution[1, 6:24].to_value(u.arcsec), 0.1)


# It cannot be changed


def test_it_cannot_be_changed(result):
    with pytest.raises(AttributeError, match="chi2"):
        result.chi2 = 1.0
    with pytest.raises(AttributeError):
        result.extra = 1.0
    with pytest.raises(AttributeError):
        del result.residuals
    with pytest.raises(TypeError):
        result.hyperparameters["slope"] = 3.0
    with pytest.raises(ValueError, match="read-only"):
        result.residuals[0, 0] = 0
    with pytest.raises(ValueError, match="read-only"):
        result.coverage[0, 0] = 0


def test_images_are_copies(result):
    before = result.image.data.copy()
    result.image.data[:] = 0
    result.source.data[:] = 0
    result.image.uncertainty.array[:] = 0
    np.testing.assert_array_equal(result.image.data, before)
    assert result.source.data.any()
    assert result.image.uncertainty.array.any()


def test_pickle(result):
    same = pickle.loads(pickle.dumps(result))
    assert same.summary() == result.summary()


def test_what_it_is_made_from_is_checked(model, posterior):
    with pytest.raises(TypeError, match="required positional arguments"):
        SuperResolution(posterior)
    wrong = dataclasses.replace(posterior, mean=posterior.mean[:-1])
    with pytest.raises(ValueError, match="source grid"):
        SuperResolution.from_posterior(model, wrong)
    with pytest.raises(TypeError, match="meta must hold"):
        SuperResolution.from_posterior(model, posterior, meta={"lens": model.lens})


# Files

ARRAYS = ("residuals", "coverage", "magnification", "resolution")
NUMBERS = ("chi2", "n_pixels", "reduced_chi2", "effective_modes", "log_evidence", "held_out_chi2", "factor")


def test_a_file_gives_the_result_back(file, result):
    same = SuperResolution.read(file)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(same, name), getattr(result, name))
    for name in (
        *NUMBERS,
        "hyperparameters",
        "lens",
        "solver",
        "messages",
        "meta",
        "source_grid",
        "fine_grid",
    ):
        assert getattr(same, name) == getattr(result, name), name
    for name in ("image", "source", "model"):
        one, other = getattr(same, name), getattr(result, name)
        np.testing.assert_array_equal(one.data, other.data)
        assert one.unit == other.unit
        assert one.data.dtype.isnative
    for name in ("image", "source"):
        one, other = getattr(same, name), getattr(result, name)
        np.testing.assert_array_equal(one.uncertainty.array, other.uncertainty.array)
    assert same.posterior.converged is True
    assert same.summary() == result.summary()


def test_a_file_gives_the_observation_back(file, result):
    one, other = SuperResolution.read(file).observation, result.observation
    for name in ("data", "mask", "psf"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-14)
    assert (one.grid, one.unit, one.psf_oversampling) == (other.grid, other.unit, other.psf_oversampling)
    assert one.psf_includes_pixel is other.psf_includes_pixel
    assert one.meta["OBJECT"] == "a ring"


def test_a_result_from_a_file_has_the_draws_that_were_kept(file, posterior):
    same = SuperResolution.read(file)
    np.testing.assert_array_equal(same.samples(5).value, posterior.draws)
    assert same.image_samples(2).shape == (2, 52, 60)
    with pytest.raises(ValueError, match="at most 5"):
        same.samples(6)


def test_what_is_unknown_stays_unknown(model, posterior, tmp_path):
    unknown = dataclasses.replace(
        posterior, log_evidence=np.nan, effective_modes=np.nan, hyperparameters={"a": np.nan}, converged=False
    )
    observation = dataclasses.replace(model.observation, psf=None, unit=u.dimensionless_unscaled)
    bare = ForwardModel(observation, model.lens, factor=2, source_grid=model.source_grid)
    SuperResolution.from_posterior(bare, unknown).write(tmp_path / "bare.fits")
    same = SuperResolution.read(tmp_path / "bare.fits")
    assert np.isnan([same.log_evidence, same.reduced_chi2, same.hyperparameters["a"]]).all()
    assert same.held_out_chi2 == 1.04
    assert same.posterior.converged is False
    assert same.observation.psf is None
    assert same.image.unit == u.dimensionless_unscaled


def test_noise_goes_along(model, posterior, tmp_path, monkeypatch):
    covariance = np.array([[0.2, 1, 0.2]])
    for noise in (covariance, 1.5):
        observation = dataclasses.replace(model.observation, noise_given=noise)
        given = ForwardModel(observation, model.lens, factor=3, source_grid=model.source_grid)
        SuperResolution.from_posterior(given, posterior).write(tmp_path / "a.fits", overwrite=True)
        same = SuperResolution.read(tmp_path / "a.fits").observation
        np.testing.assert_array_equal(same.noise_given, noise)
        assert same.noise_correlation == observation.noise_correlation
    # files of earlier versions do not say
    monkeypatch.setattr(resultfile, "observation_info", without_noise)
    SuperResolution.from_posterior(given, posterior).write(tmp_path / "b.fits")
    assert SuperResolution.read(tmp_path / "b.fits").observation.noise_given is None


def without_noise(observation):
    return {name: value for name, value in hdus.observation_info(observation).items() if name != "noise"}


@pytest.mark.parametrize("order", [0, 1, 2])
def test_order_of_the_source_goes_along(model, posterior, tmp_path, order):
    smooth = ForwardModel(model.observation, model.lens, factor=2, source_grid=model.source_grid, order=order)
    result = SuperResolution.from_posterior(smooth, posterior)
    np.testing.assert_array_equal(result.image_samples(2).value, smooth.lensed_image(posterior.draws[:2]))
    result.write(tmp_path / "smooth.fits")
    read = SuperResolution.read(tmp_path / "smooth.fits")
    assert read.order == result.order == order
    np.testing.assert_array_equal(read.image_samples(2).value, result.image_samples(2).value)


def test_a_grid_without_a_sky_survives(model, posterior, tmp_path):
    grid = PixelGrid((26, 30), 0.08 * u.arcsec, rotation=25 * u.deg)
    observation = dataclasses.replace(model.observation, grid=grid)
    source_grid = PixelGrid(model.source_grid.shape, 0.03 * u.arcsec)
    bare = ForwardModel(observation, model.lens, factor=3, source_grid=source_grid)
    SuperResolution.from_posterior(bare, posterior).write(tmp_path / "bare.fits")
    same = SuperResolution.read(tmp_path / "bare.fits")
    assert same.observation.grid == grid
    assert same.source_grid == source_grid


@pytest.mark.parametrize(
    "name", ["IMAGE", "IMAGE_ERR", "MODEL", "RESIDUAL", "SOURCE", "COVERAGE", "DATA", "MASK"]
)
def test_other_tools_see_where_the_pixels_are(file, result, name):
    with fits.open(file) as hdus:
        wcs, shape = WCS(hdus[name].header), hdus[name].shape
    grids = {result.fine_grid.shape: result.fine_grid, (26, 30): result.observation.grid}
    grid = grids.get(shape, result.source_grid)
    assert shape == grid.shape
    x, y = grid.centers
    expected = grid.offset_to_sky(x[-1, 3], y[-1, 3])
    assert isinstance(wcs.pixel_to_world(0, 0), SkyCoord)
    assert wcs.pixel_to_world(3, shape[0] - 1).separation(expected) < 1e-6 * u.arcsec


def test_headers_are_for_people(file, result):
    header = fits.getheader(file)
    assert header["CHI2"] == pytest.approx(result.chi2)
    assert (header["SOLVER"], header["FACTOR"], header["NPIX"]) == ("Stand-in", 2, 768)
    image = fits.getheader(file, "IMAGE")
    assert u.Unit(image["BUNIT"]) == u.electron / u.s
    assert "per observed pixel" in image.comments["BUNIT"]
    assert "BUNIT" not in fits.getheader(file, "RESIDUAL")


def test_writing_replaces_only_when_asked(file, result):
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        result.write(file)
    assert file.read_bytes() == before
    result.write(file, overwrite=True)
    assert SuperResolution.read(file).chi2 == result.chi2


def test_an_interrupted_writing_leaves_what_was_there(file, result, monkeypatch, tmp_path):
    before = file.read_bytes()

    def half(self, path, **options):
        Path(path).write_bytes(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(fits.HDUList, "writeto", half)
    for path, overwrite in ((file, True), (tmp_path / "new.fits", False)):
        with pytest.raises(KeyboardInterrupt):
            result.write(path, overwrite=overwrite)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["out.fits"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(file, tmp_path, share):
    content = file.read_bytes()
    damaged = tmp_path / "half.fits"
    damaged.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError, match=r"half\.fits"):
        SuperResolution.read(damaged)


def test_a_file_cut_between_extensions_is_truncated(file, tmp_path):
    with fits.open(file) as hdus:
        fits.HDUList([hdu.copy() for hdu in hdus[:-1]]).writeto(tmp_path / "cut.fits", checksum=True)
    with pytest.raises(FileFormatError, match=r"cut\.fits is truncated: it has \d+ extensions"):
        SuperResolution.read(tmp_path / "cut.fits")


def test_a_changed_byte_is_noticed(file, tmp_path):
    content = bytearray(file.read_bytes())
    with fits.open(file) as hdus:
        position = hdus["SOURCE"].fileinfo()["datLoc"] + 100
    content[position] ^= 1
    (tmp_path / "bad.fits").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"bad\.fits is corrupt: the checksum of SOURCE "):
        SuperResolution.read(tmp_path / "bad.fits")


def test_other_files_are_refused(file, result, tmp_path):
    result.image.write(tmp_path / "image.fits")
    with pytest.raises(FileFormatError, match=r"image\.fits is a FITS file, but not"):
        SuperResolution.read(tmp_path / "image.fits")
    (tmp_path / "note.txt").write_text("not a table")
    with pytest.raises(FileFormatError, match=r"note\.txt cannot be read"):
        SuperResolution.read(tmp_path / "note.txt")
    with pytest.raises(FileNotFoundError):
        SuperResolution.read(tmp_path / "nothing.fits")
    with fits.open(file) as hdus:
        hdus[0].header["LSRESULT"] = 99
        hdus.writeto(tmp_path / "later.fits", checksum=True)
    with pytest.raises(FileFormatError, match="written by a later one: update lenssuper"):
        SuperResolution.read(tmp_path / "later.fits")
    with fits.open(file) as hdus:
        hdus["COVERAGE"].name = "SOMETHING"
        hdus.writeto(tmp_path / "odd.fits", checksum=True)
    with pytest.raises(FileFormatError, match=r"odd\.fits"):
        SuperResolution.read(tmp_path / "odd.fits")
