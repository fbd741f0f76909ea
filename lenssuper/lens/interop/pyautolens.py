"""PyAutoLens' mass profiles: another scaling of the Einstein radius; pairs in the order (y, x)."""

from __future__ import annotations

import numpy as np

from lenssuper._utils.checks import check_length, check_number
from lenssuper._utils.units import to_arcsec, to_number
from lenssuper.lens.interop.ellipticity import axis_ratio_and_angle
from lenssuper.lens.interop.naming import build


def from_pyautolens(profiles, einstein_radius, ell_comps, centre, slope, shear) -> list:
    """Return an SIE (slope 2) or EPL, and a shear if there is any.

    PyAutoLens has kappa = (3 - slope) / (1 + q) (einstein_radius / R)^(slope - 1), R^2 = x'^2 + y'^2 / q^2.
    That is the kappa of an EPL with theta_E = sqrt(q) (2 / (1 + q))^(1 / (slope - 1)) einstein_radius.
    """
    radius = check_length(einstein_radius, "einstein_radius")
    slope = check_number(slope, "slope", above=1, below=3)
    e2, e1 = _pair(to_number(ell_comps, "ell_comps"), "ell_comps")
    y, x = _pair(to_arcsec(centre, "centre"), "centre")
    q, phi = axis_ratio_and_angle(e1, e2)
    theta_E = np.sqrt(q) * (2 / (1 + q)) ** (1 / (slope - 1)) * radius
    shape = {"theta_E": theta_E, "q": q, "phi": phi, "x": x, "y": y}
    parts = [
        build(profiles["SIE"], shape) if slope == 2 else build(profiles["EPL"], {"gamma": slope, **shape})
    ]
    if any(shear):
        parts.append(profiles["ExternalShear"](gamma1=shear[0], gamma2=shear[1]))
    return parts


def _pair(values, name):
    if np.shape(values) != (2,):
        raise ValueError(f"{name} must hold two values, (y, x); got {values!s}")
    return (float(value) for value in values)
