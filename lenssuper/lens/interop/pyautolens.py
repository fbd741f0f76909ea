"""PyAutoLens' mass profiles: another scaling of the Einstein radius; pairs in the order (y, x)."""

from __future__ import annotations

import numpy as np
from astropy import units as u

from lenssuper._utils.units import to_arcsec, to_number
from lenssuper.lens.base import LensModel
from lenssuper.lens.interop.ellipticity import axis_ratio_and_angle
from lenssuper.lens.models import EPL, SIE, ExternalShear


def from_pyautolens(einstein_radius, ell_comps, centre, slope, gamma_1, gamma_2) -> LensModel:
    """Return an SIE (slope 2) or EPL, plus a shear if there is any.

    PyAutoLens has kappa = (3 - slope) / (1 + q) (einstein_radius / R)^(slope - 1), R^2 = x'^2 + y'^2 / q^2.
    That is the kappa of an EPL with theta_E = sqrt(q) (2 / (1 + q))^(1 / (slope - 1)) einstein_radius.
    """
    radius = to_arcsec(einstein_radius, "einstein_radius")
    slope = to_number(slope, "slope")
    e2, e1 = _pair(to_number(ell_comps, "ell_comps"), "ell_comps")
    y, x = _pair(to_arcsec(centre, "centre"), "centre")
    if not isinstance(slope, float) or not 1 < slope < 3:
        raise ValueError(f"slope must lie in (1, 3); got {slope!s}")
    q, phi = axis_ratio_and_angle(e1, e2)
    shape = {
        "theta_E": np.sqrt(q) * (2 / (1 + q)) ** (1 / (slope - 1)) * radius * u.arcsec,
        "q": q,
        "phi": (phi * u.rad).to(u.deg),
        "x": x * u.arcsec,
        "y": y * u.arcsec,
    }
    lens = SIE(**shape) if slope == 2 else EPL(gamma=slope, **shape)
    return lens + ExternalShear(gamma1=gamma_1, gamma2=gamma_2) if gamma_1 or gamma_2 else lens


def _pair(values, name):
    if np.shape(values) != (2,):
        raise ValueError(f"{name} must hold two values, (y, x); got {values!s}")
    return (float(value) for value in values)
