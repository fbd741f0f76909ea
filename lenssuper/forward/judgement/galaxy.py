"""The lens galaxy as its light shows it, and how the mass differs from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from lenssuper._utils.units import arcsec
from lenssuper.forward.judgement.scene import Scene
from lenssuper.observation import Observation

__all__ = ["LensGalaxy", "of_front", "of_galaxy"]

# Error of the centre of a galaxy in arcsec: dust, neighbours and the PSF move it by about that
_CENTER_ERROR = 0.01


@dataclass(frozen=True)
class LensGalaxy:
    """Centre (arcsec), axis ratio and angle (radian, counter-clockwise from +x) of the light of the lens."""

    x: float
    y: float
    q: float = math.nan
    phi: float = math.nan

    @classmethod
    def of(cls, observation: Observation) -> LensGalaxy | None:
        """Return the galaxy that was subtracted from an observation, as its meta data have it, or None."""
        meta, grid = observation.meta, observation.grid
        try:
            if grid.reference is not None and "FGRA" in meta:
                sky = SkyCoord(meta["FGRA"] * u.deg, meta["FGDEC"] * u.deg)
                x, y = (float(v.to_value(u.arcsec)) for v in grid.sky_to_offset(sky))
            else:
                x, y = float(meta["FGX"]), float(meta["FGY"])
            return cls(x, y, float(meta["FGQ"]), math.radians(float(meta["FGPHI"])))
        except (KeyError, TypeError, ValueError):
            return None

    def cards(self, observation: Observation) -> dict[str, float]:
        """Return the meta data from which `of` finds the galaxy again."""
        found = {"FGX": self.x, "FGY": self.y, "FGQ": self.q, "FGPHI": math.degrees(self.phi)}
        if observation.grid.reference is not None:
            sky = observation.grid.offset_to_sky(*arcsec(np.array([self.x, self.y]))).icrs
            found |= {"FGRA": float(sky.ra.deg), "FGDEC": float(sky.dec.deg)}
        return found


def of_galaxy(
    scene: Scene, galaxy: LensGalaxy | None, errors: Mapping[str, float] | None = None
) -> dict[str, float]:
    """
    Return the measures of a lens beside its galaxy, by their names.

    ``errors`` are the standard deviations of x and y of the main profile, in arcsec, 0 or missing if unknown.
    """
    values, errors = scene.main, errors or {}
    shears = [part.values() for part in scene.lens.components if "gamma1" in part.values()]
    found = {
        "axis_ratio": values.get("q", math.nan),
        "shear": float(np.hypot(sum(v["gamma1"] for v in shears), sum(v["gamma2"] for v in shears))),
        "einstein_radius": scene.radius,
    }
    x, y = scene.center
    if galaxy is None:
        x0, y0 = scene.observation.grid.middle_arcsec()
        return found | {"field_offset": math.hypot(x - x0, y - y0)}
    offset = np.array([x - galaxy.x, y - galaxy.y])
    sigmas = np.hypot([errors.get("x", 0.0), errors.get("y", 0.0)], _CENTER_ERROR)
    return found | {
        "center_offset": float(np.hypot(*offset)),
        "center_sigma": float(np.hypot(*(offset / sigmas))),
        "flatter_than_light": galaxy.q - found["axis_ratio"],
    }


def of_front(scene: Scene) -> dict[str, float]:
    """
    Return how little is known of the light in front of the arcs, where ``Observation.light_errors`` say it.

    It is the standard deviation of that light in all pixels with arcs, as a share of the light of the arcs.
    The flux of the images is known no better.
    """
    errors = scene.observation.light_errors
    arcs = float(scene.model[scene.bright].sum())
    if errors is None or not arcs > 0:
        return {}
    return {"front_share": float(np.linalg.norm(errors[:, scene.bright].sum(axis=1))) / arcs}
