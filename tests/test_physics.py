"""What a lens must do to light, from the sky to the super-resolved image."""

import astropy.units as u
import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from lenssuper import SIE, SIS, ExternalShear, OverlapOperator, PixelGrid, SuperResolver
from lenssuper.simulate import GaussianSource, Instrument, mock_lens
from lenssuper.solvers import LogNormal

arcsec = u.arcsec
PIXEL = 0.05
INSTRUMENT = Instrument.gaussian(PIXEL * arcsec, 0.1 * arcsec)
RADIUS, BETA = 1.0, 0.3  # Einstein radius, and distance of the source from the axis
DIRECTION = np.radians(25)
ALONG = np.array([np.cos(DIRECTION), np.sin(DIRECTION)])
# image positions and magnifications of an SIS: beta + theta_E, and theta_E - beta on the other side
IMAGES = [((RADIUS + BETA) * ALONG, RADIUS / BETA + 1), (-(RADIUS - BETA) * ALONG, RADIUS / BETA - 1)]


@pytest.fixture(scope="module")
def mock():
    x, y = BETA * ALONG
    source = GaussianSource(0.03 * arcsec, x=x * arcsec, y=y * arcsec)
    return mock_lens(SIS(theta_E=RADIUS * arcsec), source, INSTRUMENT, shape=(60, 64), peak_snr=50, rng=1)


@pytest.fixture(scope="module")
def operator(mock):
    center = tuple(BETA * ALONG) * arcsec
    return OverlapOperator(mock.lens, mock.grid.refine(2), PixelGrid((80, 80), 0.005 * arcsec, center=center))


def centroid(image, grid):
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


def near(position, grid):
    x, y = grid.centers_arcsec()
    return np.hypot(x - position[0], y - position[1]) < 0.35


class TestCounterImage:
    def test_two_images(self, mock, operator):
        """Where they are, how bright they are, and that there is nothing else."""
        grid = operator.image_grid
        source = mock.source_image(operator.source_grid)
        image = operator.lens(source)
        source_flux = source.sum() * operator.source_grid.area_arcsec2
        total = 0.0
        for position, magnification in IMAGES:
            part = image * near(position, grid)
            assert np.abs(centroid(part, grid) - position).max() < 0.05 * PIXEL
            flux = part.sum() * grid.area_arcsec2
            assert flux / source_flux == pytest.approx(magnification, rel=0.01)
            total += flux
        assert image.sum() * grid.area_arcsec2 == pytest.approx(total, rel=1e-6)
        assert total / source_flux == pytest.approx(2 * RADIUS / BETA, rel=0.005)

    def test_flux_ratio(self, mock, operator):
        image = operator.lens(mock.source_image(operator.source_grid))
        one, other = ((image * near(position, operator.image_grid)).sum() for position, _ in IMAGES)
        assert one / other == pytest.approx((RADIUS / BETA + 1) / (RADIUS / BETA - 1), rel=0.01)

    @pytest.mark.parametrize("images", [[0], [1], [0, 1]], ids=["one", "counter-image", "both"])
    def test_back_projection_puts_both_on_one_position(self, mock, operator, images):
        """Of an image by shooting rays, in which the operator has no part."""
        grid = operator.image_grid
        image = mock.image(2) * sum(near(IMAGES[i][0], grid) for i in images)
        assert image.sum() > 0.3 * mock.image(2).sum()
        source = operator.delens(image)
        assert np.abs(centroid(source, operator.source_grid) - BETA * ALONG).max() < 0.05 * PIXEL
        bright = source > 0.2 * source.max()
        x, y = operator.source_grid.centers_arcsec()
        assert np.hypot(x - BETA * ALONG[0], y - BETA * ALONG[1])[bright].max() < 0.05

    def test_super_resolution_recovers_both(self, mock):
        solver = LogNormal(n_draws=2, max_evaluations=8)
        sr = SuperResolver(mock.lens, factor=2, solver=solver, rng=1)(mock.observation)
        grid, image = sr.fine_grid, sr.image.data
        fluxes = []
        for position, _ in IMAGES:
            part = image * near(position, grid)
            assert np.abs(centroid(part, grid) - position).max() < 0.1 * PIXEL
            fluxes.append(part.sum())
        assert fluxes[0] / fluxes[1] == pytest.approx((RADIUS / BETA + 1) / (RADIUS / BETA - 1), rel=0.03)
        expected = sum(mu for _, mu in IMAGES) * mock.source.surface_brightness(*(BETA * ALONG))
        width2 = (0.03 / np.sqrt(8 * np.log(2))) ** 2
        assert sum(fluxes) * grid.area_arcsec2 == pytest.approx(expected * 2 * np.pi * width2, rel=0.05)
        bright = sr.source.data * (sr.source.data > 0.1 * sr.source.data.max())
        assert np.abs(centroid(bright, sr.source_grid) - BETA * ALONG).max() < 0.1 * PIXEL
        # sharper than the data: each image is brighter than it was with the PSF
        assert image.max() > 2 * mock.noiseless.max()


def test_einstein_ring():
    """A source on the axis becomes a ring of radius theta_E, as bright all around."""
    grid = PixelGrid((96, 96), 0.025 * arcsec)
    sources = PixelGrid((60, 60), 0.005 * arcsec)
    x, y = sources.centers_arcsec()
    source = np.exp(-(x**2 + y**2) / (2 * 0.03**2))
    image = OverlapOperator(SIS(theta_E=0.9 * arcsec), grid, sources).lens(source)
    x, y = grid.centers_arcsec()
    r, phi = np.hypot(x, y), np.arctan2(y, x)
    assert (image * r).sum() / image.sum() == pytest.approx(0.9, abs=0.002)
    assert (image[np.abs(r - 0.9) > 0.26] == 0).all()
    # counted from an angle at which no pixel is on the border between two
    sectors = [image[((phi - 0.1) // (np.pi / 4)) % 8 == i].sum() for i in range(8)]
    np.testing.assert_allclose(sectors, np.mean(sectors), rtol=0.02)


def test_quad_is_where_the_lens_equation_has_it():
    lens = SIE(theta_E=1.0 * arcsec, q=0.7, phi=40 * u.deg) + ExternalShear(gamma1=0.05, gamma2=0.02)
    beta = np.array([0.04, 0.02])
    grid = PixelGrid((140, 140), 0.02 * arcsec)
    sources = PixelGrid((41, 41), 0.004 * arcsec, center=tuple(beta) * arcsec)
    x, y = sources.centers_arcsec()
    source = np.exp(-((x - beta[0]) ** 2 + (y - beta[1]) ** 2) / (2 * 0.02**2))
    image = OverlapOperator(lens, grid, sources).lens(source)
    peaks = (image == maximum_filter(image, 9)) & (image > 0.7)
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    found = np.stack([x[peaks], y[peaks]], axis=1)
    expected = np.stack([c.to_value(arcsec) for c in lens.image_positions(*(beta * arcsec))], axis=1)
    assert len(expected) == len(found) == 4
    for position in expected:
        assert np.hypot(*(found - position).T).min() < 0.02


def test_light_is_neither_made_nor_lost():
    """Surface brightness is conserved: what is as bright everywhere stays so, lens or no lens."""
    lens = SIE(theta_E=1.0 * arcsec, q=0.6, phi=10 * u.deg) + ExternalShear(gamma1=0.1, gamma2=0)
    operator = OverlapOperator(lens, PixelGrid((50, 40), 0.05 * arcsec), PixelGrid((70, 70), 0.06 * arcsec))
    np.testing.assert_allclose(operator.lens(np.full((70, 70), 3.0)), 3, rtol=1e-12)
    np.testing.assert_allclose(
        operator.delens(np.full((50, 40), 3.0))[operator.coverage > 0.01], 3, rtol=1e-9
    )


def test_mirrored_lens_and_source_give_the_mirrored_image():
    grid, sources = PixelGrid((40, 44), 0.06 * arcsec), PixelGrid((40, 40), 0.03 * arcsec)
    x, y = sources.centers_arcsec()
    images = []
    for sign in (1, -1):
        lens = SIE(theta_E=0.8 * arcsec, q=0.7, phi=sign * 30 * u.deg) + ExternalShear(
            gamma1=0.03, gamma2=sign * 0.06
        )
        source = np.exp(-((x - 0.1) ** 2 + (y - sign * 0.15) ** 2) / (2 * 0.05**2))
        images.append(OverlapOperator(lens, grid, sources).lens(source))
    np.testing.assert_allclose(images[1], images[0][::-1], rtol=0, atol=2e-3)
    assert np.abs(images[1] - images[0]).max() > 0.1
