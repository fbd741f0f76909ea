import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    NDDataRef,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS

from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

SHAPE = (6, 8)
UNIT = u.electron / u.s
SIGMA = 0.5 + np.arange(48).reshape(SHAPE) / 10
MILLI = u.Unit(1e-3 * UNIT)


def sky():
    return PixelGrid(SHAPE, 0.1 * u.arcsec, rotation=37 * u.deg, reference=SkyCoord(10, -20, unit=u.deg)).wcs


def gaussian_psf(shape=(5, 7)):
    y, x = np.indices(shape, dtype=float)
    psf = np.exp(-((x - shape[1] // 2) ** 2 + (y - shape[0] // 2) ** 2) / 2)
    return psf / psf.sum()


def image(**change):
    """A good image, or one with some of its parts changed."""
    parts = {
        "data": np.random.default_rng(0).normal(size=SHAPE),
        "uncertainty": StdDevUncertainty(SIGMA.copy()),
        "unit": UNIT,
        "wcs": sky(),
        "psf": gaussian_psf(),
        "meta": {"FILTER": "F150W"},
    }
    return NDData(**(parts | change))


def test_what_comes_out():
    nddata = image(mask=np.eye(6, 8, dtype=bool))
    obs = Observation.from_nddata(nddata, psf_oversampling=3, psf_includes_pixel=False)
    used = ~np.eye(6, 8, dtype=bool)
    assert np.array_equal(obs.mask, ~used)
    assert np.array_equal(obs.data, np.where(used, nddata.data, 0))
    np.testing.assert_allclose(obs.weights, np.where(used, SIGMA**-2.0, 0), rtol=1e-14)
    assert np.array_equal(np.isinf(obs.sigma), ~used)
    np.testing.assert_allclose(obs.sigma[used], SIGMA[used], rtol=1e-14)
    for array in (obs.data, obs.weights, obs.psf):
        assert array.dtype == np.float64
        assert array.dtype.isnative
    assert obs.mask.dtype == bool
    np.testing.assert_allclose(obs.psf, gaussian_psf(), rtol=1e-15)
    assert obs.psf_oversampling == 3
    assert obs.psf_includes_pixel is False
    assert obs.unit == UNIT
    assert obs.meta == {"FILTER": "F150W"}
    assert obs.shape == SHAPE
    assert obs.grid == PixelGrid.from_nddata(nddata)
    assert repr(obs).startswith(
        "Observation(shape=(6, 8), unit='electron / s', 42 of 48 pixels used, psf=(5, 7), grid=PixelGrid("
    )


def test_input_is_neither_changed_nor_shared():
    data, psf, mask = np.ones(SHAPE), gaussian_psf() * 2, np.zeros(SHAPE, bool)
    data[0, 0] = np.nan
    nddata = image(data=data, psf=psf, mask=mask)
    with pytest.warns(LensSuperWarning):
        obs = Observation.from_nddata(nddata)
    for array in (obs.data, obs.weights, obs.mask, obs.psf):
        array[:] = 7
    obs.meta["FILTER"] = "none"
    assert np.isnan(data[0, 0])
    assert np.nansum(data) == 47
    assert psf.sum() == pytest.approx(2)
    assert not mask.any()
    assert np.array_equal(nddata.uncertainty.array, SIGMA)
    assert nddata.meta["FILTER"] == "F150W"


def test_frozen():
    obs = Observation.from_nddata(image())
    with pytest.raises(AttributeError):
        obs.data = obs.data + 1


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">i2", np.uint8])
def test_any_real_data(dtype):
    values = np.arange(48).reshape(SHAPE)
    obs = Observation.from_nddata(image(data=values.astype(dtype)))
    assert np.array_equal(obs.data, values)
    assert obs.data.dtype == np.float64
    assert obs.data.dtype.isnative


def test_least_it_takes():
    bare = NDData(np.ones(SHAPE), uncertainty=StdDevUncertainty(SIGMA))
    obs = Observation.from_nddata(bare, grid=PixelGrid(SHAPE, 0.1 * u.arcsec))
    assert obs.unit == u.dimensionless_unscaled
    assert obs.psf is None
    assert not obs.mask.any()
    assert "psf=none" in repr(obs)


# Uncertainty


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(SIGMA),
        VarianceUncertainty(SIGMA**2),
        InverseVariance(SIGMA**-2.0),
        StdDevUncertainty(SIGMA, unit=UNIT),
        StdDevUncertainty(SIGMA * 1e3, unit=MILLI),
        VarianceUncertainty(SIGMA**2 * 1e6, unit=MILLI**2),
        InverseVariance(SIGMA**-2.0 * 1e-6, unit=MILLI**-2),
        StdDevUncertainty(SIGMA.astype(">f8")),
        StdDevUncertainty(np.ma.array(SIGMA)),
    ],
)
def test_every_kind_of_uncertainty_gives_the_same_weights(uncertainty):
    obs = Observation.from_nddata(image(uncertainty=uncertainty))
    np.testing.assert_allclose(obs.weights, SIGMA**-2.0, rtol=1e-13)


def test_one_sigma_for_all():
    obs = Observation.from_nddata(image(uncertainty=StdDevUncertainty(0.5)))
    assert np.array_equal(obs.weights, np.full(SHAPE, 4.0))


def test_faint_units_do_not_underflow():
    obs = Observation.from_nddata(image(uncertainty=StdDevUncertainty(SIGMA * 1e-35)))
    np.testing.assert_allclose(obs.weights, SIGMA**-2.0 * 1e70, rtol=1e-13)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (StdDevUncertainty, [np.nan, np.inf]),
        (VarianceUncertainty, [np.nan, np.inf]),
        (InverseVariance, [np.nan, 0.0]),
    ],
)
def test_pixels_without_weight_are_masked(kind, values):
    array = np.ones(SHAPE)
    array[0, :2] = values
    obs = Observation.from_nddata(image(uncertainty=kind(array)))
    expected = np.zeros(SHAPE, bool)
    expected[0, :2] = True
    assert np.array_equal(obs.mask, expected)
    assert np.array_equal(obs.weights, np.where(expected, 0.0, 1.0))
    assert np.array_equal(obs.data == 0, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite_are_masked(bad):
    data = np.ones(SHAPE)
    data[2, 3] = bad
    obs = Observation.from_nddata(image(data=data))
    assert obs.mask.sum() == 1
    assert obs.mask[2, 3]
    assert obs.data[2, 3] == 0
    assert obs.weights[2, 3] == 0


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (StdDevUncertainty, 0, r"uncertainty is zero in 2 pixels that are not masked; .*\.array <= 0;"),
        (VarianceUncertainty, 0, "uncertainty is zero in 2 pixels"),
        (StdDevUncertainty, -1, r"uncertainty is negative in 2 pixels .* nddata.mask = bad if"),
        (VarianceUncertainty, -1, "uncertainty is negative in 2 pixels"),
        (InverseVariance, -1, "uncertainty is negative in 2 pixels"),
        (InverseVariance, np.inf, r"uncertainty is infinite in 2 pixels .*\.array == numpy.inf;"),
    ],
)
def test_impossible_noise_is_refused_unless_masked(kind, value, message):
    array = np.ones(SHAPE)
    array[0, :3] = value
    mask = np.zeros(SHAPE, bool)
    mask[0, 0] = True
    nddata = image(uncertainty=kind(array), mask=mask)
    with pytest.raises(ObservationError, match=message):
        Observation.from_nddata(nddata)
    # The line that the message gives works.
    bad = nddata.uncertainty.array == np.inf if value == np.inf else nddata.uncertainty.array <= 0
    nddata.mask = bad if nddata.mask is None else nddata.mask | bad
    assert Observation.from_nddata(nddata).mask.sum() == 3
    # NaN in the data masks as well.
    data = np.ones(SHAPE)
    data[0, :3] = np.nan
    assert Observation.from_nddata(image(uncertainty=kind(array), data=data)).mask.sum() == 3


def test_missing_uncertainty():
    with pytest.raises(
        ObservationError, match=r"has no uncertainty.*nddata\.uncertainty = .*StdDevUncertainty"
    ):
        Observation.from_nddata(image(uncertainty=None))
    with pytest.raises(ObservationError, match="has no uncertainty"):
        Observation.from_nddata(image(uncertainty=StdDevUncertainty(None)))
    with pytest.raises(ObservationError, match=r"must be a StdDevUncertainty, .*; got UnknownUncertainty"):
        Observation.from_nddata(image(uncertainty=UnknownUncertainty(SIGMA)))


def test_uncertainty_of_another_shape():
    with pytest.raises(
        ObservationError, match=r"uncertainty must have the shape of the data, \(6, 8\); got \(8, 6\)"
    ):
        Observation.from_nddata(image(uncertainty=StdDevUncertainty(SIGMA.T)))


# Data, mask and grid


@pytest.mark.parametrize("mask", [None, False, np.zeros(SHAPE, bool), np.zeros(SHAPE, np.int32)])
def test_nothing_masked(mask):
    assert not Observation.from_nddata(image(mask=mask)).mask.any()


def test_integer_and_numpy_masks():
    flags = np.zeros(SHAPE, np.uint16)
    flags[1, 2] = 4096
    assert np.argwhere(Observation.from_nddata(image(mask=flags)).mask).tolist() == [[1, 2]]
    masked = np.ma.array(np.ones(SHAPE), mask=flags != 0)
    assert np.argwhere(Observation.from_nddata(image(data=masked)).mask).tolist() == [[1, 2]]


def test_bad_masks():
    with pytest.raises(ObservationError, match=r"mask must have the shape of the data, \(6, 8\); got \(8,\)"):
        Observation.from_nddata(image(mask=np.zeros(8, bool)))
    with pytest.raises(ObservationError, match=r"mask must be boolean \(True = do not use\); got float64"):
        Observation.from_nddata(image(mask=np.zeros(SHAPE)))


def test_nothing_left():
    with pytest.raises(ObservationError, match=r"no pixel .* of 48, 48 are masked, 0 are not finite"):
        Observation.from_nddata(image(mask=np.ones(SHAPE, bool)))
    with pytest.raises(ObservationError, match="0 are masked, 48 are not finite"):
        Observation.from_nddata(image(data=np.full(SHAPE, np.nan)))
    with pytest.raises(ObservationError, match="the rest have no weight"):
        Observation.from_nddata(image(uncertainty=InverseVariance(np.zeros(SHAPE))))


@pytest.mark.parametrize("shape", [(8,), (2, 6, 8)])
def test_only_images(shape):
    nddata = NDData(np.ones(shape), uncertainty=StdDevUncertainty(np.ones(shape)))
    with pytest.raises(ObservationError, match="must be a two-dimensional image; got shape"):
        Observation.from_nddata(nddata)


def test_only_real_linear_numbers():
    with pytest.raises(ObservationError, match=r"must hold real numbers; got shape .* complex128"):
        Observation.from_nddata(image(data=np.ones(SHAPE, complex)))
    with pytest.raises(ObservationError, match=r"must hold real numbers; got shape \(0, 8\)"):
        Observation.from_nddata(image(data=np.ones((0, 8))))
    with pytest.raises(ObservationError, match="must be linear in the flux; got the unit 'mag'"):
        Observation.from_nddata(image(unit=u.mag))


def test_only_nddata():
    with pytest.raises(TypeError, match=r"an observation must be an astropy NDData, e\.g\. a CCDData; got "):
        Observation.from_nddata(np.ones(SHAPE))


def test_grid_overrides_wcs():
    grid = PixelGrid(SHAPE, 0.3 * u.arcsec)
    assert Observation.from_nddata(image(), grid=grid).grid is grid
    with pytest.raises(
        ObservationError, match=r"grid must have the shape of the data, \(6, 8\); got \(8, 6\)"
    ):
        Observation.from_nddata(image(), grid=PixelGrid((8, 6), 0.3 * u.arcsec))
    with pytest.raises(TypeError, match="grid must be a PixelGrid; got"):
        Observation.from_nddata(image(), grid=0.3 * u.arcsec)


def test_neither_wcs_nor_grid():
    with pytest.raises(ObservationError, match=r"has no WCS .* grid=PixelGrid"):
        Observation.from_nddata(image(wcs=None))
    with pytest.raises(ValueError, match=r"angular units; got units '' and '': .*grid=PixelGrid"):
        Observation.from_nddata(image(wcs=WCS(naxis=2)))


# PSF


def test_psf_is_normalised_with_a_warning():
    with pytest.warns(LensSuperWarning, match=r"the psf sums to 3; it is normalised to one") as caught:
        obs = Observation.from_nddata(image(psf=3 * gaussian_psf()))
    assert caught[0].filename == __file__
    np.testing.assert_allclose(obs.psf, gaussian_psf(), rtol=1e-14)
    # Rounding of single precision is not worth a word.
    obs = Observation.from_nddata(image(psf=gaussian_psf().astype(">f4")))
    assert obs.psf.sum() == pytest.approx(1, abs=1e-15)


def test_psf_larger_than_the_image_or_one_pixel():
    assert Observation.from_nddata(image(psf=gaussian_psf((31, 41)))).psf.shape == (31, 41)
    assert np.array_equal(Observation.from_nddata(image(psf=np.ones((1, 1)))).psf, [[1.0]])


@pytest.mark.parametrize("shape", [(6, 5), (5, 6), (6, 6)])
def test_even_psf_says_how_to_make_it_odd(shape):
    match = rf"odd number of rows and of columns.*got \({shape[0]}, {shape[1]}\).*psf\[1:, 1:\].*shift"
    with pytest.raises(ObservationError, match=match):
        Observation.from_nddata(image(psf=np.ones(shape)))


def test_the_ways_to_make_a_psf_odd_centre_it():
    from scipy.ndimage import shift

    y, x = np.indices((16, 16))
    on_pixel = np.exp(-((x - 8) ** 2 + (y - 8) ** 2) / 8)
    between = np.exp(-((x - 7.5) ** 2 + (y - 7.5) ** 2) / 8)
    for psf in (on_pixel[1:, 1:], shift(np.pad(between, ((0, 1), (0, 1))), 0.5)):
        assert psf.shape[0] == psf.shape[1]
        assert psf.shape[0] % 2 == 1
        middle = psf.shape[0] // 2
        np.testing.assert_allclose(psf.sum(0) @ np.arange(psf.shape[1]) / psf.sum(), middle, atol=1e-3)
        np.testing.assert_allclose(psf.sum(1) @ np.arange(psf.shape[0]) / psf.sum(), middle, atol=1e-3)


def test_other_bad_psfs():
    psf = gaussian_psf()
    psf[0, :2] = np.nan
    with pytest.raises(ObservationError, match="the psf must be finite; got 2 pixels that are NaN or inf"):
        Observation.from_nddata(image(psf=psf))
    with pytest.raises(ObservationError, match="the psf must have a positive sum; got -1"):
        Observation.from_nddata(image(psf=-gaussian_psf()))
    with pytest.raises(ObservationError, match="the psf must have a positive sum; got 0"):
        Observation.from_nddata(image(psf=np.zeros((3, 3))))
    with pytest.raises(ObservationError, match=r"the psf must be a two-dimensional array; got shape \(3,\)"):
        Observation.from_nddata(image(psf=np.ones(3)))
    with pytest.raises(ObservationError, match="the psf must be a two-dimensional array; got shape"):
        Observation.from_nddata(image(psf="gaussian"))


def test_bad_psf_options():
    with pytest.raises(ValueError, match="psf_oversampling must be at least 1; got 0"):
        Observation.from_nddata(image(), psf_oversampling=0)
    with pytest.raises(TypeError, match=r"psf_oversampling must be an integer; got 1\.5"):
        Observation.from_nddata(image(), psf_oversampling=1.5)
    with pytest.raises(TypeError, match="psf_includes_pixel must be True or False; got 'no'"):
        Observation.from_nddata(image(), psf_includes_pixel="no")


# Slices and the way back


def test_slice_keeps_psf_and_frame():
    obs = Observation.from_nddata(image(mask=np.eye(6, 8, dtype=bool)), psf_oversampling=3)
    cut = obs[1:5, 2:]
    assert cut.shape == (4, 6)
    for name in ("data", "weights", "mask"):
        assert np.array_equal(getattr(cut, name), getattr(obs, name)[1:5, 2:])
        assert not np.shares_memory(getattr(cut, name), getattr(obs, name))
    assert np.array_equal(cut.psf, obs.psf)
    assert cut.psf_oversampling == 3
    assert cut.unit == obs.unit
    assert cut.grid == obs.grid[1:5, 2:]
    assert cut.grid.reference == obs.grid.reference
    # What astropy drops.
    nddata = NDDataRef(np.ones(SHAPE), psf=gaussian_psf())
    assert nddata[1:].psf is None


def test_bad_slices():
    mask = np.zeros(SHAPE, bool)
    mask[:2] = True
    obs = Observation.from_nddata(image(mask=mask))
    with pytest.raises(ObservationError, match="no pixel of the cutout can be used: all are masked"):
        obs[:2]
    with pytest.raises(TypeError, match="cut out with one or two slices"):
        obs[3, 4]
    with pytest.raises(ValueError, match="the step of a cutout must be 1; got 2"):
        obs[::2]


def test_to_nddata_and_back():
    obs = Observation.from_nddata(image(mask=np.eye(6, 8, dtype=bool)))
    ccd = obs.to_nddata()
    assert isinstance(ccd, CCDData)
    assert isinstance(ccd.uncertainty, StdDevUncertainty)
    assert ccd.unit == UNIT
    assert ccd.meta["FILTER"] == "F150W"
    again = Observation.from_nddata(ccd)
    assert np.array_equal(again.data, obs.data)
    assert np.array_equal(again.mask, obs.mask)
    np.testing.assert_allclose(again.weights, obs.weights, rtol=1e-14)
    np.testing.assert_allclose(again.psf, obs.psf, rtol=1e-14)
    np.testing.assert_allclose(again.grid.vertices_arcsec(), obs.grid.vertices_arcsec(), atol=1e-8)


def test_cutout_of_ccddata_with_its_wcs_slice():
    ccd = CCDData(np.ones(SHAPE), unit=UNIT, uncertainty=StdDevUncertainty(SIGMA), wcs=sky())
    whole = Observation.from_nddata(ccd)
    cut = Observation.from_nddata(
        ccd[2:, 1:], grid=PixelGrid.from_nddata(ccd[2:, 1:], reference=whole.grid.reference)
    )
    np.testing.assert_allclose(cut.grid.vertices_arcsec(), whole.grid[2:, 1:].vertices_arcsec(), atol=1e-8)
    np.testing.assert_allclose(cut.weights, whole.weights[2:, 1:])
