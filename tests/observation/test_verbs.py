"""One observation made of another: what changes, what stays, and that noise and light are found once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.ndimage import convolve

from lenssuper import Observation, PixelGrid, read_observation, write_observation
from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError
from lenssuper.observation import image as module
from lenssuper.observation.noise import binned_covariance

N = 80
POSITION = SkyCoord(150 * u.deg, 2 * u.deg)
GRID = PixelGrid((N, N), 0.1 * u.arcsec, rotation=20 * u.deg, reference=POSITION)
PSF = np.pad([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], 2) / 16


def drizzled(seed=1, light=0.0):
    """Noise that neighbours share: of a sum over many pixels it is 4 times what single ones say."""
    noise = convolve(np.random.default_rng(seed).normal(size=(N, N)), np.ones((2, 2)) / 2, mode="wrap")
    ccd = CCDData(
        noise + light,
        unit="adu",
        uncertainty=StdDevUncertainty(np.ones((N, N))),
        psf=PSF,
        wcs=GRID.wcs,
        meta={"OBJECT": "ring"},
    )
    return Observation.from_nddata(ccd, grid=GRID)


def annulus(inner, outer):
    y, x = np.indices((N, N)) - (N - 1) / 2
    return (np.hypot(x, y) >= inner) & (np.hypot(x, y) <= outer)


STAR = 60 * np.exp(-((np.indices((N, N)) - 30.0) ** 2).sum(axis=0) / 3)


@pytest.fixture
def whole():
    return drizzled(light=STAR)


@pytest.fixture
def measured(monkeypatch):
    """The number of pixels of every image whose noise was measured."""
    calls, measure = [], module.measure_covariance

    def counted(data, weights, mask):
        calls.append(np.count_nonzero(~mask))
        return measure(data, weights, mask)

    monkeypatch.setattr(module, "measure_covariance", counted)
    return calls


def test_empty_fields_stay_empty_within_an_annulus():
    for seed in range(30):
        field = drizzled(seed)
        ring = field.masked(~annulus(7, 12))
        assert np.count_nonzero(~ring.mask) < 500  # too few pixels to measure the noise in them
        assert not field.bright.any()
        assert not ring.bright.any()
        assert not drizzled(seed).masked(~annulus(7, 12)).bright.any()


VERBS = {
    "masked": lambda whole: whole.masked(~annulus(5, 20)),
    "cut out": lambda whole: whole[20:45, 25:55],
    "other data": lambda whole: whole.with_data(0.5 * whole.data),
    "other PSF": lambda whole: whole.with_psf(np.ones((3, 3)) / 9, oversampling=2, includes_pixel=False),
    "recentred": lambda whole: whole.recentred(SkyCoord(150.001 * u.deg, 2 * u.deg)),
    "moved": lambda whole: whole.moved_by([0.3, -0.1] * u.arcsec),
    "one after another": lambda whole: whole.masked(~annulus(5, 30))[10:70].moved_by([1, 0] * u.arcsec),
}


@pytest.mark.parametrize("verb", VERBS)
def test_noise_is_that_of_the_whole_and_measured_once(verb, whole, measured):
    part = VERBS[verb](whole)
    assert measured == []  # only when it is asked for
    np.testing.assert_array_equal(part.noise_covariance, whole.noise_covariance)
    assert part.noise_correlation == whole.noise_correlation == pytest.approx(4, rel=0.2)
    assert part.bright.shape == part.shape
    assert whole.bright.any()
    assert measured == [N**2]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_given_of_the_noise_stays(verb, measured):
    given = dataclasses.replace(drizzled(), noise_given=2.5)
    part = VERBS[verb](given)
    assert part.noise_correlation == 2.5
    assert part.noise_covariance is None
    assert part.bright.shape == part.shape
    assert measured == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_rest_stays(verb, whole):
    part = VERBS[verb](whole)
    assert (part.unit, part.meta) == (whole.unit, whole.meta)
    if verb == "other PSF":
        assert (part.psf_oversampling, part.psf_includes_pixel) == (2, False)
    else:
        np.testing.assert_array_equal(part.psf, whole.psf)
        assert (part.psf_oversampling, part.psf_includes_pixel) == (1, True)
    if verb in ("masked", "other data", "other PSF"):
        assert part.grid == whole.grid
    assert not part.data[part.mask].any()
    assert not part.weights[part.mask].any()


@pytest.fixture(scope="module")
def bereft():
    """An observation of which a star was subtracted, known to two images."""
    errors = np.stack([0.1 * STAR, np.linspace(0, 1, N) * np.ones((N, N))])
    return drizzled(light=STAR).without(STAR, errors=errors)


def test_errors_of_light_in_front_go_along(bereft, tmp_path):
    errors = bereft.light_errors
    for verb in ("masked", "other data", "other PSF", "recentred", "moved"):
        np.testing.assert_array_equal(VERBS[verb](bereft).light_errors, errors)
    np.testing.assert_array_equal(bereft[20:45, 25:55].light_errors, errors[:, 20:45, 25:55])
    np.testing.assert_array_equal(bereft.without(0 * STAR).light_errors, errors)
    # the noise is the same everywhere: a plain mean
    binned = bereft.binned(2).light_errors
    np.testing.assert_allclose(binned, errors.reshape(2, N // 2, 2, N // 2, 2).mean((2, 4)))
    write_observation(bereft, tmp_path / "bereft.fits")
    read = read_observation(tmp_path / "bereft.fits")
    np.testing.assert_allclose(read.light_errors, errors, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(read.data, bereft.data)


def test_no_errors_of_light_unless_given(whole, tmp_path):
    write_observation(whole, tmp_path / "whole.fits")
    assert read_observation(tmp_path / "whole.fits").light_errors is None
    assert whole.without(STAR).light_errors is None
    assert whole.binned(2).light_errors is None


def test_errors_of_light_of_another_shape_are_refused(whole, bereft, tmp_path):
    for wrong in (np.ones((N, N)), np.ones((2, 3, 3)), np.full((1, N, N), np.nan)):
        with pytest.raises(ValueError, match=r"errors must be finite images \(n, ny, nx\)"):
            whole.without(STAR, errors=wrong)
    write_observation(bereft, tmp_path / "bereft.fits")
    with fits.open(tmp_path / "bereft.fits") as hdus:
        hdus["LIGHTERR"].data = np.zeros((2, 5, 5), dtype=np.float32)
        hdus.writeto(tmp_path / "wrong.fits", checksum=True)
    with pytest.raises(FileFormatError, match="LIGHTERR must hold finite images"):
        read_observation(tmp_path / "wrong.fits")


def test_light_is_that_of_the_whole(whole):
    keep = annulus(0, 20)
    np.testing.assert_array_equal(whole.masked(~keep).bright, whole.bright & keep)
    np.testing.assert_array_equal(whole[20:50, 10:60].bright, whole.bright[20:50, 10:60])
    assert whole.bright[30, 30]
    assert not whole.with_data(whole.data - STAR).bright.any()
    assert not whole.without(STAR).bright.any()


def test_noise_map_and_light_in_front_need_another_look(whole, measured):
    for other in (whole.with_weights(whole.weights / 1.5**2), whole.without(STAR)):
        measured.clear()
        assert other.noise_correlation > 1
        assert measured == [N**2]
    assert whole.with_weights(whole.weights / 4**2).noise_correlation == 1
    np.testing.assert_allclose(
        whole.without(STAR, 0.5).sigma, np.sqrt(1.5)
    )  # the variance of the light is added
    # of what was masked before, the light in front is not known to leave blank sky
    ring = whole.masked(~annulus(0, 11))
    assert ring.without(STAR).noise_correlation == whole.noise_correlation


def test_bins(whole):
    binned = whole.binned(3)
    assert binned.shape == (26, 26)
    assert binned.noise_correlation == pytest.approx(whole.noise_correlation)
    np.testing.assert_allclose(binned.data[4, 5], whole.data[12:15, 15:18].mean())
    np.testing.assert_allclose(binned.weights, 9)
    np.testing.assert_allclose(binned.grid.to_offset(0, 0), whole.grid.to_offset(1, 1))
    assert (binned.psf_oversampling, binned.psf_includes_pixel) == (1, True)
    assert binned.psf.sum() == pytest.approx(1)
    assert whole.binned(1) is whole


def test_covariance_of_larger_pixels():
    covariance = np.outer([0.5, 1, 0.5], [0.25, 0.5, 1, 0.5, 0.25])
    rows, columns = np.indices((40, 40)).reshape(2, -1)
    near = np.zeros((1600, 1600))
    for (j, i), value in np.ndenumerate(covariance):
        near[(rows[:, None] - rows == j - 1) & (columns[:, None] - columns == i - 2)] = value
    for factor in (2, 3):
        n = 40 // factor
        binning = np.kron(np.eye(n, 40 // factor), np.ones(factor))
        binning = np.pad(binning, ((0, 0), (0, 40 - n * factor))) / np.sqrt(factor)
        both = np.kron(binning, binning)
        seen = (both @ near @ both.T).reshape(n, n, n, n)[n // 2, n // 2]
        found = binned_covariance(covariance, factor)
        reach = found.shape[0] // 2, found.shape[1] // 2
        middle = tuple(slice(n // 2 - k, n // 2 + k + 1) for k in reach)
        np.testing.assert_allclose(found, seen[middle], atol=1e-12)
        assert found.sum() == pytest.approx(covariance.sum())


def test_recentring_and_moving(whole):
    there = SkyCoord(150.0002 * u.deg, 1.9999 * u.deg)
    other = whole.recentred(there)
    assert other.grid.reference.separation(there) < 1e-9 * u.arcsec
    expected = whole.grid.offset_to_sky(*whole.grid.centers)
    assert other.grid.offset_to_sky(*other.grid.centers).separation(expected).max() < 1e-6 * u.arcsec
    moved = whole.moved_by([0.3, -0.1] * u.arcsec)
    x, y = (a - b for a, b in zip(moved.grid.centers, whole.grid.centers, strict=True))
    np.testing.assert_allclose(x.value, 0.3)
    np.testing.assert_allclose(y.value, -0.1)
    with pytest.raises(TypeError, match="offset must be a Quantity"):
        whole.moved_by([0.3, -0.1])


def test_the_public_constructor_carries_all():
    covariance = np.array([[0.3, 1, 0.3]])
    ccd = drizzled().to_nddata()
    observation = Observation.from_nddata(
        ccd, psf_oversampling=4, psf_includes_pixel=False, noise_correlation=covariance, reference=POSITION
    )
    np.testing.assert_array_equal(observation.noise_covariance, covariance)
    assert observation.noise_correlation == pytest.approx(1.6)
    assert observation.psf_fwhm_arcsec == pytest.approx(0.1, rel=0.2)
    with pytest.raises(ValueError, match="grid or reference, not both"):
        Observation.from_nddata(ccd, grid=GRID, reference=POSITION)


def test_what_a_file_cannot_say(whole, tmp_path):
    write_observation(whole, tmp_path / "a.fits")
    there = SkyCoord(150.0002 * u.deg, 1.9999 * u.deg)
    read = read_observation(tmp_path / "a.fits", reference=there, noise_correlation=2)
    assert read.noise_correlation == 2
    assert read.grid.reference.separation(there) < 1e-9 * u.arcsec
    np.testing.assert_allclose(read.grid.origin, whole.recentred(there).grid.origin, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("2", TypeError, "noise_correlation must be a number or an array; got '2'"),
        ([1.5, 2], TypeError, "noise_correlation must be a number or an array"),
        (0.5, ValueError, r"noise_correlation must be 1 or more; got 0\.5"),
        (np.nan, ValueError, "noise_correlation must be 1 or more; got nan"),
        (np.array([[0.5, 1, 0.4]]), ValueError, "symmetric about its middle"),
        (np.ones((2, 3)), ValueError, "two odd sides"),
    ],
)
def test_what_is_no_correlation(value, error, message):
    with pytest.raises(error, match=message):
        Observation.from_nddata(drizzled().to_nddata(), noise_correlation=value)


def test_nothing_can_be_set(whole):
    for name in ("data", "noise_given", "noise_correlation", "bright"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(whole, name, None)


def test_refused(whole):
    with pytest.raises(ObservationError, match="no pixel is left to use"):
        whole.masked(np.ones((N, N), dtype=bool))
    with pytest.raises(TypeError, match="where must be an array of bool; got float64"):
        whole.masked(np.ones((N, N)))
    with pytest.raises(ValueError, match=r"where must have the shape of the data, \(80, 80\); got \(3, 3\)"):
        whole.masked(np.ones((3, 3), dtype=bool))
    with pytest.raises(ValueError, match="light must have the shape"):
        whole.without(np.ones((3, 3)))
    with pytest.raises(ObservationError, match="odd number of rows"):
        whole.with_psf(np.ones((4, 4)))
    with pytest.warns(LensSuperWarning, match="the psf sums to 9") as caught:
        whole.with_psf(np.ones((3, 3)))
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="factor must be at least 1"):
        whole.binned(0)
