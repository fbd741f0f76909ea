"""Where fits begin."""

from __future__ import annotations

import numpy as np
from astropy import units as u

from lenssuper._utils.units import to_arcsec
from lenssuper.lens import SIE, ExternalShear, LensModel
from lenssuper.lensfit.parameters import FreeParameters

__all__ = ["all_round", "around", "from_radius"]

# For fits that are told no more than a radius: multiples of it, and ellipticities
_RADII = (0.8, 0.9, 1.0, 1.12, 1.25)
_TURNS, _FLATTENING = (0, 60, 120), 0.1


def from_radius(theta_E: u.Quantity) -> LensModel:
    """Give a lens of which no more is known than its Einstein radius."""
    if not to_arcsec(theta_E, "guess") > 0 or not theta_E.isscalar:
        raise ValueError(f"an Einstein radius must be one positive angle; got {theta_E}")
    return SIE(theta_E=theta_E, q=0.9, phi=0 * u.deg) + ExternalShear(gamma1=0.0, gamma2=0.0)


def around(parameters: FreeParameters) -> list[np.ndarray]:
    """Give the guess itself, and with its radii a little smaller and larger."""
    start = parameters.start
    radii = parameters.is_radius
    if not radii.any():
        return [start]
    return [start, start - parameters.spread * radii, start + parameters.spread * radii]


def all_round(parameters: FreeParameters) -> list[np.ndarray]:
    """Give vectors with radii and directions all round."""
    starts = []
    for factor in _RADII:
        for turn in np.radians(_TURNS):
            vector = parameters.start.copy()
            vector[parameters.is_radius] += np.log(factor)
            vector[parameters.is_ellipse] = np.resize(
                _FLATTENING * np.array([np.cos(2 * turn), np.sin(2 * turn)]), parameters.is_ellipse.sum()
            )
            starts.append(vector)
    return starts
