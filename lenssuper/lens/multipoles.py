"""Multipoles of an elliptical isothermal lens: pure functions like those of ``lenssuper.lens.profiles``.

The convergence is (a cos(m e) + b sin(m e)) / (2 R), with the elliptical radius R^2 = q x^2 + y^2 / q and the
elliptical angle e, tan(e) = y / (q x): contours of an isothermal ellipsoid are perturbed by a / theta_E of
their radius (Paugnat & Gilman 2025, "Elliptical multipoles for gravitational lenses"; for q = 1 Xu et al.
2013, arXiv:1307.4220, appendix B).

In complex numbers, Z = x + i y and w = q x + i y = P e^(i e), the deflection alpha solves d alpha / dZ =
kappa. With Z = (1 + q) / (2 q) (w + f w*), f = (1 - q) / (1 + q), a convergence e^(i m e) / P is that of

    alpha = 4 / (1 + q) sum_k (-f)^k e^(i n e) / n,    n = m + 1 + 2 k,

the series of Tessore & Metcalf (2015, A&A 580, A79) begun at another angle. For negative odd m the index n
passes through zero, where ln(P) takes the place of e^(i n e) / n, and the sign changes: the deflection by odd
multipoles grows as g ln(r) with a constant g. The constant that may be added to it, which moves nothing but
the source, is that of Paugnat & Gilman; it contains the radius r_E.
"""

from __future__ import annotations

import math

from lenssuper.lens.arrays import as_arrays, branch, off_centre, plug
from lenssuper.lens.profiles import epl_terms
from lenssuper.lens.series import circular_series


def multipole_potential(x, y, a, b, q, r_E=1.0, *, order):
    """Multipole, psi = Re(Z* (alpha - g)): the part g ln(r) of the deflection is not of degree zero in r."""
    alpha_x, alpha_y = multipole_deflection(x, y, a, b, q, r_E, order=order)
    xp, x, y, a, b, q = as_arrays(x, y, a, b, q)
    g = _growth(xp, a, b, q, order)
    return x * (alpha_x - g.real) + y * (alpha_y - g.imag)


def multipole_deflection(x, y, a, b, q, r_E=1.0, *, order):
    """Multipole of the order m: the sum of the series for e^(i m e) and e^(-i m e)."""
    terms = epl_terms(q)
    xp, x, y, a, b, q, r_E = as_arrays(x, y, a, b, q, r_E)
    x, y, centre = off_centre(xp, x, y)
    f, radius = (1 - q) / (1 + q), xp.sqrt((q * x) ** 2 + y**2)
    cos, sin = q * x / radius, y / radius
    of_a, of_b = _coefficients(f, order, terms)
    alpha = _angular(xp, cos, sin, a, b, of_a, of_b, order)
    if order % 2:
        # e^(i n e) averaged over a circle is (-f)^|n / 2|, and ln(P) is ln(r (1 + q) / 2)
        waves = [(-f) ** abs((1 - order) // 2 + k) for k in range(len(of_a))]
        mean_a, mean_b = (sum(c * w for c, w in zip(of, waves, strict=True)) for of in (of_a, of_b))
        alpha = alpha - (a * mean_a + 1j * b * mean_b)
        log = xp.log(2 * radius / ((1 + q) * r_E)) + 0.5
        alpha = alpha + (a + 1j * b) * (-f) ** (order // 2) * log
        alpha = alpha + (1 + q) * (
            a * _offset(xp, q, order) + 1j * b * (2 - order) * _offset(xp, 1 / q, order) / q
        )
    alpha = xp.sqrt(q) / (1 + q) * alpha
    return plug(xp, centre, alpha.real, alpha.imag)


def multipole_hessian(x, y, a, b, q, r_E=1.0, *, order):
    """Multipole: the shear is (g - Z kappa) / Z*, from Z d alpha / dZ + Z* d alpha / dZ* = g."""
    xp, x, y, a, b, q, _ = as_arrays(x, y, a, b, q, r_E)
    x, y, centre = off_centre(xp, x, y)
    radius = xp.sqrt((q * x) ** 2 + y**2)
    wave = (a - 1j * b) * ((q * x + 1j * y) / radius) ** order
    kappa = xp.sqrt(q) / (2 * radius) * wave.real
    g, r2 = _growth(xp, a, b, q, order), x**2 + y**2
    u, v = (g.real - kappa * x) / r2, (g.imag - kappa * y) / r2
    gamma1, gamma2 = u * x - v * y, u * y + v * x
    return plug(xp, centre, kappa + gamma1, kappa - gamma1, gamma2)


def _growth(xp, a, b, q, order):
    """Return g, with which the deflection grows as g ln(r): zero for even orders."""
    f = (1 - q) / (1 + q)
    return (order % 2) * xp.sqrt(q) / (1 + q) * (a + 1j * b) * (-f) ** (order // 2)


def _offset(xp, q, order):
    """Return the mean over a circle, which is free, of the deflection without ln(r) (Paugnat & Gilman 2025).

    Their eqs. for m = 1 and m = 3, expanded in d = 1 - q, as the terms cancel for round lenses.
    """

    def series(d):
        return -sum(d ** (k - 3) / (k * 2**k) for k in range(3, 15))

    def direct(d):
        return (xp.log1p(-d / 2) + d / 2 + d**2 / 8) / d**3

    d = 1 - q
    rest = branch(xp, abs(d) < 0.05, d, series, direct, (0.0, 0.5))
    if order == 1:
        return d * ((1 + math.log(2)) / 4 - d / 4 - 2 * q * d * rest) / (2 * (1 + q))
    return d * ((1 - math.log(2)) / 2 + d**2 / 4 + 2 * q * (3 + q**2) * rest) / (2 * (1 + q) ** 2)


def _coefficients(f, order, terms):
    """Return the series for a and for i b: coefficients of e^(i n e) with n = 1 - order + 2 k, none of n = 0.

    The series of e^(-i m e), times a + i b, begins with k = 0, that of e^(i m e), times a - i b, with k = m.
    """
    sign = -1 if order % 2 else 1
    of_a, of_b = [], []
    for k in range(order + 1 + terms):
        n = 1 - order + 2 * k
        back = (sign if n > 0 else 1) * (-f) ** k / n if n else 0.0
        ahead = (-f) ** (k - order) / n if k >= order else 0.0
        of_a.append(back + ahead)
        of_b.append(back - ahead)
    return of_a, of_b


def _angular(xp, cos, sin, a, b, of_a, of_b, order):
    """Return the sum of both series at the elliptical angle of a cosine and sine."""
    cos_2, sin_2 = cos**2 - sin**2, 2 * sin * cos
    (a_x, a_y), (b_x, b_y) = (circular_series(xp, cos_2, sin_2, of) for of in (of_a, of_b))
    total = (a * a_x - b * b_y) + 1j * (a * a_y + b * b_x)
    for _ in range(order - 1):
        total = total * (cos - 1j * sin)
    return total
