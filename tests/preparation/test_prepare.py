"""``prepare`` and the arc region: from what an archive hands out to what the solvers take."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from scipy import ndimage

from lenssuper import SIE, SIS, Observation, PixelGrid, prepare, write_observation
from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.preparation import arc_region
from lenssuper.simulate import HST_ACS_F814W, GaussianSource, SersicSource, mock_lens, random_mock


@pytest.fixture(scope="module")
def mock():
    return random_mock(3, shape=(80, 80))


def raw(mock, **changes):
    """The mock as a cutout service hands it out: with sky, and without noise map and PSF."""
    image = mock.observation.copy()
    image.data = image.data + 0.7 * np.median(mock.observation.uncertainty.array)
    image.uncertainty = None
    for name, value in changes.items():
        setattr(image, name, value)
    return image


def gaussian(shape, row, column, flux, width=1.5):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return flux * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))


def test_noise_and_sky_are_measured(mock):
    ready = prepare(raw(mock), psf=mock.observation.psf)
    truth = mock.observation.uncertainty.array
    dim = truth < 1.05 * truth.min()
    assert np.median(ready.uncertainty.array[dim] / truth[dim]) == pytest.approx(1, abs=0.05)
    assert abs(np.median((ready.data - mock.observation.data)[dim])) < 0.15 * truth.min()
    np.testing.assert_allclose(ready.psf, mock.observation.psf / mock.observation.psf.sum())
    history = str(ready.meta["HISTORY"])
    assert "subtracted a sky" in history.replace("\n", "")
    grids = (Observation.from_nddata(image).grid for image in (ready, mock.observation))
    np.testing.assert_allclose(*(np.stack(grid.vertices_arcsec()[0]) for grid in grids), rtol=0, atol=1e-9)


@pytest.mark.parametrize("broken", [np.nan, 1e6])
def test_a_broken_pixel_changes_neither_the_sky_nor_the_noise_of_others(mock, broken):
    options = {"psf": mock.observation.psf, "exposure_time": 2000 * u.s}
    expected, image = prepare(raw(mock), **options), raw(mock)
    mask = np.zeros(image.shape, dtype=bool)
    mask[0, 0] = mask[5, 70] = True
    image.data[mask] = broken
    ready = prepare(image, mask=mask, **options)
    # two pixels fewer of thousands
    sigma, truth = ready.uncertainty.array[~mask], expected.uncertainty.array[~mask]
    np.testing.assert_allclose(sigma, truth, rtol=0.01)
    np.testing.assert_allclose(ready.data[~mask], expected.data[~mask], rtol=0, atol=0.1 * truth.min())


def test_input_is_not_touched(mock):
    image = raw(mock)
    before = image.data.copy()
    prepare(image, psf=mock.observation.psf, mask=before > np.quantile(before, 0.99))
    np.testing.assert_array_equal(image.data, before)
    assert image.uncertainty is None
    assert image.mask is None or not image.mask.any()


def test_wrong_noise_map_is_corrected(mock):
    truth = mock.observation.uncertainty.array
    wrong = mock.observation.copy()
    wrong.psf = mock.observation.psf
    wrong.uncertainty = StdDevUncertainty(1.8 * truth)
    corrected = prepare(wrong).uncertainty.array
    assert np.median(corrected / truth) == pytest.approx(1, abs=0.06)
    np.testing.assert_allclose(prepare(wrong, rescale=False).uncertainty.array, 1.8 * truth)


def test_pixels_of_absurd_noise_are_masked(mock):
    image = mock.observation.copy()
    image.uncertainty.array[3:6, 4] = 1e16
    ready = prepare(image)
    assert ready.mask[3:6, 4].all()
    assert ready.mask.sum() == 3
    assert "3 pixels whose noise" in str(ready.meta["HISTORY"]).replace("\n", "")


def test_file_gives_what_memory_gives(mock, tmp_path):
    path = tmp_path / "lens.fits"
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), path)
    ours = prepare(path)
    memory = mock.observation.copy()
    memory.psf = mock.observation.psf
    np.testing.assert_allclose(ours.data, prepare(memory).data)
    assert isinstance(ours.meta, fits.Header)
    again = tmp_path / "ready.fits"
    write_observation(Observation.from_nddata(ours), again)
    assert "lenssuper prepare" in str(fits.getheader(again)["HISTORY"])


def test_foreground_is_subtracted_after_its_photons_are_counted(mock):
    """The noise of a pixel is that of all its light, also of what is subtracted."""
    galaxy = gaussian((80, 80), 39.5, 39.5, 300.0, 6.0) * mock.observation.uncertainty.array.min()
    rms = float(mock.observation.uncertainty.array.min())
    image = raw(mock)
    image.data = image.data + galaxy
    options = {"psf": mock.observation.psf, "rms": rms, "gain": 3 / rms * u.electron / image.unit}
    with_light = prepare(image, **options)
    ready = prepare(image, foreground=galaxy, **options)
    np.testing.assert_allclose(ready.data, with_light.data - galaxy)
    np.testing.assert_allclose(ready.uncertainty.array, with_light.uncertainty.array)
    assert ready.uncertainty.array[39, 39] > 5 * rms


@pytest.mark.parametrize(
    ("peak", "photons", "keep_sky", "said"),
    [(400, 0.0, False, True), (400, 0.0, True, True), (400, 1.0, False, False), (100, 0.0, False, False)],
    ids=["sky alone", "its sky kept", "with photons", "too faint to tell"],
)
def test_a_noise_map_of_the_sky_alone_is_said(mock, peak, photons, keep_sky, said):
    rms = float(mock.observation.uncertainty.array.min())
    image = mock.observation.copy()
    galaxy = gaussian((80, 80), 39.5, 39.5, peak * rms, 4.0)
    rng = np.random.default_rng(1)
    image.data = 30 * rms + galaxy + rms * rng.standard_normal((80, 80))
    # a sky of 10,000 electrons, and a map in another unit
    sigma = rms * np.sqrt(1 + photons * galaxy / (100 * rms))
    image.uncertainty = StdDevUncertainty(300 * sigma)
    image.psf = mock.observation.psf
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ready = prepare(image, subtract_sky=not keep_sky)
    assert any("photon noise of the light seems not to be" in str(each.message) for each in caught) is said
    assert ("photon noise" in str(ready.meta["HISTORY"]).replace("\n", "")) is said


def test_foreground_may_be_a_function(mock):
    def halve(ccd):
        other = ccd.copy()
        other.psf = ccd.psf
        other.data = ccd.data / 2
        return other

    options = {"psf": mock.observation.psf}
    np.testing.assert_allclose(
        prepare(raw(mock), foreground=halve, **options).data, prepare(raw(mock), **options).data / 2
    )
    with pytest.raises(TypeError, match="foreground must give an NDData"):
        prepare(raw(mock), foreground=lambda ccd: 3, **options)


def test_neighbors_are_masked_and_arcs_are_not(mock):
    image = raw(mock)
    peak = 60 * mock.observation.uncertainty.array.min()
    image.data = image.data + gaussian((80, 80), 70, 70, peak)
    ready = prepare(image, psf=mock.observation.psf, lens=mock.lens)
    assert ready.mask[70, 70]
    bright = mock.observation.data > 10 * mock.observation.uncertainty.array
    assert bright.sum() > 20
    assert not ready.mask[bright].any()
    assert not prepare(image, psf=mock.observation.psf).mask.any()


def test_a_rough_radius_may_be_a_fifth_too_small():
    """An image 1.7 radii from the lens is masked beyond one radius, and not beyond two rough radii."""
    source = GaussianSource(0.05 * u.arcsec, x=0.7 * u.arcsec)
    lens = SIS(theta_E=1 * u.arcsec)
    mock = mock_lens(lens, source, HST_ACS_F814W, shape=(120, 120), peak_snr=25, rng=1)
    x, y = mock.grid.centers_arcsec()
    image = np.hypot(x - 1.7, y) < 0.1
    cut = prepare(mock.observation, arc_radius=1 * u.arcsec)
    assert cut.mask[image].all()
    said = "".join(f"{line:<72}" for line in cut.meta["HISTORY"])
    distance = np.hypot(x, y)[cut.mask].min()
    assert f"other objects, the nearest {distance:.2f} arcsec from the middle" in said
    assert not prepare(mock.observation, einstein_radius=0.85 * u.arcsec).mask[image].any()


def test_a_neighbor_that_touches_the_arcs_is_masked():
    """What is masked around pieces of the ring touches what is masked around the neighbour."""
    lens = SIE(theta_E=0.92 * u.arcsec, q=0.78, phi=35 * u.deg)
    source = SersicSource(0.15 * u.arcsec, 1, q=0.7, x=0.12 * u.arcsec, y=-0.05 * u.arcsec)
    other = SersicSource(0.25 * u.arcsec, 1, q=0.5, x=2.0 * u.arcsec, y=0.6 * u.arcsec, amplitude=0.25)
    mock = mock_lens(lens, source, HST_ACS_F814W, shape=(84, 84), peak_snr=25, lens_light=other, rng=1)
    ready = prepare(mock.observation, arc_radius=1.5 * u.arcsec)
    x, y = mock.grid.centers
    assert ready.mask[np.hypot(x - 2.0 * u.arcsec, y - 0.6 * u.arcsec) < 0.4 * u.arcsec].all()
    alone = mock_lens(lens, source, HST_ACS_F814W, shape=(84, 84), peak_snr=25, rng=1)
    assert not ready.mask[alone.noiseless > 3 * np.median(alone.observation.uncertainty.array)].any()


def test_the_rim_of_a_neighbour_on_the_side_of_the_arcs_is_masked_too():
    lens = SIE(theta_E=0.8 * u.arcsec, q=0.78, phi=35 * u.deg)
    source = SersicSource(0.15 * u.arcsec, 1, q=0.7, x=0.12 * u.arcsec, y=-0.05 * u.arcsec)
    other = SersicSource(0.15 * u.arcsec, 1, x=1.9 * u.arcsec, y=0.5 * u.arcsec, amplitude=0.4)
    mock = mock_lens(lens, source, HST_ACS_F814W, shape=(100, 100), peak_snr=25, lens_light=other, rng=1)
    ready = prepare(mock.observation, arc_radius=1.65 * u.arcsec)
    x, y = mock.grid.centers
    near = np.hypot(x - 1.9 * u.arcsec, y - 0.5 * u.arcsec) < 0.5 * u.arcsec
    within = near & (np.hypot(x, y) < 1.62 * u.arcsec)
    assert within.sum() > 20
    assert ready.mask[within].all()
    assert not ready.mask[np.hypot(x, y) < 0.75 * 1.65 * u.arcsec].any()


def test_an_arc_with_a_faint_tail_is_not_taken_for_a_neighbour():
    """Most of its pixels are beyond the radius up to which arcs are expected; half of its light is not."""
    source = GaussianSource(0.06 * u.arcsec, x=0.5 * u.arcsec)
    tail = SersicSource(1.1 * u.arcsec, 1.0, x=1.35 * u.arcsec, amplitude=0.04)
    galaxy = SersicSource(0.25 * u.arcsec, 1.0)
    mock = mock_lens(
        SIS(theta_E=0.8 * u.arcsec),
        source,
        HST_ACS_F814W,
        shape=(160, 160),
        peak_snr=60,
        lens_light=galaxy + tail,
        rng=1,
    )
    ready = prepare(mock.observation, arc_radius=1.6 * u.arcsec)
    x, y = mock.grid.centers_arcsec()
    assert not ready.mask[np.hypot(x - 1.3, y) < 0.2].any()


@pytest.mark.parametrize("seed", [3, 5, 8])
def test_arc_region_holds_the_source(seed):
    mock = random_mock(seed, shape=(80, 80))
    region = arc_region(Observation.from_nddata(mock.observation, grid=mock.grid), mock.lens)
    assert mock.noiseless[region].sum() > 0.97 * mock.noiseless.sum()
    assert region.mean() < 0.5


def test_arc_region_finds_the_faint_counter_image_and_drops_what_has_none():
    """The images of a source 0.7" west of an SIS are 1.7" west and 0.3" east, magnified 2.43 and 0.43."""
    lens = SIS(theta_E=1.0 * u.arcsec)
    mock = mock_lens(
        lens,
        GaussianSource(0.15 * u.arcsec, x=0.7 * u.arcsec),
        HST_ACS_F814W,
        shape=(90, 90),
        peak_snr=12,
        rng=1,
    )
    x, y = mock.grid.centers_arcsec()
    star = 12 * mock.observation.uncertainty.array.min() * np.exp(-(x**2 + (y + 0.3) ** 2) / 0.01)
    starred = CCDData(mock.observation.data + star, unit="electron / s", psf=mock.observation.psf)
    starred.uncertainty = StdDevUncertainty(mock.observation.uncertainty.array)
    observation = Observation.from_nddata(starred, grid=mock.grid)
    region = arc_region(observation, lens)
    assert region[np.hypot(x - 1.7, y) < 0.2].all()
    assert region[np.hypot(x + 0.3, y) < 0.08].all()
    assert not region[np.hypot(x, y + 0.3) < 0.1].any()
    assert not region[np.hypot(x, y - 1.7) < 0.3].any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"center": (40, 40)}, ValueError, "center and size must be given together"),
        ({"mask": np.zeros((3, 3))}, ValueError, "mask must have the shape"),
        ({"foreground": np.zeros((3, 3))}, ValueError, "foreground must have the shape"),
        ({"arcs_only": True}, ValueError, "arcs_only needs lens="),
        ({"mask": np.ones((80, 80))}, ObservationError, "blank sky"),
        ({"arc_radius": 1.0}, TypeError, "arc_radius must be a Quantity"),
        ({"einstein_radius": 1.0}, TypeError, "einstein_radius must be a Quantity"),
        ({"einstein_radius": -1 * u.arcsec}, ValueError, "einstein_radius must be"),
        (
            {"einstein_radius": 1 * u.arcsec, "lens": SIS(theta_E=1 * u.arcsec)},
            ValueError,
            "give one of lens and einstein_radius",
        ),
        ({"rms": -1.0}, ValueError, "rms must be positive"),
    ],
)
def test_bad_arguments(mock, options, error, message):
    with pytest.raises(error, match=message):
        prepare(raw(mock), psf=mock.observation.psf, **options)


def test_exposure_time_needs_rms_where_there_is_a_noise_map(mock):
    with pytest.raises(ValueError, match="give rms= too"):
        prepare(mock.observation, exposure_time=100 * u.s)
    with pytest.raises(TypeError, match="image must be an NDData"):
        prepare(np.zeros((5, 5)))


def test_arc_region_refuses(mock):
    rng = np.random.default_rng(1)
    empty = CCDData(rng.normal(size=(64, 64)), unit="adu", uncertainty=StdDevUncertainty(np.ones((64, 64))))
    empty = Observation.from_nddata(empty, grid=PixelGrid((64, 64), 0.1 * u.arcsec))
    with pytest.raises(ObservationError, match="no pixel of the observation is significantly above"):
        arc_region(empty, mock.lens)
    with pytest.raises(ValueError, match="light must have the shape"):
        arc_region(empty, mock.lens, light=np.ones((3, 3), dtype=bool))
    with pytest.raises(TypeError, match="lens must be a LensModel"):
        arc_region(empty, 3)


def giant(tmp_path, side=241):
    """A mosaic of a massive galaxy on a sky of 0.7, in noise of 1 that neighbours share."""
    y, x = np.indices((side, side)) - side // 2
    light = 40 * np.exp(-7.67 * (((np.hypot(x, y) + 0.3) / 20) ** 0.25 - 1))
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(0, 1, (side, side)), 0.6)
    header = PixelGrid((side, side), 0.1 * u.arcsec).wcs.to_header()
    header.update(BUNIT="adu", EXPTIME=100.0, GAIN=1e6)
    fits.writeto(tmp_path / "giant.fits", light + 0.7 + noise / noise.std(), header)
    return light


def test_sky_and_noise_of_a_tight_cutout_are_those_around(tmp_path):
    light = giant(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)
        tight, wide = (
            prepare(tmp_path / "giant.fits", center=(120, 120), size=size * u.arcsec) for size in (3.2, 22)
        )
    assert tight.shape == (33, 33)
    sky = np.median(light[104:137, 104:137] + 0.7 - tight.data)
    assert sky == pytest.approx(0.7, abs=0.15)
    middle = tuple(slice(n // 2 - 16, n // 2 + 17) for n in wide.shape)
    np.testing.assert_allclose(tight.uncertainty.array, wide.uncertainty.array[middle], rtol=0.1)
    tight, wide = (Observation.from_nddata(ccd).noise_correlation for ccd in (tight, wide))
    assert tight == pytest.approx(wide, rel=0.2)
    assert tight == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("name", ["mask", "rms"])
def test_arrays_of_the_whole_image_are_cut_along(name):
    """The box around the cutout, in which the sky is measured, is a part of this image."""
    shape, rng = (260, 300), np.random.default_rng(2)
    image = CCDData(rng.normal(0, 1, shape), unit="electron", wcs=PixelGrid(shape, 0.1 * u.arcsec).wcs)
    whole = rng.random(shape) < 0.1 if name == "mask" else 1 + rng.random(shape)
    given = {"rms": 1.0, "psf": np.ones((1, 1)), "rescale": False, "center": (40, 200), "size": 2 * u.arcsec}
    window = np.s_[190:211, 30:51]
    for values in (whole, whole[window]):
        ready = prepare(image, **given | {name: values})
        found = ready.mask if name == "mask" else ready.uncertainty.array
        np.testing.assert_allclose(found, whole[window])
    with pytest.raises(
        ValueError, match=rf"{name} must have the shape of what is cut out, \(21, 21\), or of "
    ):
        prepare(image, **given | {name: whole[:201, :201]})


@pytest.mark.parametrize("in_memory", [False, True])
def test_neighbors_are_masked_around_the_position_of_the_lens(mock, tmp_path, in_memory):
    """Which is not the middle of the cutout, nor where an earlier file counted from."""
    image = mock.observation.copy()
    image.psf = mock.observation.psf
    place = SkyCoord(150.1, 2.2, unit=u.deg)
    whole = Observation.from_nddata(
        image, grid=PixelGrid(image.shape, mock.grid.pixel_scale, reference=place, center=(1, 0.7) * u.arcsec)
    )
    write_observation(whole, tmp_path / "whole.fits")

    def faded(ccd):  # a function that forgets the header
        other = CCDData(0.9 * ccd.data, unit=ccd.unit, wcs=ccd.wcs, mask=ccd.mask)
        other.uncertainty, other.psf = ccd.uncertainty, ccd.psf
        return other

    there = whole.grid.offset_to_sky(*(whole.grid.center + [0.03, 0.02] * u.arcsec))
    ready = prepare(
        whole.to_nddata() if in_memory else tmp_path / "whole.fits",
        center=there,
        size=4 * u.arcsec,
        lens=mock.lens,
        foreground=faded,
    )
    grid = Observation.from_nddata(ready).grid
    assert grid.reference.separation(there) < 1e-6 * u.arcsec


def test_noise_that_neighbors_share_is_kept_with_a_part_and_scaled_with_its_map(tmp_path):
    """In units of the standard deviations, the covariance changes as one over their square."""
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(0, 1, (120, 120)), 0.6)
    noise /= noise.std()
    grid = PixelGrid(noise.shape, 0.1 * u.arcsec)
    image = CCDData(noise, unit="adu", wcs=grid.wcs, uncertainty=StdDevUncertainty(np.full((120, 120), 2.0)))
    image.psf = np.ones((1, 1))
    measured = Observation.from_nddata(image).noise_covariance
    assert measured is None or measured[2, 2] < 0.3
    covariance = np.array([[0.05, 0.1, 0.05], [0.1, 0.25, 0.1], [0.05, 0.1, 0.05]])
    observation = Observation.from_nddata(image, noise_correlation=covariance)
    write_observation(observation, tmp_path / "own.fits")
    for options in ({}, {"center": (60, 60), "size": 3 * u.arcsec}):
        ready = Observation.from_nddata(prepare(tmp_path / "own.fits", **options))
        ratio = np.median(ready.sigma) / 2
        assert ratio == pytest.approx(0.5, rel=0.1)
        np.testing.assert_allclose(ready.noise_covariance, covariance / ratio**2, rtol=1e-6)
    again = prepare(tmp_path / "own.fits", rescale=False, center=(60, 60), size=3 * u.arcsec)
    np.testing.assert_allclose(Observation.from_nddata(again).noise_covariance, covariance)


def test_pixels_that_were_not_exposed_are_masked(mock):
    image = raw(mock, psf=mock.observation.psf)
    time = np.full(image.shape, 2000.0)
    time[:, :10] = 0
    ready = prepare(image, exposure_time=time * u.s)
    assert ready.mask[:, :10].all()
    assert not ready.mask[:, 10:].any()
    whole = prepare(image, exposure_time=2000 * u.s)
    np.testing.assert_allclose(ready.uncertainty.array[:, 10:], whole.uncertainty.array[:, 10:], rtol=0.05)
