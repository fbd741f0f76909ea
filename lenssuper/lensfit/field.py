"""Whether the ring of a guess is in the field at all, before a fit that would take minutes to find out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from astropy import units as u

from lenssuper.lens import LensModel
from lenssuper.observation import Observation

__all__ = ["check_ring_in_field"]


def check_ring_in_field(lens: LensModel, observations: Iterable[Observation]) -> None:
    """Raise a ValueError if the Einstein radius exceeds half the diagonal of every observation."""
    try:
        radius = lens.einstein_radius().to_value(u.arcsec)
    except ValueError:  # no ring of its own
        return
    sides = [np.array(each.shape) * each.grid.side_arcsec for each in observations]
    largest = max(sides, key=np.linalg.norm)
    if radius > np.linalg.norm(largest) / 2:
        ny, nx = largest
        raise ValueError(
            f"the Einstein radius of the guess, {radius:.4g} arcsec, exceeds the field of {nx:.3g} x "
            f"{ny:.3g} arcsec: give it in arcsec, as far as the arcs are from the lens, "
            "or take a larger cutout"
        )
