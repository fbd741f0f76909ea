"""Several observations of one lens, brought into one frame on the sky."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from lenssuper._utils.units import arcsec, to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.observation.image import Observation

__all__ = ["aligned"]

# Reference points that differ by less are the same, up to rounding.
_SAME = 1e-6 * u.arcsec


def aligned(
    observations: Sequence[NDData | Observation], offsets: u.Quantity | None = None
) -> list[Observation]:
    """
    Check and unpack observations, with offsets counted from the reference point of the first one.

    Parameters
    ----------
    observations : sequence of `~astropy.nddata.NDData` or Observation
        Each with a position on the sky, or it is refused with an ObservationError.
    offsets : `~astropy.units.Quantity`, shape (n, 2), optional
        Shift (x, y) that aligns each with the first one.
    """
    if not observations:
        raise ValueError("observations must hold at least one; got none")
    shifts = np.zeros((len(observations), 2))
    if offsets is not None:
        shifts = np.asarray(to_arcsec(offsets, "offsets"))
        if shifts.shape != (len(observations), 2):
            raise ValueError(
                f"offsets must be (x, y) for each of {len(observations)} observations; got {shifts.shape}"
            )
    together, reference = [], None
    for observation, shift in zip(observations, shifts, strict=True):
        observation = Observation.of(observation, reference=reference)
        own = observation.grid.reference
        if own is None:
            raise ObservationError(
                "the position of an observation on the sky is not known: each needs a celestial WCS"
            )
        reference = own if reference is None else reference
        if own.separation(reference) > _SAME:
            observation = observation.recentred(reference)
        together.append(observation.moved_by(arcsec(shift)) if np.any(shift) else observation)
    return together
