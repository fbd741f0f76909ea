"""Lens profiles: pure functions of float arrays in arcsec, for numpy and torch alike.

Positions are relative to the centre of the lens and, for elliptical profiles, in the frame of its axes: x along the
major axis, y along the minor one. For each profile there is the potential (arcsec^2), the deflection (arcsec) and the
Hessian of the potential (psi_xx, psi_yy, psi_xy). Parameters are numbers or arrays that broadcast with the positions;
automatic differentiation works through all of them, and is free of NaN at the centre.

At a centre where the deflection has no limit (or the Hessian none), both are set to exactly zero.

References
----------
Kormann, Schneider & Bartelmann 1994, A&A 284, 285; Keeton & Kochanek 1998, ApJ 495, 157; Keeton 2001,
arXiv:astro-ph/0102341; Tessore & Metcalf 2015, A&A 580, A79; Schneider, Kochanek & Wambsganss 2006, "Gravitational
Lensing: Strong, Weak and Micro".
"""

from __future__ import annotations

from ._arrays import as_arrays, asinhc, atanhc, off_centre, plug


def sis_potential(x, y, theta_E):
    """Singular isothermal sphere, psi = theta_E r (Schneider et al. 2006, part 1, sect. 3.1)."""
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

    Kormann et al. 1994, eq. 27a; Keeton 2001, eqs. 34-35, there with b = theta_E sqrt(q):
    alpha_x = b / f arctan(f x / w), alpha_y = b / f arctanh(f y / w) with w^2 = q^2 x^2 + y^2 and f^2 = 1 - q^2.
    The second is written as b / f arcsinh(f y / (q r)), which keeps its digits for small q. Both are even in f,
    so they are smooth through q = 1.
    """
    xp, x, y, theta_E, q = as_arrays(x, y, theta_E, q)
    x, y, centre = off_centre(xp, x, y)
    f2, b = (1 - q) * (1 + q), theta_E * xp.sqrt(q)
    w2, qr2 = q**2 * x**2 + y**2, q**2 * (x**2 + y**2)
    alpha_x = b * x / xp.sqrt(w2) * atanhc(xp, -f2 * x**2 / w2)
    alpha_y = b * y / xp.sqrt(qr2) * asinhc(xp, f2 * y**2 / qr2)
    return plug(xp, centre, alpha_x, alpha_y)


def sie_hessian(x, y, theta_E, q):
    """Singular isothermal ellipsoid: the shear equals the convergence and is tangential (Kormann et al. 1994, sect. 3)."""
    xp, x, y, theta_E, q = as_arrays(x, y, theta_E, q)
    x, y, centre = off_centre(xp, x, y)
    return _isothermal_hessian(xp, x, y, theta_E / xp.sqrt(q * x**2 + y**2 / q), centre)


def shear_potential(x, y, gamma1, gamma2):
    """External shear, psi = gamma1 (x^2 - y^2) / 2 + gamma2 x y (Keeton 2001, sect. 3.14)."""
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
    """Hessian of a potential of degree one in r, which has no radial part: 2 kappa (delta_ij - x_i x_j / r^2)."""
    scale = two_kappa / (x**2 + y**2)
    return plug(xp, centre, scale * y**2, scale * x**2, -scale * x * y)
