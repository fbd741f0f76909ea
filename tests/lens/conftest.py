"""The lens models that every contract is tested on."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper.lens import (
    DPIE,
    EPL,
    NFW,
    SIE,
    SIS,
    TNFW,
    ExternalShear,
    Multipole1,
    Multipole3,
    Multipole4,
    PointMass,
)

A = u.arcsec
_CENTER = {"x": 0.13 * A, "y": -0.21 * A}
_SIE = SIE(theta_E=1.1 * A, q=0.7, phi=35 * u.deg, **_CENTER)
_SHEAR = ExternalShear(gamma1=0.05, gamma2=-0.03)

LENSES = {
    "SIS": SIS(theta_E=1.2 * A, **_CENTER),
    "SIE": _SIE,
    "SIE round": SIE(theta_E=1.1 * A, q=1.0, phi=35 * u.deg, **_CENTER),
    "SIE flat": SIE(theta_E=1.1 * A, q=0.1, phi=-50 * u.deg, **_CENTER),
    "EPL shallow": EPL(theta_E=0.9 * A, gamma=1.6, q=0.6, phi=110 * u.deg, **_CENTER),
    "EPL isothermal": EPL(theta_E=0.9 * A, gamma=2.0, q=0.8, phi=10 * u.deg, **_CENTER),
    "EPL steep": EPL(theta_E=0.9 * A, gamma=2.4, q=0.1, phi=-70 * u.deg, **_CENTER),
    "ExternalShear": ExternalShear(gamma1=0.05, gamma2=-0.03, **_CENTER),
    "PointMass": PointMass(theta_E=0.8 * A, **_CENTER),
    "NFW": NFW(alpha_Rs=1.3 * A, Rs=2.5 * A, **_CENTER),
    "TNFW": TNFW(alpha_Rs=1.3 * A, Rs=2.5 * A, r_trunc=4 * A, **_CENTER),
    "DPIE": DPIE(theta_E=1.1 * A, r_trunc=3 * A, r_core=0.2 * A, **_CENTER),
    "DPIE elliptical": DPIE(theta_E=1.1 * A, r_trunc=3 * A, r_core=0.2 * A, q=0.6, phi=35 * u.deg, **_CENTER),
    "pseudo-Jaffe": DPIE(theta_E=1.1 * A, r_trunc=1.5 * A, q=0.1, phi=-20 * u.deg, **_CENTER),
    "Multipole1": Multipole1(a=0.3 * A, b=-0.2 * A, q=0.7, r_E=1.3 * A, **_CENTER),
    "Multipole3": Multipole3(a=0.3 * A, b=-0.2 * A, phi=80 * u.deg, **_CENTER),
    "Multipole4": Multipole4(a=0.3 * A, b=-0.2 * A, q=0.4, **_CENTER),
    "disky": _SIE + Multipole4(a=0.04 * A, b=0.01 * A, q=0.7, phi=35 * u.deg, **_CENTER),
    "sum": _SIE + _SHEAR + SIS(theta_E=0.2 * A, x=1.5 * A, y=0.4 * A),
}


@pytest.fixture(params=LENSES.values(), ids=LENSES.keys())
def lens(request):
    """Each lens model in turn."""
    return request.param


@pytest.fixture
def positions():
    """Scattered positions in arcsec, none within 0.05 arcsec of a centre used here."""
    x, y = np.random.default_rng(7).uniform(-3, 3, (2, 400))
    centers = ((0.13, -0.21), (1.5, 0.4))
    far = np.all([np.hypot(x - cx, y - cy) > 0.05 for cx, cy in centers], axis=0)
    return x[far], y[far]
