"""PSFs: a Gaussian's closed form, and stars of a simulated field."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.wcs import WCS
from scipy.special import erf

from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.preparation import find_stars, gaussian_psf, star_psf

FWHM = 0.25 * u.arcsec
SIGMA = 2.5 / (2 * np.sqrt(2 * np.log(2)))  # pixels of 0.1"


def star(shape, x, y):
    """A Gaussian averaged over the pixels, in closed form."""

    def along(n, center):
        t = (np.arange(n) - center)[:, None] + np.array([-0.5, 0.5])
        return np.diff(erf(t / np.sqrt(2) / SIGMA), axis=1)[:, 0] / 2

    return np.outer(along(shape[0], y), along(shape[1], x))


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(1)
    shape = (240, 240)
    places = np.array([(20 + 40 * i, 20 + 40 * j) for i in range(6) for j in range(6)], dtype=float)
    places += rng.uniform(-0.5, 0.5, places.shape)
    fluxes = rng.uniform(3000, 20000, len(places))
    data = 5 + rng.normal(0, 1, shape)
    for (x, y), flux in zip(places, fluxes, strict=True):
        data += flux * star(shape, x, y)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (10, 20), (120, 120), (-0.1 / 3600, 0.1 / 3600)
    wcs.array_shape = shape
    return CCDData(data, unit="adu", wcs=wcs), places, fluxes


def test_gaussian_is_averaged_over_the_pixels():
    psf = gaussian_psf(FWHM, 0.1 * u.arcsec)
    n = psf.shape[0]
    expected = star((n, n), n // 2, n // 2)
    np.testing.assert_allclose(psf, expected / expected.sum(), atol=1e-10)
    narrow = gaussian_psf(0.01 * u.arcsec, 0.1 * u.arcsec)
    assert narrow.shape == (3, 3)
    assert narrow.sum() == pytest.approx(1)


@pytest.mark.parametrize("bad", [0 * u.arcsec, -1 * u.arcsec, [1, 2] * u.arcsec])
def test_gaussian_refuses(bad):
    with pytest.raises(ValueError, match="fwhm must be one positive angle"):
        gaussian_psf(bad, 0.1 * u.arcsec)
    with pytest.raises(TypeError, match="fwhm must be a Quantity"):
        gaussian_psf(0.2, 0.1 * u.arcsec)


def test_stars_are_found_the_brightest_first(field):
    image, places, fluxes = field
    found = find_stars(image, FWHM, n=10)
    assert found.shape == (10, 2)
    apart = np.hypot(*(found[:, None] - places).transpose(2, 0, 1))
    assert apart.min(axis=1).max() < 0.1
    flux = fluxes[apart.argmin(axis=1)]
    assert np.all(np.diff(flux) < 50)  # their light is measured to about 15
    limit = 0.5 * image.data.max()
    bright = find_stars(image, FWHM, n=50, saturation=limit)
    assert all(image.data[round(y), round(x)] < limit for x, y in bright)


def test_galaxies_are_not_taken_for_stars(field):
    """Compact ones, more of them than stars, and brighter."""
    image, places, _ = field
    galaxies = places[::5]  # 8 of 36
    crowd = image.copy()
    crowd.data = 5 + np.random.default_rng(2).normal(0, 1, image.shape)
    y, x = np.mgrid[:240, :240]
    for k, (x0, y0) in enumerate(galaxies):
        crowd.data += 2500 * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / (1.8 + 0.1 * k) ** 2)
    stars = places[[1, 7, 13, 19, 27]]
    for x0, y0 in stars:
        crowd.data += 4000 * star(image.shape, x0, y0)
    found = find_stars(crowd, FWHM)
    apart = np.hypot(*(found[:, None] - stars).transpose(2, 0, 1))
    assert len(found) == len(stars)
    assert apart.min(axis=1).max() < 0.3


@pytest.fixture(scope="module")
def corner(field):
    """Sixteen of the stars."""
    image, places, _ = field
    return image[:160, :160], places[(places < 160).all(axis=1)]


@pytest.mark.parametrize("oversampling", [1, 2])
def test_star_psf_is_the_star(corner, oversampling):
    image, places = corner
    psf = star_psf(image, places, size=15, oversampling=oversampling)
    n = 14 * oversampling + 1
    assert psf.shape == (n, n)
    # an effective PSF sampled finer is the star averaged over pixels of the image, at finer steps
    steps = (np.arange(n) - n // 2) / oversampling
    along = np.array([np.diff(erf((s + np.array([-0.5, 0.5])) / np.sqrt(2) / SIGMA))[0] for s in steps])
    expected = np.outer(along, along)
    expected /= expected.sum()
    assert np.abs(psf - expected).max() < 0.01 * expected.max()


def test_stars_may_be_given_on_the_sky(corner):
    image, places = corner
    coordinates = image.wcs.pixel_to_world(*places.T)
    on_sky, in_pixels = (star_psf(image, stars[:3], size=11) for stars in (coordinates, places))
    np.testing.assert_allclose(on_sky, in_pixels, atol=1e-6)


def test_stars_at_the_edge_are_left_out(corner):
    image, places = corner
    with pytest.warns(LensSuperWarning, match="1 of 5 stars are too near the edge"):
        star_psf(image, np.vstack([places[:4], [2.0, 2.0]]), size=11)


def test_errors_say_what_to_do(field):
    image, places, _ = field
    rng = np.random.default_rng(3)
    empty = CCDData(rng.normal(size=(64, 64)), unit="adu", wcs=image.wcs)
    with pytest.raises(ObservationError, match="no star"):
        find_stars(empty, FWHM)
    with pytest.raises(ObservationError, match="none of the 1 stars"):
        star_psf(image, np.array([[1.0, 1.0]]))
    with pytest.raises(ValueError, match="size must be odd"):
        star_psf(image, places, size=16)
    with pytest.raises(ValueError, match="stars must be"):
        star_psf(image, np.ones((3, 5)))
    with pytest.raises(TypeError, match="image must be an NDData"):
        star_psf(image.data, places)
