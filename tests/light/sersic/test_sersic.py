"""Means of Sersic profiles over pixels, against integrals made in other ways."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from scipy.integrate import quad
from scipy.special import gammainc

from lenssuper.light.sersic.profile import sersic_averages, sersic_b, sersic_flux
from lenssuper.observation.grid import PixelGrid

ROTATED = PixelGrid((21, 24), 0.1 * u.arcsec, rotation=20 * u.deg)
FLIPPED = PixelGrid.from_affine((20, 21), [[-0.06, 0.03], [0.02, 0.07]], [0.3, -0.9])


def on(grid, parameters, *args, **kwargs):
    return sersic_averages(grid.matrix, grid.origin, grid.shape, parameters, *args, **kwargs)


def brightness(x, y, parameters):
    x0, y0, R_e, n, q, phi = parameters
    a = np.cos(phi) * (x - x0) + np.sin(phi) * (y - y0)
    b = np.cos(phi) * (y - y0) - np.sin(phi) * (x - x0)
    return np.exp(-sersic_b(n) * ((np.sqrt(q * a**2 + b**2 / q) / R_e) ** (1 / n) - 1))


def mean_in_pixel(grid, row, column, parameters):
    """Mean over one pixel by Gauss rules on strips that become ever thinner towards the centre."""
    centre = grid.to_pixel(*parameters[:2])
    points, weights = np.polynomial.legendre.leggauss(10)
    nodes, shares = [], []
    for c, low in ((centre[0], column - 0.5), (centre[1], row - 0.5)):
        graded = c + np.outer([-1, 1], [0, *2.0 ** -np.arange(40.0)]).ravel()
        edges = np.unique([low, low + 1, *graded[(graded > low) & (graded < low + 1)]])
        edges = np.unique([edges[:-1] + f * np.diff(edges) for f in (0, 1 / 3, 2 / 3, 1)])
        half = 0.5 * np.diff(edges)[:, None]
        nodes.append((edges[:-1, None] + half * (1 + points)).ravel())
        shares.append((half * weights).ravel())
    x, y = grid.to_offset(nodes[0], nodes[1][:, None])
    return shares[1] @ brightness(x, y, parameters) @ shares[0]


CASES = {
    "usual": (ROTATED, (0.013, -0.02, 0.8, 4, 0.7, 0.5)),
    "steep": (ROTATED, (0.05, 0.05, 0.3, 8, 0.9, 1.0)),
    "on a pixel's centre": (ROTATED, (*ROTATED.to_offset(11.0, 10.0), 0.3, 6, 0.5, 2.0)),
    "on a corner": (FLIPPED, (*FLIPPED.to_offset(9.5, 10.5), 0.3, 3, 0.5, 2.0)),
    "far below a pixel": (ROTATED, (0.02, 0.03, 0.004, 8, 0.6, 0.3)),
    "a Gaussian of a pixel": (FLIPPED, (0.02, 0.02, 0.06, 0.5, 0.8, 0.2)),
    "needle": (FLIPPED, (0.02, 0.03, 0.5, 4, 0.1, 0.3)),
    "thin disc": (ROTATED, (0.02, 0.03, 0.2, 1, 0.15, 0.3)),
    "flat": (FLIPPED, (0.02, 0.03, 3, 1, 0.6, 0.3)),
}


@pytest.mark.parametrize("case", CASES)
def test_means_are_right_to_a_millionth(case):
    grid, parameters = CASES[case]
    image = on(grid, parameters)
    column, row = (round(float(v)) for v in grid.to_pixel(*parameters[:2]))
    offsets = [(j, i) for j in range(-2, 3) for i in range(-2, 3)] + [(7, 1), (-5, 6), (-8, -3), (0, 8)]
    for j, i in offsets:
        truth = mean_in_pixel(grid, row + j, column + i, parameters)
        assert image[row + j, column + i] == pytest.approx(truth, rel=1e-6, abs=1e-12 * image.max()), (j, i)


@pytest.mark.parametrize(("n", "q", "R_e"), [(0.5, 0.3, 0.1), (1, 1, 0.2), (4, 0.6, 0.02), (8, 0.9, 0.001)])
def test_everything_adds_up_to_the_flux(n, q, R_e):
    # the light outside of a circle that the grid encloses is known: gammainc(2n, b (R/R_e)^(1/n)) is inside
    grid = PixelGrid((101, 101), 0.05 * u.arcsec)
    image = on(grid, (0.01, 0.02, R_e, n, q, 0.4))
    outside = sersic_flux(R_e, n) * (1 - gammainc(2 * n, sersic_b(n) * (2.5 * np.sqrt(q) / R_e) ** (1 / n)))
    total = image.sum() * 0.05**2
    assert total <= sersic_flux(R_e, n) * (1 + 1e-6)
    assert total >= (sersic_flux(R_e, n) - outside) * (1 - 1e-6)


def test_flux_is_the_integral_of_the_profile():
    for n in (0.5, 1.0, 2.7, 8.0):
        b = sersic_b(n)
        integral = quad(lambda r, n=n, b=b: 2 * np.pi * r * np.exp(-b * (r ** (1 / n) - 1)), 0, np.inf)[0]
        assert sersic_flux(0.3, n) == pytest.approx(0.09 * integral, rel=1e-7)


def test_half_of_the_light_is_within_R_e():
    n = np.array([0.3, 0.5, 1, 4, 10])
    np.testing.assert_allclose(gammainc(2 * n, sersic_b(n)), 0.5, rtol=1e-12)
    assert sersic_b(0.5) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    "parameters",
    [
        (0.013, -0.02, 0.4, 4, 0.7, 0.5),
        (0.05, 0.05, 0.3, 7.5, 0.9, 1.0),
        (0.031, 0.07, 0.15, 0.5, 0.6, 1.0),
        (0.02, 0.03, 0.3, 1, 0.15, 0.3),
        (-1.31, 0.3, 0.5, 2, 0.6, 0.3),  # beside the grid
    ],
)
@pytest.mark.parametrize("grid", [ROTATED, FLIPPED])
def test_derivatives_are_those_of_the_means(grid, parameters):
    image, slopes = on(grid, parameters, True)
    np.testing.assert_array_equal(image, on(grid, parameters))
    for k, step in enumerate((1e-4, 1e-4, 1e-4, 1e-3, 1e-3, 1e-3)):
        moved = np.tile(np.array(parameters, dtype=float), (4, 1))
        moved[:, k] += step * np.array([-2, -1, 1, 2])
        values = [on(grid, p, tol=1e-10) for p in moved]
        numeric = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert np.abs(slopes[k] - numeric).max() < 3e-6 * np.abs(slopes[k]).max(), k


def test_derivative_by_the_centre_of_a_cusp_is_the_light_through_the_edges():
    # the mean of dI/dx0 over a pixel is the difference of line integrals along its edges, also in the centre
    grid = PixelGrid((3, 3), 0.1 * u.arcsec)
    parameters = (0.011, -0.017, 0.2, 6.0, 0.7, 0.4)
    _, slopes = on(grid, parameters, True)

    def edge(x):
        return quad(
            lambda y: brightness(x, y, parameters), -0.05, 0.05, points=[-0.017], epsabs=0, epsrel=1e-10
        )[0]

    assert slopes[0, 1, 1] == pytest.approx((edge(-0.05) - edge(0.05)) / 0.01, rel=1e-6)


def test_points_agree_with_lenstronomy():
    profile = pytest.importorskip("lenstronomy.LightModel.Profiles.sersic").SersicElliptic()
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    grid = PixelGrid((32, 32), 0.001 * u.arcsec, center=(0.3, 0.2) * u.arcsec)  # pixels as good as points
    parameters = (0.05, -0.03, 0.4, 2.5, 0.6, 0.7)
    e1, e2 = phi_q2_ellipticity(0.7, 0.6)
    x, y = (np.ravel(np.broadcast_to(c, grid.shape)) for c in grid.centers_arcsec())
    theirs = profile.function(
        x,
        y,
        # lenstronomy's b_n is an approximation: the same profile with it has another R_e and amplitude
        amp=np.exp(sersic_b(2.5) - (1.9992 * 2.5 - 0.3271)),
        R_sersic=0.4 * ((1.9992 * 2.5 - 0.3271) / sersic_b(2.5)) ** 2.5,
        n_sersic=2.5,
        e1=e1,
        e2=e2,
        center_x=0.05,
        center_y=-0.03,
    )
    np.testing.assert_allclose(on(grid, parameters).ravel(), theirs, rtol=1e-5)


def test_profile_far_away_is_dark_and_finite():
    image, slopes = on(ROTATED, (500.0, -800.0, 0.01, 0.5, 0.3, 0.1), True)
    assert np.all(image < 1e-280)
    assert np.all(np.abs(slopes) < 1e-280)
