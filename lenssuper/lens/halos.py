"""NFW haloes, plain and truncated: pure functions of float arrays in arcsec, as ``lenssuper.lens.profiles``.

Both are normalised by ``alpha_Rs``, the deflection at the scale radius ``Rs`` of the halo without truncation,
so that 4 rho_s Rs = alpha_Rs / (Rs (1 + ln 1/2)) with the density rho_s in units of the critical surface
density per arcsec (Meneghetti et al. 2003, A&A 413, 105).

References
----------
Navarro, Frenk & White 1997, ApJ 490, 493; Bartelmann 1996, A&A 313, 697; Keeton 2001, arXiv:astro-ph/0102341;
Golse & Kneib 2002, A&A 390, 821; Baltz, Marshall & Oguri 2009, JCAP 01, 015 (appendix A, n = 1).
"""

from __future__ import annotations

import math

from lenssuper.lens.arrays import as_arrays, atanhc, atanhc_slope, branch, off_centre, plug

_NORM = 1 + math.log(0.5)
# Below this many scale radii the logarithms are taken apart by hand, or they would cancel.
_INNER = 0.5


def nfw_potential(x, y, alpha_Rs, Rs):
    """NFW halo, psi = 2 rho_s Rs^3 [ln^2(X / 2) - arccosh^2(1 / X)], X = r / Rs (Keeton 2001, eq. 54)."""
    xp, x, y, alpha_Rs, Rs = as_arrays(x, y, alpha_Rs, Rs)
    x, y, centre = off_centre(xp, x, y)
    scaled = xp.sqrt(x**2 + y**2) / Rs

    def inner(s):
        # the difference of squares as a product of sum and difference
        log1, log2 = _inner_log(xp, s), xp.log((1 + xp.sqrt(1 - s**2)) / s)
        return log1 * (xp.log(s / 2) - log2)

    def outer(s):
        m = 1 - s**2
        return xp.log(s / 2) ** 2 - m * atanhc(xp, m) ** 2

    shape = branch(xp, scaled < _INNER, scaled, inner, outer, (0.3, 1.0))
    return plug(xp, centre, alpha_Rs * Rs / (2 * _NORM) * shape)[0]


def nfw_deflection(x, y, alpha_Rs, Rs):
    """NFW halo, alpha = 4 rho_s Rs^2 g(X) / X with g of `nfw_mass` (Golse & Kneib 2002, eq. 6a)."""
    xp, x, y, alpha_Rs, Rs = as_arrays(x, y, alpha_Rs, Rs)
    x, y, centre = off_centre(xp, x, y)
    scaled = xp.sqrt(x**2 + y**2) / Rs
    scale = alpha_Rs / (_NORM * Rs) * nfw_mass(xp, scaled) / scaled**2
    return plug(xp, centre, scale * x, scale * y)


def nfw_hessian(x, y, alpha_Rs, Rs):
    """NFW halo, kappa = 2 rho_s Rs (1 - F(X)) / (X^2 - 1) (Bartelmann 1996; Golse & Kneib 2002, eq. 6b)."""
    xp, x, y, alpha_Rs, Rs = as_arrays(x, y, alpha_Rs, Rs)
    x, y, centre = off_centre(xp, x, y)
    scaled = xp.sqrt(x**2 + y**2) / Rs
    unit = alpha_Rs / (_NORM * Rs)
    kappa = unit / 2 * atanhc_slope(xp, 1 - scaled**2, _nfw_f(xp, scaled))
    return plug(xp, centre, *_circular_hessian(x, y, unit * nfw_mass(xp, scaled) / scaled**2, kappa))


def tnfw_potential(x, y, alpha_Rs, Rs, r_trunc):
    """Truncated NFW halo: the integral of its deflection (Baltz et al. 2009, appendix A)."""
    xp, x, y, alpha_Rs, Rs, r_trunc = as_arrays(x, y, alpha_Rs, Rs, r_trunc)
    x, y, centre = off_centre(xp, x, y)
    scaled, tau = xp.sqrt(x**2 + y**2) / Rs, r_trunc / Rs
    f, log_tau, t2 = _nfw_f(xp, scaled), xp.log(tau), tau**2
    w = xp.sqrt(t2 + scaled**2)
    ell = xp.log(scaled / (tau + w))
    m = 1 - scaled**2
    shape = (
        2 * t2 * math.pi * (tau - w + tau * xp.log((tau + w) / (2 * tau)))
        + 2 * (t2 - 1) * tau * w * ell
        + t2 * (t2 - 1) * (ell**2 - m * f**2)
        - 4 * t2 * m * f
        + 2 * t2 * ((t2 - 1) * log_tau - t2 - 1) * xp.log(scaled)
        - t2 * ((t2 - 1) * log_tau * xp.log(4 * tau) + 2 * xp.log(tau / 2) - 2 * t2 * xp.log(2 * tau))
    ) / (t2 + 1) ** 2
    return plug(xp, centre, alpha_Rs * Rs / (2 * _NORM) * shape)[0]


def tnfw_deflection(x, y, alpha_Rs, Rs, r_trunc):
    """Truncated NFW halo, rho = rho_NFW r_trunc^2 / (r_trunc^2 + r^2) (Baltz et al. 2009)."""
    xp, x, y, alpha_Rs, Rs, r_trunc = as_arrays(x, y, alpha_Rs, Rs, r_trunc)
    x, y, centre = off_centre(xp, x, y)
    scale = alpha_Rs / (_NORM * Rs) * _tnfw_mass(xp, xp.sqrt(x**2 + y**2) / Rs, r_trunc / Rs)
    return plug(xp, centre, scale * x, scale * y)


def tnfw_hessian(x, y, alpha_Rs, Rs, r_trunc):
    """Truncated NFW halo, kappa from Baltz et al. 2009, appendix A.

    Far outside the truncation kappa falls as r^-4 and its terms cancel: beyond 50 r_trunc its relative error
    grows above 1e-11, its absolute error stays at rounding.
    """
    xp, x, y, alpha_Rs, Rs, r_trunc = as_arrays(x, y, alpha_Rs, Rs, r_trunc)
    x, y, centre = off_centre(xp, x, y)
    scaled, tau = xp.sqrt(x**2 + y**2) / Rs, r_trunc / Rs
    t2, w, f = tau**2, xp.sqrt(tau**2 + scaled**2), _nfw_f(xp, scaled)
    ell = xp.log(scaled / (tau + w))
    shape = (
        (t2 + 1) * atanhc_slope(xp, 1 - scaled**2, f) + 2 * f - math.pi / w + (t2 - 1) / (tau * w) * ell
    ) * (t2 / (t2 + 1) ** 2)
    unit = alpha_Rs / (_NORM * Rs)
    return plug(xp, centre, *_circular_hessian(x, y, unit * _tnfw_mass(xp, scaled, tau), unit / 2 * shape))


def nfw_mass(xp, s):
    """Return g(s) = ln(s / 2) + F(s), the projected NFW mass within s scale radii over 4 pi rho_s Rs^3.

    For small s, where the two logarithms cancel, g = ln((1 + c) / 2) + s^2 / (c (1 + c)) ln((1 + c) / s) with
    c^2 = 1 - s^2.
    """

    def inner(s):
        c = xp.sqrt(1 - s**2)
        return _inner_log(xp, s) + s**2 / (c * (1 + c)) * xp.log((1 + c) / s)

    def outer(s):
        return xp.log(s / 2) + atanhc(xp, 1 - s**2)

    return branch(xp, s < _INNER, s, inner, outer, (0.3, 1.0))


def _tnfw_mass(xp, s, tau):
    """Return the projected mass of the truncated halo over 4 pi rho_s Rs^3 s^2.

    Baltz et al. 2009, appendix A (n = 1), arranged around g of the plain halo so that nothing cancels at
    small s.
    """
    t2, w = tau**2, xp.sqrt(tau**2 + s**2)
    ell = xp.log(s / (tau + w))
    # w - tau and ln((tau + w) / (2 tau)) without the difference
    excess = 1 / (tau * (tau + w))
    bracket = (nfw_mass(xp, s) - xp.log1p(s**2 * excess / 2)) / s**2 + excess * ell
    return t2 / (t2 + 1) ** 2 * (2 * _nfw_f(xp, s) - math.pi / (tau + w) + (t2 - 1) * bracket)


def _nfw_f(xp, s):
    """Return F(s) = arccosh(1 / s) / sqrt(1 - s^2), arccos(1 / s) / sqrt(s^2 - 1) beyond s = 1."""

    def inner(s):
        c = xp.sqrt(1 - s**2)
        return xp.log((1 + c) / s) / c

    def outer(s):
        return atanhc(xp, 1 - s**2)

    return branch(xp, s < _INNER, s, inner, outer, (0.3, 1.0))


def _inner_log(xp, s):
    """Return ln((1 + sqrt(1 - s^2)) / 2) without losing digits for small s."""
    return xp.log1p(-(s**2) / (2 * (1 + xp.sqrt(1 - s**2))))


def _circular_hessian(x, y, alpha_over_r, kappa):
    """Hessian of a circular lens: psi_ij = a delta_ij + 2 (kappa - a) x_i x_j / r^2 with a = alpha / r."""
    slope = 2 * (kappa - alpha_over_r) / (x**2 + y**2)
    return alpha_over_r + slope * x**2, alpha_over_r + slope * y**2, slope * x * y
