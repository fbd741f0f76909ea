import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.fft import next_fast_len

from lenssuper import SIE, SIS, ExternalShear, Observation, OverlapOperator, PixelGrid, PointMass
from lenssuper.exceptions import ObservationError
from lenssuper.forward.sourcegrid import default_source_grid, square_source_grid
from lenssuper.simulate import GaussianSource, Instrument, mock_lens, random_mock

arcsec = u.arcsec
LENS = SIE(theta_E=0.7 * arcsec, q=0.8, phi=20 * u.deg)


def observe(data, sigma=1.0, mask=None, grid=None, scale=0.1):
    image = CCDData(
        data, unit="", uncertainty=StdDevUncertainty(np.broadcast_to(sigma, data.shape)), mask=mask
    )
    return Observation.from_nddata(image, grid=grid or PixelGrid(data.shape, scale * arcsec))


def blob(shape=(40, 40), x=0.0, y=0.0, width=0.3, peak=50.0, scale=0.1):
    """A bright spot of Gaussian shape in noise of one."""
    px, py = PixelGrid(shape, scale * arcsec).centers_arcsec()
    noise = np.random.default_rng(1).normal(size=shape)
    return peak * np.exp(-((px - x) ** 2 + (py - y) ** 2) / (2 * width**2)) + noise


def test_scale_is_that_of_the_magnification():
    """A pure shear magnifies everything by 1 / (1 - gamma^2)."""
    observed = observe(blob())
    for gamma in (0.0, 0.3, 0.6):
        for factor in (1, 2, 3):
            grid = default_source_grid(observed, ExternalShear(gamma1=gamma, gamma2=0), factor)
            expected = 0.1 / factor * np.sqrt(1 - gamma**2)
            assert grid.pixel_scale.to_value(arcsec) == pytest.approx(expected)


def test_magnification_is_taken_where_the_light_is():
    """An SIS magnifies by 1 / (1 - theta_E / r): more near the ring than far out."""
    lens = SIS(theta_E=0.5 * arcsec)
    near, far = (default_source_grid(observe(blob(x=x, width=0.1)), lens, 2) for x in (0.7, 1.7))
    assert near.pixel_scale < 0.8 * far.pixel_scale
    assert far.pixel_scale.to_value(arcsec) == pytest.approx(0.05 * np.sqrt(1 - 0.5 / 1.7), rel=0.05)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(
    "lens", [LENS, LENS + ExternalShear(gamma1=0.1, gamma2=-0.05), SIS(theta_E=0.01 * arcsec)]
)
def test_covers_the_small_field(lens, factor):
    """Every image pixel sees nothing but source pixels, but for the outermost, where the PSF is cut too."""
    observed = observe(blob((24, 30)))
    grid = default_source_grid(observed, lens, factor)
    seen = OverlapOperator(lens, observed.grid, grid).forward(np.ones(grid.shape))
    assert (seen[1:-1, 1:-1] > 1 - 1e-9).all()
    assert (seen > 0.8).all()


def test_is_quick_to_transform():
    for mock in (random_mock(i, shape=(30, 34)) for i in range(4)):
        grid = default_source_grid(Observation.from_nddata(mock.observation), mock.lens, 2)
        assert [next_fast_len(n, real=True) for n in grid.shape] == list(grid.shape)


def test_masked_parts_are_left_out():
    data = blob((40, 40))
    mask = np.ones((40, 40), dtype=bool)
    mask[10:30, 12:28] = False
    whole = default_source_grid(observe(data), ExternalShear(gamma1=0, gamma2=0), 2)
    part = default_source_grid(observe(data, mask=mask), ExternalShear(gamma1=0, gamma2=0), 2)
    height, width = (n * part.pixel_scale.to_value(arcsec) for n in part.shape)
    # two pixels more on each side, as far as light is scattered in
    assert height == pytest.approx(2.4, abs=0.3)
    assert width == pytest.approx(2.0, abs=0.3)
    assert np.prod(part.shape) < 0.5 * np.prod(whole.shape)


def test_source_outside_of_the_part_that_is_used():
    """A mask that leaves one arc: the source is on the other side of the border of what is seen."""
    mask = np.ones((40, 40), dtype=bool)
    mask[12:28, 28:36] = False  # x from 0.8 to 1.6 arcsec
    grid = default_source_grid(observe(blob(x=1.0, width=0.1), mask=mask), SIS(theta_E=0.9 * arcsec), 2)
    assert grid.contains(0.1 * arcsec, 0 * arcsec)


def test_cutout_beside_the_lens():
    """One arc in the field; the source is outside of it, on the other side of the lens even."""
    observed = observe(blob((40, 60), x=1.1, width=0.1))[:, 34:]  # x from 0.4 to 3 arcsec
    grid = default_source_grid(observed, SIS(theta_E=0.9 * arcsec), 2)
    assert grid.contains(0.2 * arcsec, 0 * arcsec)
    assert grid.contains(-0.3 * arcsec, 0 * arcsec)


def test_large_field_is_fitted_to_the_light():
    """Few pixels for much sky, and next to no light of the source lost."""
    source = GaussianSource(0.25 * arcsec, x=0.3 * arcsec, y=-0.2 * arcsec)
    instrument = Instrument.gaussian(0.05 * arcsec, 0.1 * arcsec)
    mock = mock_lens(
        SIE(theta_E=1.2 * arcsec, q=0.8, phi=0 * u.deg),
        source,
        instrument,
        shape=(180, 180),
        peak_snr=40,
        rng=1,
    )
    grid = default_source_grid(Observation.from_nddata(mock.observation), mock.lens, 2)
    assert max(grid.shape) <= 150
    flux = mock.source_image(grid).sum() * grid.pixel_area.to_value(arcsec**2)
    assert flux == pytest.approx(mock.source.terms[0][0] * source.flux, rel=2e-3)
    x, y = grid.center.to_value(arcsec)
    assert np.hypot(x - 0.3, y + 0.2) < 0.2


def test_never_more_than_256_pixels():
    data = blob((300, 260), width=4.0)
    grid = default_source_grid(observe(data), SIS(theta_E=0.5 * arcsec), 3)
    assert max(grid.shape) <= next_fast_len(258, real=True)
    assert max(grid.shape) > 200


def test_stripe_of_light_gets_a_grid_that_is_not_one():
    """An arc that is all light there is still leaves space on its sides."""
    px, _ = PixelGrid((200, 200), 0.05 * arcsec).centers_arcsec()
    data = 50 * np.exp(-(px**2) / (2 * 0.1**2)) + np.random.default_rng(1).normal(size=(200, 200))
    grid = default_source_grid(observe(data, scale=0.05), ExternalShear(gamma1=0, gamma2=0), 2)
    assert 0.5 < grid.shape[1] / grid.shape[0] <= 1


def test_does_not_depend_on_the_unit():
    data = blob()
    grids = [default_source_grid(observe(data * k, k), LENS, 2) for k in (1.0, 1e-20, 1e6)]
    assert grids[0].shape == grids[1].shape == grids[2].shape
    for grid in grids[1:]:
        np.testing.assert_allclose(grid.matrix, grids[0].matrix, rtol=1e-12)
        np.testing.assert_allclose(grid.origin, grids[0].origin, rtol=1e-12)


@pytest.mark.parametrize("data", [np.zeros((30, 30)), np.random.default_rng(2).normal(size=(30, 30))])
def test_without_light(data):
    grid = default_source_grid(observe(data), LENS, 2)
    assert 20 <= min(grid.shape) <= max(grid.shape) <= 256


def test_point_mass_does_not_blow_it_up():
    """Its centre throws light to infinity; the grid stays within the field."""
    lens = PointMass(theta_E=0.7 * arcsec)
    observed = observe(blob((41, 41)))  # a pixel centre on the point
    grid = default_source_grid(observed, lens, 2)
    assert max(grid.shape) <= 256
    extent = np.abs(grid.extent.to_value(arcsec))
    assert (extent < 2.5).all()


def test_axes_are_west_and_north_however_the_detector_is_turned():
    reference = SkyCoord(10 * u.deg, -30 * u.deg)
    turned = PixelGrid((30, 30), 0.1 * arcsec, rotation=30 * u.deg, reference=reference)
    grid = default_source_grid(observe(blob((30, 30)), grid=turned), LENS, 2)
    np.testing.assert_allclose(grid.matrix, np.eye(2) * grid.side_arcsec)
    assert grid.reference == reference


def test_lens_that_sends_all_light_away():
    with pytest.raises(ObservationError, match="check the units and the centre"):
        default_source_grid(observe(blob()), SIS(theta_E=0.6 * u.deg, x=5 * arcsec), 2)


@pytest.mark.parametrize("n", [48, 100])
def test_square_grid_covers_the_same(n):
    """A field that is wider than high, and a lens that is not in its middle."""
    lens = SIE(theta_E=0.7 * arcsec, q=0.8, phi=20 * u.deg, x=0.2 * arcsec)
    observed = observe(blob((24, 40)))
    default, square = default_source_grid(observed, lens, 2), square_source_grid(observed, lens, 2, n)
    assert square.shape == (n, n)
    np.testing.assert_allclose(square.center.to_value(arcsec), default.center.to_value(arcsec), atol=1e-12)
    (x0, x1, y0, y1), (left, right, low, high) = (
        square.extent.to_value(arcsec),
        default.extent.to_value(arcsec),
    )
    assert right - left > high - low
    assert (x0, x1) == pytest.approx((left, right))
    assert y1 - y0 == pytest.approx(right - left)
