"""Sersics with a PSF, against convolutions made in other ways."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from scipy.special import erf

from lenssuper.light.sersic.blur import CuspBlur
from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.profile import sersic_averages
from lenssuper.light.sersic.render import ConstantRenderer, SkyRenderer
from lenssuper.observation.grid import PixelGrid
from lenssuper.simulate import GaussianPSF

GRID = PixelGrid((31, 33), 0.1 * u.arcsec, rotation=25 * u.deg)


def renderer(parameters, grid=GRID, psf=None, **options):
    tol = options.pop("tol", 1e-6)
    components = Components(len(parameters), (0.0, 0.0), 5.0, 0.1)
    blur = CuspBlur(psf, grid.shape, **options)
    sky = SkyRenderer(grid.matrix, grid.origin, grid.shape, components, blur, tol=tol)
    return sky, components.pack(np.array(parameters))


def gaussian_image(grid, x0, y0, sigma):
    """Means over upright pixels of a Gaussian of peak one."""
    side = grid.side_arcsec
    x, y = (np.unique(v) for v in grid.centers_arcsec())

    def mean(c):
        edges = [erf((c + s * side / 2) / (np.sqrt(2) * sigma)) for s in (-1, 1)]
        return np.sqrt(np.pi / 2) * sigma / side * (edges[1] - edges[0])

    return np.outer(mean(y - y0), mean(x - x0))


@pytest.mark.parametrize("fwhm", [0.2, 0.26, 0.4])
@pytest.mark.parametrize("kind", ["optical", "effective"])
@pytest.mark.parametrize("center", [(0.013, -0.021), (0.05, 0.05)])
def test_a_gaussian_galaxy_becomes_the_wider_gaussian(fwhm, kind, center):
    # n = 1/2 is a Gaussian, of half-light radius 1.1774 sigma
    grid = PixelGrid((31, 31), 0.1 * u.arcsec)
    optics, sigma = GaussianPSF(fwhm * u.arcsec), 0.1
    if kind == "optical":
        psf, options = optics.optical(0.02 * u.arcsec), {"oversampling": 5, "includes_pixel": False}
    else:
        psf, options = optics.effective(0.1 * u.arcsec), {}
    sky, theta = renderer([[*center, sigma * np.sqrt(2 * np.log(2)), 0.5, 1.0, 0.0]], grid, psf, **options)
    wide = np.hypot(sigma, fwhm / np.sqrt(8 * np.log(2)))
    truth = 2 * (sigma / wide) ** 2 * gaussian_image(grid, *center, wide)  # the peak is 2 where R_e has 1
    # a PSF on the observed pixels does not tell all about one of FWHM 2 pixels
    limit = 1.5e-4 if kind == "optical" else 2e-3 if fwhm < 0.25 else 5e-4
    assert np.abs(sky.columns(theta)[0] - truth).max() < limit * truth.max()


@pytest.mark.parametrize("n", [1.0, 4.0, 7.0])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.021, 0.043), (0.047, -0.01)])
def test_a_cusp_is_blurred_right(n, place):
    # light of a cusp seen through a PSF that is a Gaussian: the sum over circles of the profile, each blurred
    grid, fwhm = PixelGrid((15, 15), 0.1 * u.arcsec), 0.25
    sky, theta = renderer(
        [[*place, 0.3, n, 1.0, 0.0]],
        grid,
        GaussianPSF(fwhm * u.arcsec).optical(0.02 * u.arcsec),
        oversampling=5,
        includes_pixel=False,
    )
    x, y = grid.centers_arcsec()
    truth = blurred_circle(np.hypot(x - place[0], y - place[1]), 0.3, n, fwhm / np.sqrt(8 * np.log(2)))
    # a pixel's mean is its centre plus the Laplacian over 24, of the exact Gaussian-blurred profile
    fine = grid.refine(5)
    x, y = fine.centers_arcsec()
    points = blurred_circle(np.hypot(x - place[0], y - place[1]), 0.3, n, fwhm / np.sqrt(8 * np.log(2)))
    weights = np.outer(FIVE, FIVE)
    truth = np.einsum("iajb,ab->ij", points.reshape(15, 5, 15, 5), weights)
    image = sky.columns(theta)[0]
    assert np.abs(image - truth).max() < 2e-4 * truth.max()


# Weights of five equidistant points for the mean over an interval (open Newton-Cotes at midpoints)
FIVE = np.array([275, 100, 402, 100, 275]) / 1152


def blurred_circle(r, R_e, n, sigma):
    """A circular profile blurred by a Gaussian: Bessel functions over rings, at radii ``r``."""
    from scipy.special import i0e

    from lenssuper.light.sersic.profile import sersic_b

    t, w = np.polynomial.legendre.leggauss(400)
    t, w = 0.5 * (t + 1), 0.5 * w
    # ring radii s = 3 t^8 resolve the cusp
    s, ds = 3 * t**8, 24 * t**7 * w
    light = np.exp(-sersic_b(n) * ((s / R_e) ** (1 / n) - 1)) * s * ds / sigma**2
    out = np.zeros(r.shape)
    for index in np.ndindex(r.shape):
        out[index] = light @ (i0e(r[index] * s / sigma**2) * np.exp(-0.5 * (r[index] - s) ** 2 / sigma**2))
    return out


def test_without_a_psf_pixels_are_the_exact_means():
    parameters = [0.03, -0.02, 0.3, 4.0, 0.6, 0.5]
    sky, theta = renderer([parameters])
    exact = sersic_averages(GRID.matrix, GRID.origin, GRID.shape, parameters)
    np.testing.assert_allclose(sky.columns(theta)[0], exact, rtol=1e-9)


def test_a_star_of_a_galaxy_is_the_psf():
    grid = PixelGrid((41, 41), 0.1 * u.arcsec)
    psf = GaussianPSF(0.28 * u.arcsec).effective(0.1 * u.arcsec)
    sky, theta = renderer([[0.1, -0.2, 0.004, 1.0, 1.0, 0.0]], grid, psf)
    image = sky.columns(theta)[0]
    rows, columns = (np.arange(n) - n // 2 for n in psf.shape)
    stamp = image[np.ix_(20 - 2 + rows, 20 + 1 + columns)] / image.sum()
    assert np.abs(stamp - psf).max() < 2e-3 * psf.max()


@pytest.mark.parametrize("psf", [None, GaussianPSF(0.22 * u.arcsec).effective(0.1 * u.arcsec)])
def test_derivatives_are_those_of_the_columns(psf):
    parameters = [[0.013, -0.021, 0.3, 3.0, 0.7, 0.5], [-0.33, 0.42, 0.5, 1.0, 1.0, 0.0]]
    sky, theta = renderer(parameters, psf=psf, tol=1e-8)
    columns, slopes = sky.columns_and_derivatives(theta)
    np.testing.assert_allclose(columns, sky.columns(theta), rtol=1e-12)
    assert slopes.shape == (12, *GRID.shape)
    assert sky.column_of.tolist() == [0] * 6 + [1] * 6
    for k in range(12):
        step = 4e-4 * np.eye(12)[k]
        numeric = (sky.columns(theta + step) - sky.columns(theta - step)) / 8e-4
        assert np.abs(numeric[1 - sky.column_of[k]]).max() == 0
        assert np.abs(slopes[k] - numeric[sky.column_of[k]]).max() < 4e-3 * np.abs(slopes[k]).max(), k


def test_a_shared_centre_has_a_derivative_for_every_column():
    components = Components(2, (0.0, 0.0), 5.0, 0.1, link_centers=True)
    sky = SkyRenderer(GRID.matrix, GRID.origin, GRID.shape, components, CuspBlur(None, GRID.shape))
    theta = components.pack(np.array([[0.0, 0.1, 0.3, 1.0, 0.7, 0.5], [0.0, 0.1, 0.6, 2.0, 0.9, 0.2]]))
    _, slopes = sky.columns_and_derivatives(theta)
    assert len(slopes) == 12
    assert sorted(zip(sky.column_of, sky.parameter_of, strict=True))[:2] == [(0, 0), (0, 1)]
    assert [p for c, p in zip(sky.column_of, sky.parameter_of, strict=True) if c == 1][:2] == [0, 1]
    step = np.zeros(10)
    step[1] = 1e-5
    numeric = (sky.columns(theta + step) - sky.columns(theta - step)) / 2e-5
    for k in np.flatnonzero(sky.parameter_of == 1):
        expected = numeric[sky.column_of[k]]
        assert np.abs(slopes[k] - expected).max() < 1e-4 * np.abs(expected).max()


def test_light_from_outside_of_the_field_is_scattered_in():
    psf = GaussianPSF(0.5 * u.arcsec).effective(0.1 * u.arcsec)
    edge = GRID.to_offset(-3.0, 15.0)
    sky, theta = renderer([[*edge, 0.05, 1.0, 1.0, 0.0]], psf=psf)
    image = sky.columns(theta)[0]
    assert np.unravel_index(np.argmax(image), image.shape) == (15, 0)
    far, theta = renderer([[30.0, 40.0, 0.05, 1.0, 1.0, 0.0]], psf=psf)
    assert np.abs(far.columns(theta)).max() < 1e-10


def test_the_sky_is_the_same_everywhere():
    level = ConstantRenderer((4, 5))
    columns, slopes = level.columns_and_derivatives(np.zeros(0))
    assert columns.tolist() == np.ones((1, 4, 5)).tolist()
    assert slopes.shape == (0, 4, 5)
