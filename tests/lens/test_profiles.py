"""Lens profiles against lenstronomy, against closed forms, and where formulas read 0/0."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel as Lenstronomy

from lenssuper.lens import halos, multipoles, profiles
from lenssuper.lens.arrays import asinhc, atanhc

RNG = np.random.default_rng(20)
X, Y = RNG.uniform(-3, 3, (2, 500))
PHI = 0.6


def _turned(function, *arguments, x=X, y=Y, phi=PHI):
    """Evaluate a profile whose major axis points to phi."""
    c, s = np.cos(phi), np.sin(phi)
    return function(c * x + s * y, c * y - s * x, *arguments), c, s


def _ellipticity(q, phi=PHI):
    e = (1 - q) / (1 + q)
    return {"e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi)}


def _worst(found, expected):
    """Largest deviation of a vector, relative to its length."""
    found, expected = np.asarray(found), np.asarray(expected)
    return np.max(np.abs(found - expected) / np.sqrt(np.sum(expected**2, axis=0)))


def _compare(name, kwargs, potential, deflection, hessian, x=X, y=Y, rtol=1e-10):
    """Compare with lenstronomy: deflection, potential, convergence and shear, each relative to itself."""
    model = Lenstronomy([name])
    xx, xy, _, yy = model.hessian(x, y, [kwargs])
    assert _worst(deflection, model.alpha(x, y, [kwargs])) < rtol
    difference = potential - model.potential(x, y, [kwargs])
    assert np.ptp(difference) < rtol * np.max(np.abs(potential))
    psi_xx, psi_yy, psi_xy = hessian
    if not np.allclose(xx + yy, 0, atol=1e-13):
        assert np.max(np.abs((psi_xx + psi_yy) / (xx + yy) - 1)) < rtol
    assert _worst([(psi_xx - psi_yy) / 2, psi_xy], [(xx - yy) / 2, xy]) < rtol


def _beyond_cancellation(Rs):
    """Positions where lenstronomy keeps ten digits: inside 0.05 Rs its logarithms cancel."""
    far = np.hypot(X, Y) > 0.05 * Rs
    return X[far], Y[far]


def _elliptical(potential, deflection, hessian, *arguments, x=X, y=Y):
    psi, c, s = _turned(potential, *arguments, x=x, y=y)
    (ax, ay), _, _ = _turned(deflection, *arguments, x=x, y=y)
    (xx, yy, xy), _, _ = _turned(hessian, *arguments, x=x, y=y)
    turn = np.array([[c, -s], [s, c]])
    alpha = turn @ np.array([ax, ay])
    matrix = turn @ np.moveaxis(np.array([[xx, xy], [xy, yy]]), -1, 0) @ turn.T
    return psi, alpha, (matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 1])


def test_sis_against_lenstronomy():
    args = (X, Y, 1.3)
    _compare(
        "SIS",
        {"theta_E": 1.3},
        profiles.sis_potential(*args),
        profiles.sis_deflection(*args),
        profiles.sis_hessian(*args),
    )


@pytest.mark.parametrize("q", [0.05, 0.3, 0.7, 0.99, 1 - 1e-7, 1 - 1e-12, 1.0])
def test_sie_against_lenstronomy(q):
    """Against lenstronomy's EPL at slope 2: its SIE has a core, clips q, differentiates numerically."""
    found = _elliptical(profiles.sie_potential, profiles.sie_deflection, profiles.sie_hessian, 1.3, q)
    _compare("EPL", {"theta_E": 1.3, "gamma": 2.0, **_ellipticity(q)}, *found)


@pytest.mark.parametrize("q", [0.3, 0.7, 0.99])
def test_sie_against_lenstronomys_softened_sie(q):
    """Beyond the reach of the core, 1e-10 arcsec: 1e-10 of the deflection from a few arcsec on."""
    x, y = 10 * X, 10 * Y
    alpha, c, s = _turned(profiles.sie_deflection, 13.0, q, x=x, y=y)
    alpha = (c * alpha[0] - s * alpha[1], s * alpha[0] + c * alpha[1])
    expected = Lenstronomy(["SIE"]).alpha(x, y, [{"theta_E": 13.0, **_ellipticity(q)}])
    far = np.hypot(x, y) > 5
    assert _worst(np.array(alpha)[:, far], np.array(expected)[:, far]) < 1e-10


@pytest.mark.parametrize("gamma", [1.1, 1.7, 2.0, 2.3, 2.9])
@pytest.mark.parametrize("q", [0.02, 0.1, 0.5, 0.9, 1 - 1e-9, 1.0])
def test_epl_against_lenstronomy(q, gamma):
    found = _elliptical(profiles.epl_potential, profiles.epl_deflection, profiles.epl_hessian, 0.9, q, gamma)
    _compare("EPL", {"theta_E": 0.9, "gamma": gamma, **_ellipticity(q)}, *found)


def test_point_mass_against_lenstronomy():
    args = (X, Y, 0.7)
    _compare(
        "POINT_MASS",
        {"theta_E": 0.7},
        profiles.point_potential(*args),
        profiles.point_deflection(*args),
        profiles.point_hessian(*args),
    )


def test_shear_against_lenstronomy():
    args = (X, Y, 0.07, -0.02)
    _compare(
        "SHEAR",
        {"gamma1": 0.07, "gamma2": -0.02},
        profiles.shear_potential(*args),
        profiles.shear_deflection(*args),
        profiles.shear_hessian(*args),
    )


@pytest.mark.parametrize("Rs", [0.4, 2.5, 20.0])
def test_nfw_against_lenstronomy(Rs):
    x, y = _beyond_cancellation(Rs)
    args = (x, y, 1.1, Rs)
    _compare(
        "NFW",
        {"alpha_Rs": 1.1, "Rs": Rs},
        halos.nfw_potential(*args),
        halos.nfw_deflection(*args),
        halos.nfw_hessian(*args),
        x=x,
        y=y,
    )


@pytest.mark.parametrize(("Rs", "r_trunc"), [(0.6, 3.0), (2.5, 4.0), (2.5, 2.5), (20.0, 9.0)])
def test_tnfw_against_lenstronomy(Rs, r_trunc):
    x, y = _beyond_cancellation(Rs)
    args = (x, y, 1.1, Rs, r_trunc)
    _compare(
        "TNFW",
        {"alpha_Rs": 1.1, "Rs": Rs, "r_trunc": r_trunc},
        halos.tnfw_potential(*args),
        halos.tnfw_deflection(*args),
        halos.tnfw_hessian(*args),
        x=x,
        y=y,
    )


def _multipole(order, *arguments, x=X, y=Y):
    functions = multipoles.multipole_potential, multipoles.multipole_deflection, multipoles.multipole_hessian
    return [function(x, y, *arguments, order=order) for function in functions]


@pytest.mark.parametrize("order", [1, 3, 4])
@pytest.mark.parametrize("q", [0.15, 0.5, 0.9, 1.0])
def test_multipoles_against_lenstronomy(q, order):
    a, b, r_E = 0.07, -0.04, 1.3
    kwargs = {"m": order, "a_m": np.hypot(a, b), "phi_m": np.arctan2(b, a) / order, "r_E": r_E}
    found = _multipole(order, a, b, q, r_E)
    if q == 1:
        _compare("MULTIPOLE", kwargs, *found)
    kwargs, model = kwargs | {"q": q}, Lenstronomy(["MULTIPOLE_ELL"])
    np.testing.assert_allclose(found[0], model.potential(X, Y, [kwargs]), rtol=0, atol=1e-11)
    np.testing.assert_allclose(found[1], model.alpha(X, Y, [kwargs]), rtol=0, atol=1e-11)
    xx, xy, _, yy = model.hessian(X, Y, [kwargs])
    for mine, other in zip(found[2], (xx, yy, xy), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_multipoles_are_continuous_through_q_one(order):
    """lenstronomy's closed forms cancel there; a series does not, nor do the two ways of adding it up."""
    round_lens = np.array(_multipole(order, 0.1, 0.2, 1.0)[1])
    for q in 1 - np.geomspace(1e-12, 0.3, 25):
        ahead, behind = (np.array(_multipole(order, 0.1, 0.2, p)[1]) for p in (q * (1 + 1e-11), q))
        assert np.max(np.abs(ahead - behind)) < 1e-11
        assert np.max(np.abs(behind - round_lens)) < 2 * (1 - q)


def test_multipole_of_order_two_is_known_to_lenstronomy_as_well():
    """Nothing in the series is special to the orders that have a class."""
    kwargs = {"m": 2, "a_m": 0.1, "phi_m": 0.4}
    _compare("MULTIPOLE", kwargs, *_multipole(2, 0.1 * np.cos(0.8), 0.1 * np.sin(0.8), 1.0))


def test_dpie_against_lenstronomy():
    sigma0, core, trunc = 0.8, 0.3, 2.5
    args = (X, Y, 2 * sigma0 * core * trunc / (trunc - core), 1.0, core, trunc)
    _compare(
        "PJAFFE",
        {"sigma0": sigma0, "Ra": core, "Rs": trunc},
        profiles.dpie_potential(*args),
        profiles.dpie_deflection(*args),
        profiles.dpie_hessian(*args),
    )


@pytest.mark.parametrize("q", [0.1, 0.6, 0.99, 1 - 1e-9])
def test_elliptical_dpie_is_the_difference_of_two_cored_ellipsoids(q):
    """Against lenstronomy's NIE, which differentiates its potential numerically: its deflection only."""
    alpha, c, s = _turned(profiles.dpie_deflection, 1.2, q, 0.2, 2.5)
    alpha = c * alpha[0] - s * alpha[1], s * alpha[0] + c * alpha[1]
    kwargs = [{"theta_E": 1.2, "s_scale": scale, **_ellipticity(q)} for scale in (0.2, 2.5)]
    core, trunc = (np.array(Lenstronomy(["NIE"]).alpha(X, Y, [k])) for k in kwargs)
    # lenstronomy's ellipticity is never exactly zero
    np.testing.assert_allclose(alpha, core - trunc, rtol=0, atol=1e-10 if q < 0.999 else 1e-7)


@pytest.mark.parametrize("core", [0.0, 0.3])
def test_dpie_mass_within_ellipses(core):
    """Gauss's law: the flux of the deflection through a closed curve is twice the mass within."""
    q, theta_E, trunc = 0.5, 1.2, 2.5
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    for radius in (0.05, 1.0, 40.0):
        x, y = radius * np.cos(angle) / np.sqrt(q), radius * np.sin(angle) * np.sqrt(q)
        alpha = profiles.dpie_deflection(x, y, theta_E, q, core, trunc)
        slope_x, slope_y = -radius * np.sin(angle) / np.sqrt(q), radius * np.cos(angle) * np.sqrt(q)
        flux = np.mean(alpha[0] * slope_y - alpha[1] * slope_x) * 2 * np.pi
        # kappa integrated over the ellipse of area pi radius^2
        mass = np.pi * theta_E * (np.hypot(core, radius) - core - np.hypot(trunc, radius) + trunc)
        assert flux == pytest.approx(2 * mass, rel=1e-10)


def test_dpie_tends_to_the_isothermal_ellipsoid():
    for dpie, sie in (
        (profiles.dpie_deflection, profiles.sie_deflection),
        (profiles.dpie_hessian, profiles.sie_hessian),
    ):
        found, expected = dpie(X, Y, 1.2, 0.6, 0.0, 1e9), sie(X, Y, 1.2, 0.6)
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_dpie_is_regular_where_it_has_a_core():
    """At the centre: no deflection, and the convergence and shear of nearby points."""
    near, at = (profiles.dpie_hessian(r, 0.0, 1.2, 0.6, 0.2, 2.5) for r in (1e-6, 0.0))
    np.testing.assert_allclose(at, near, atol=1e-9)
    assert (at[0] + at[1]) / 2 == pytest.approx(0.6 * (1 / 0.2 - 1 / 2.5))
    assert profiles.dpie_potential(0.0, 0.0, 1.2, 0.6, 0.2, 2.5) == pytest.approx(0, abs=1e-15)


def test_truncation_far_away_changes_nothing():
    plain, truncated = halos.nfw_hessian(X, Y, 1.1, 2.0), halos.tnfw_hessian(X, Y, 1.1, 2.0, 1e7)
    np.testing.assert_allclose(truncated, plain, rtol=1e-6)


@pytest.mark.parametrize(
    "scaled", [1e-9, 1e-5, 1e-2, 0.4999, 0.5001, 0.97, 1 - 1e-9, 1.0, 1 + 1e-9, 1.02, 30.0]
)
def test_halos_in_high_precision(scaled):
    """Where the formulas cancel (small radii, the scale radius), against 40 digits."""
    alpha_Rs, Rs, tau = 1.1, 2.0, 3.0
    x, y = 0.6 * scaled * Rs, 0.8 * scaled * Rs
    with mpmath.workdps(40):
        s = mpmath.sqrt(mpmath.mpf(x) ** 2 + mpmath.mpf(y) ** 2) / Rs
        norm = 1 + mpmath.log(mpmath.mpf(1) / 2)
        unit = mpmath.mpf(alpha_Rs) / norm / Rs

        def density(r):
            # Navarro, Frenk & White 1997 and the truncation of Baltz, Marshall & Oguri 2009
            return 1 / (r * (1 + r) ** 2), tau**2 / (tau**2 + r**2) / (r * (1 + r) ** 2)

        def projected(R, which):
            edges = [0, mpmath.asinh(1 / R), mpmath.asinh(30 / R), mpmath.asinh(1e12 / R)]
            return 2 * mpmath.quad(lambda t: R * mpmath.cosh(t) * density(R * mpmath.cosh(t))[which], edges)

        kappa = [float(unit / 4 * projected(s, which)) for which in (0, 1)]
    for expected, function, extra in zip(
        kappa, (halos.nfw_hessian, halos.tnfw_hessian), ((), (tau * Rs,)), strict=True
    ):
        psi_xx, psi_yy, _ = function(np.float64(x), np.float64(y), alpha_Rs, Rs, *extra)
        assert abs((psi_xx + psi_yy) / 2 / expected - 1) < 1e-10


@pytest.mark.parametrize("extra", [(), (6.0,)])
def test_halo_deflection_at_small_radii(extra):
    """alpha(r) = 2 / r times the integral of kappa r, here where ln(s / 2) + F(s) would cancel."""
    potential, deflection, hessian = (
        getattr(halos, f"{'t' if extra else ''}nfw_{name}") for name in ("potential", "deflection", "hessian")
    )
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for radius in (1e-7, 1e-4, 1e-2):
        # kappa grows like a logarithm: integrate over ln r
        t = np.log(radius) + (nodes - 1) * 20
        r = np.exp(t)
        psi_xx, psi_yy, _ = hessian(r, np.zeros_like(r), 1.1, 2.0, *extra)
        mass = np.sum(weights * (psi_xx + psi_yy) * r**2) * 20
        alpha = deflection(np.float64(radius), np.float64(0), 1.1, 2.0, *extra)[0]
        assert abs(alpha * radius / mass - 1) < 1e-10
        psi = np.sum(weights * deflection(r, np.zeros_like(r), 1.1, 2.0, *extra)[0] * r) * 20
        assert abs(potential(np.float64(radius), np.float64(0), 1.1, 2.0, *extra) - psi) < 1e-12


def test_continuous_through_q_one():
    """No step between the series near q = 1 and the closed form, and the SIS exactly at it."""
    sis = np.array(profiles.sis_deflection(X, Y, 1.3))
    np.testing.assert_allclose(profiles.sie_deflection(X, Y, 1.3, 1.0), sis, rtol=1e-14)
    for q in 1 - np.geomspace(1e-12, 1e-2, 20):
        ahead, behind = (np.array(profiles.sie_deflection(X, Y, 1.3, p)) for p in (q * (1 + 1e-11), q))
        assert np.max(np.abs(ahead - behind)) < 1e-10
        assert np.max(np.abs(behind - sis)) < 2 * (1 - q)


def test_series_meet_the_closed_forms():
    import array_api_compat.numpy as xp

    m = np.concatenate([np.geomspace(1e-14, 0.99, 300), -np.geomspace(1e-14, 1e6, 300)])
    with mpmath.workdps(40):
        exact = [
            float(mpmath.atanh(mpmath.sqrt(v)) / mpmath.sqrt(v))
            if v > 0
            else float(mpmath.atan(mpmath.sqrt(-v)) / mpmath.sqrt(-v))
            for v in map(mpmath.mpf, m)
        ]
        positive = np.geomspace(1e-14, 1e6, 300)
        exact_asinh = [
            float(mpmath.asinh(mpmath.sqrt(v)) / mpmath.sqrt(v)) for v in map(mpmath.mpf, positive)
        ]
    np.testing.assert_allclose(atanhc(xp, m), exact, rtol=1e-14)
    np.testing.assert_allclose(asinhc(xp, positive), exact_asinh, rtol=2e-15)


def test_zero_strength_bends_nothing():
    for function, arguments in (
        (profiles.sis_deflection, ()),
        (profiles.sie_deflection, (0.6,)),
        (profiles.epl_deflection, (0.6, 1.5)),
        (profiles.epl_deflection, (0.6, 2.5)),
        (profiles.point_deflection, ()),
        (profiles.dpie_deflection, (0.6, 0.1, 2.0)),
        (halos.nfw_deflection, (2.0,)),
        (halos.tnfw_deflection, (2.0, 5.0)),
    ):
        np.testing.assert_array_equal(function(X, Y, 0.0, *arguments), 0)


def test_integers_and_plain_numbers():
    np.testing.assert_allclose(profiles.sis_deflection(3, 4, 1), (0.6, 0.8))
    np.testing.assert_allclose(profiles.sis_deflection(np.array([3]), np.array([4]), 1), [[0.6], [0.8]])


def test_epl_through_torch_transformations():
    """Where the axis ratio has no value to look at, the number of terms is fixed and still enough."""
    x, y = torch.tensor(X[:20]), torch.tensor(Y[:20])
    q = torch.tensor([0.9, 0.5, 0.15], dtype=torch.float64)
    batched = torch.func.vmap(lambda q: profiles.epl_deflection(x, y, 1.0, q, 1.8)[0])(q)
    for row, each in zip(batched, q, strict=True):
        expected = profiles.epl_deflection(x.numpy(), y.numpy(), 1.0, float(each), 1.8)[0]
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-11)
