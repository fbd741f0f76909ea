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
    e = (q * x + 1j * y) / radius
    turn = 1 if order % 2 else e
    alpha = _angular(e**2, xp.conj(e) ** 2, turn, f, a, b, order, terms)
    if order % 2:
        # e^(i n e) averaged over a circle is (-f)^|n / 2|, and ln(P) is ln(r (1 + q) / 2)
        mean = _angular(-f, -f, 1, f, a, b, order, terms)
        log = xp.log(2 * radius / ((1 + q) * r_E)) + 0.5
        alpha = alpha - mean + (a + 1j * b) * (-f) ** (order // 2) * log
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


def _angular(u, back, turn, f, a, b, order, terms):
    """Return the series for a - i b at e^(i m e) and a + i b at e^(-i m e), without the term n = 0.

    ``u`` and ``back`` stand for e^(2 i e) and its inverse; ``turn`` is e^(i e) for even orders, else 1.
    """
    sign = -1 if order % 2 else 1
    total = 1 / (order + 1 + 2 * terms)
    for n in range(order - 1 + 2 * terms, order, -2):
        total = 1 / n - f * u * total
    tail = total * u ** ((order + 1) // 2) * turn
    head = sign * (-f) ** order * tail
    for k in range(order):
        n = 1 - order + 2 * k
        if n:
            wave = u ** (n // 2) if n > 0 else back ** -(n // 2)
            head = head + (sign if n > 0 else 1) * (-f) ** k / n * wave * turn
    return (a - 1j * b) * tail + (a + 1j * b) * head
