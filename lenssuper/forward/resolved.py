"""A lens and the pixels it is seen with: an Einstein ring of less than two pixels cannot be meant."""

from __future__ import annotations

from collections.abc import Iterable

from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.lens import LensModel
from lenssuper.observation.grid import PixelGrid

__all__ = ["check_resolved"]

# Einstein radius in pixels below which no arc is resolved: a pixel scale or a unit is wrong.
_LEAST = 2.0


def check_resolved(lens: LensModel, grids: Iterable[PixelGrid]) -> None:
    """
    Refuse a lens whose Einstein radius is below two pixels of the finest of some images.

    Only the largest ``theta_E`` counts: substructure is smaller. A lens without one, or with none above 0, is
    not checked.

    Raises
    ------
    ObservationError
    """
    radii = [
        to_arcsec(part.parameters["theta_E"], "theta_E")
        for part in lens.components
        if "theta_E" in part.parameters
    ]
    radius, side = max(radii, default=0.0), min(grid.side_arcsec for grid in grids)
    if 0 < radius < _LEAST * side:
        raise ObservationError(
            f"the Einstein radius must be at least {_LEAST:g} pixels; that of the lens is {radius:.4g} "
            f"arcsec, and a pixel of the observation has {side:.4g}: check the pixel scale and the unit of "
            "theta_E"
        )
