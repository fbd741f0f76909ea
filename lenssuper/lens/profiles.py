"""Lens profiles: pure functions of float arrays in arcsec, for numpy and torch alike.

Positions are relative to the centre of the lens and, for elliptical profiles, in the frame of its axes: x
along the major axis, y along the minor one. For each profile there is the potential (arcsec^2), the
deflection (arcsec) and the Hessian of the potential (psi_xx, psi_yy, psi_xy). Parameters are numbers or
arrays that broadcast with the positions; automatic differentiation works through all of them, and is free of
NaN at the centre.

At a centre where the deflection has no limit (or the Hessian none), it is set to exactly zero.

References
----------
Kormann, Schneider & Bartelmann 1994, A&A 284, 285; Keeton & Kochanek 1998, ApJ 495, 157; Keeton 2001,
arXiv:astro-ph/0102341; Tessore & Metcalf 2015, A&A 580, A79; Schneider, Ehlers & Falco 1992, "Gravitational
Lenses". NFW haloes are in ``lenssuper.lens.halos``.
"""

from __future__ import annotations

import math

from lenssuper.lens.arrays import as_arrays, asinhc, atanhc, off_centre, plug
from lenssuper.lens.series import circular_series

# Axis ratios below this would need thousands of terms of the EPL's angular series.
EPL_LOWEST_Q = 0.01
# Number of terms where the axis ratio is not a plain number (inside torch.func.vmap): enough for q = 0.1.
_EPL_TRACED_Q = 0.1


def sis_potential(x, y, theta_E):
    """Singular isothermal sphere, psi = theta_E r (Schneider et al. 1992, sect. 8.1)."""
    xp, x, y, theta_E = as_arrays(x, y, theta_E)
    x, y, centre = off_centre(xp, x, y)
    return plug(xp, centre, theta_E * xp.sqrt(x**2 + y**2))[0]


def sis_deflection(x, y, theta_E):
    """Singular isothermal sphere, alpha = theta_E (x, y) / r."""
    xp, x, y, theta_E = as_arrays(x, y, theta_E)
    x, y, centre = off_centre(xp, x, y)
    scale = theta_E / xp.sqrt(x**2 + y**2)
    return plug(xp, centre, scale * x, scale * y)


def sis_hessian(x, y, theta_E):
    """Singular isothermal sphere, psi_ij = theta_E / r (delta_ij - x_i x_j / r^2)."""
    xp, x, y, theta_E = as_arrays(x, y, theta_E)
    x, y, centre = off_centre(xp, x, y)
    return _isothermal_hessian(xp, x, y, theta_E / xp.sqrt(x**2 + y**2), centre)


def sie_potential(x, y, theta_E, q):
    """Singular isothermal ellipsoid: psi = x alpha_x + y alpha_y, as for any potential of degree one in r."""
    alpha_x, alpha_y = sie_deflection(x, y, theta_E, q)
    return x * alpha_x + y * alpha_y


def sie_deflection(x, y, theta_E, q):
    """Singular isothermal ellipsoid with kappa = theta_E / (2 sqrt(q x^2 + y^2 / q)).

    Kormann et al. 1994, eq. 27a; Keeton & Kochanek 1998, sect. 2, there with b = theta_E sqrt(q) and no core:
    alpha_x = b / f arctan(f x / w), alpha_y = b / f arctanh(f y / w), w^2 = q^2 x^2 + y^2, f^2 = 1 - q^2.
    The second is written as b / f arcsinh(f y / (q r)), which keeps its digits for small q. Both are even
    in f, so they are smooth through q = 1.
    """
    xp, x, y, theta_E, q = as_arrays(x, y, theta_E, q)
    x, y, centre = off_centre(xp, x, y)
    f2, b = (1 - q) * (1 + q), theta_E * xp.sqrt(q)
    w2, qr2 = q**2 * x**2 + y**2, q**2 * (x**2 + y**2)
    alpha_x = b * x / xp.sqrt(w2) * atanhc(xp, -f2 * x**2 / w2)
    alpha_y = b * y / xp.sqrt(qr2) * asinhc(xp, f2 * y**2 / qr2)
    return plug(xp, centre, alpha_x, alpha_y)


def sie_hessian(x, y, theta_E, q):
    """Singular isothermal ellipsoid: the shear is tangential and equals the convergence.

    Kormann et al. 1994, sect. 3; it follows from psi being of degree one in r.
    """
    xp, x, y, theta_E, q = as_arrays(x, y, theta_E, q)
    x, y, centre = off_centre(xp, x, y)
    return _isothermal_hessian(xp, x, y, theta_E / xp.sqrt(q * x**2 + y**2 / q), centre)


def epl_potential(x, y, theta_E, q, gamma):
    """Elliptical power law, psi = (x alpha_x + y alpha_y) / (3 - gamma) (Tessore & Metcalf 2015, eq. 15)."""
    alpha_x, alpha_y = epl_deflection(x, y, theta_E, q, gamma)
    return (x * alpha_x + y * alpha_y) / (3 - gamma)


def epl_deflection(x, y, theta_E, q, gamma):
    """Elliptical power law, kappa = (3 - gamma) / 2 (theta_E / sqrt(q x^2 + y^2 / q))^(gamma - 1).

    Tessore & Metcalf 2015, eqs. 2, 5 and 22, with t = gamma - 1, b = theta_E sqrt(q), R e^(i phi) = q x + i
    y:
    alpha = 2 b / (1 + q) (b / R)^(t - 1) Omega(phi).
    """
    terms = epl_terms(q)
    xp, x, y, theta_E, q, gamma = as_arrays(x, y, theta_E, q, gamma)
    x, y, centre = off_centre(xp, x, y)
    return plug(xp, centre, *_epl_deflection(xp, x, y, theta_E, q, gamma - 1, terms))


def epl_hessian(x, y, theta_E, q, gamma):
    """Elliptical power law; the shear from Tessore & Metcalf 2015, eq. 17 with the sign of its corrigendum.

    gamma_1 + i gamma_2 = (1 - t) e^(i phi) alpha / r - e^(2 i phi) kappa, phi the polar angle.
    """
    terms = epl_terms(q)
    xp, x, y, theta_E, q, gamma = as_arrays(x, y, theta_E, q, gamma)
    x, y, centre = off_centre(xp, x, y)
    t = gamma - 1
    alpha_x, alpha_y = _epl_deflection(xp, x, y, theta_E, q, t, terms)
    kappa = (2 - t) / 2 * theta_E**t * (q * x**2 + y**2 / q) ** (-t / 2)
    r2 = x**2 + y**2
    gamma1 = ((1 - t) * (x * alpha_x - y * alpha_y) - kappa * (x**2 - y**2)) / r2
    gamma2 = ((1 - t) * (x * alpha_y + y * alpha_x) - kappa * 2 * x * y) / r2
    return plug(xp, centre, kappa + gamma1, kappa - gamma1, gamma2)


def point_potential(x, y, theta_E):
    """Point mass, psi = theta_E^2 ln(r / 1 arcsec) (Schneider et al. 1992, sect. 8.1)."""
    xp, x, y, theta_E = as_arrays(x, y, theta_E)
    x, y, centre = off_centre(xp, x, y)
    return plug(xp, centre, theta_E**2 * xp.log(x**2 + y**2) / 2)[0]


def point_deflection(x, y, theta_E):
    """Point mass, alpha = theta_E^2 (x, y) / r^2."""
    xp, x, y, theta_E = as_arrays(x, y, theta_E)
    x, y, centre = off_centre(xp, x, y)
    scale = theta_E**2 / (x**2 + y**2)
    return plug(xp, centre, scale * x, scale * y)


def point_hessian(x, y, theta_E):
    """Point mass: pure shear, psi_xx = theta_E^2 (y^2 - x^2) / r^4, psi_xy = -2 theta_E^2 x y / r^4."""
    xp, x, y, theta_E = as_arrays(x, y, theta_E)
    x, y, centre = off_centre(xp, x, y)
    scale = theta_E**2 / (x**2 + y**2) ** 2
    psi_xx = scale * (y**2 - x**2)
    return plug(xp, centre, psi_xx, -psi_xx, -2 * scale * x * y)


def dpie_potential(x, y, theta_E, q, r_core, r_trunc):
    """Dual pseudo-isothermal ellipsoid: a potential with the core radius less one with the truncation radius.

    Keeton 2001, eq. 34: psi = x alpha_x + y alpha_y - b s ln(sqrt(d) / ((1 + q) s)), see `_cored`.
    """
    xp, x, y, theta_E, q, *radii = as_arrays(x, y, theta_E, q, r_core, r_trunc)
    x, y, centre = off_centre(xp, x, y, radii[0] == 0)
    potentials = []
    for radius in radii:
        b, s, _, d = _cored(xp, x, y, theta_E, q, radius)
        alpha_x, alpha_y = _cored_deflection(xp, x, y, theta_E, q, radius)
        # without a core this term is zero
        unit = xp.where(s == 0, xp.ones_like(s), s) * (1 + q)
        potentials.append(x * alpha_x + y * alpha_y - b * s * xp.log(xp.sqrt(d) / unit))
    return plug(xp, centre, potentials[0] - potentials[1])[0]


def dpie_deflection(x, y, theta_E, q, r_core, r_trunc):
    """Dual pseudo-isothermal ellipsoid, a cored isothermal ellipsoid less another one.

    kappa = theta_E / 2 (1 / sqrt(r_core^2 + R^2) - 1 / sqrt(r_trunc^2 + R^2)), R^2 = q x^2 + y^2 / q
    (Kassiola & Kovner 1993, ApJ 417, 450; Eliasdottir et al. 2007, arXiv:0710.5636, appendix A).
    """
    xp, x, y, theta_E, q, *radii = as_arrays(x, y, theta_E, q, r_core, r_trunc)
    x, y, centre = off_centre(xp, x, y, radii[0] == 0)
    core, trunc = (_cored_deflection(xp, x, y, theta_E, q, radius) for radius in radii)
    return plug(xp, centre, core[0] - trunc[0], core[1] - trunc[1])


def dpie_hessian(x, y, theta_E, q, r_core, r_trunc):
    """Dual pseudo-isothermal ellipsoid: the derivatives of its deflection, by hand."""
    xp, x, y, theta_E, q, *radii = as_arrays(x, y, theta_E, q, r_core, r_trunc)
    x, y, centre = off_centre(xp, x, y, radii[0] == 0)
    xx, yy, xy = 0.0, 0.0, 0.0
    for sign, radius in zip((1, -1), radii, strict=True):
        b, s, w, d = _cored(xp, x, y, theta_E, q, radius)
        scale = sign * b / (w * d)
        xx = xx + scale * (y**2 + q**2 * s**2 + s * w)
        yy = yy + scale * (x**2 + s**2 + s * w)
        xy = xy - scale * x * y
    return plug(xp, centre, xx, yy, xy)


def _cored(xp, x, y, theta_E, q, radius):
    """Return b, s, w and d = (w + s)^2 + (1 - q^2) x^2 for a core radius along R (Keeton & Kochanek 1998)."""
    s = radius / xp.sqrt(q)
    w = xp.sqrt(q**2 * (s**2 + x**2) + y**2)
    return theta_E * xp.sqrt(q), s, w, x**2 + y**2 + (1 + q**2) * s**2 + 2 * s * w


def _cored_deflection(xp, x, y, theta_E, q, radius):
    """Isothermal ellipsoid with a core (Keeton & Kochanek 1998, sect. 2), written as in `sie_deflection`."""
    b, s, w, d = _cored(xp, x, y, theta_E, q, radius)
    f2 = (1 - q) * (1 + q)
    alpha_x = b * x / (w + s) * atanhc(xp, -f2 * x**2 / (w + s) ** 2)
    return alpha_x, b * y / (q * xp.sqrt(d)) * asinhc(xp, f2 * y**2 / (q**2 * d))


def shear_potential(x, y, gamma1, gamma2):
    """External shear, psi = gamma1 (x^2 - y^2) / 2 + gamma2 x y (Keeton 2001, sect. 3)."""
    _, x, y, gamma1, gamma2 = as_arrays(x, y, gamma1, gamma2)
    return gamma1 * (x**2 - y**2) / 2 + gamma2 * x * y


def shear_deflection(x, y, gamma1, gamma2):
    """External shear, alpha = (gamma1 x + gamma2 y, gamma2 x - gamma1 y)."""
    _, x, y, gamma1, gamma2 = as_arrays(x, y, gamma1, gamma2)
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def shear_hessian(x, y, gamma1, gamma2):
    """External shear, the same everywhere: (gamma1, -gamma1, gamma2)."""
    xp, x, y, gamma1, gamma2 = as_arrays(x, y, gamma1, gamma2)
    everywhere = xp.zeros_like(x + y)
    return everywhere + gamma1, everywhere - gamma1, everywhere + gamma2


def _isothermal_hessian(xp, x, y, two_kappa, centre):
    """Hessian of a potential of degree one in r, which has no radial part: 2 kappa (1 - x_i x_j / r^2)."""
    scale = two_kappa / (x**2 + y**2)
    return plug(xp, centre, scale * y**2, scale * x**2, -scale * x * y)


def _epl_deflection(xp, x, y, theta_E, q, t, terms):
    b = theta_E * xp.sqrt(q)
    radius = xp.sqrt((q * x) ** 2 + y**2)
    cos, sin = q * x / radius, y / radius
    omega_x, omega_y = _epl_angular(xp, cos, sin, q, t, terms)
    # b^t R^(1 - t) rather than b (b / R)^(t - 1): no 0/0 for theta_E = 0
    scale = 2 / (1 + q) * b**t * radius ** (1 - t)
    return scale * omega_x, scale * omega_y


def _epl_angular(xp, cos, sin, q, t, terms):
    """Return Omega(phi) = e^(i phi) 2F1(1, t/2; 2 - t/2; -f e^(2 i phi)), f = (1 - q) / (1 + q).

    Tessore & Metcalf 2015, eq. 23, by its power series (their sect. 3): Omega_0 = e^(i phi) and
    Omega_n = -f (2n - (2 - t)) / (2n + (2 - t)) e^(2 i phi) Omega_(n-1).
    """
    f = (1 - q) / (1 + q)
    cos_2, sin_2 = cos**2 - sin**2, 2 * sin * cos
    coefficients = [1.0]
    for n in range(1, terms + 1):
        coefficients.append(-f * (2 * n - 2 + t) / (2 * n + 2 - t) * coefficients[-1])
    sum_x, sum_y = circular_series(xp, cos_2, sin_2, coefficients)
    return cos * sum_x - sin * sum_y, cos * sum_y + sin * sum_x


def epl_terms(q):
    """Return how many terms leave a remainder below 1e-16: term n is at most f^n in absolute value."""
    try:
        lowest = q if isinstance(q, int | float) else float((q.detach() if hasattr(q, "detach") else q).min())
    except RuntimeError:
        # a batching transformation of torch hides the values
        lowest = _EPL_TRACED_Q
    lowest = max(lowest, EPL_LOWEST_Q)
    f = (1 - lowest) / (1 + lowest)
    return math.ceil(math.log(1e-16 * (1 - f)) / math.log(f)) if f > 1e-16 else 1
