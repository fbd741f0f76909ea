"""Objects beside a lens of which no other image is seen: galaxies that have nothing to do with its arcs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lenssuper.forward.judgement import neighbours
from lenssuper.lens import LensModel
from lenssuper.lensfit.credibility import radii
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.judgement import scene_of
from lenssuper.observation import Observation

__all__ = ["MASKED", "mask_of_objects", "without_companions"]

MASKED = "objects without a counter-image were masked"
"""What a fit says of masked objects."""
# Einstein radii from the lens beyond which an object that is seen once is taken for a companion: images of a
# source that is seen several times are within two of them, and mostly within 1.5
_FAR = 1.5
# Share of the light up to which it is; where more has no counter-image, the lens may be wrong
_FEW = 0.3


def mask_of_objects(pixels: np.ndarray, observation: Observation) -> np.ndarray | None:
    """
    Return pixels (ny, nx) of objects and around them; None without any.

    Galaxies have wings: the radius of each is doubled, and the width of the PSF added.
    """
    if not pixels.any():
        return None
    width = observation.psf_fwhm_arcsec / observation.grid.side_arcsec
    labels, n = ndimage.label(pixels, np.ones((3, 3)))
    mask = np.zeros_like(pixels)
    for k in range(1, n + 1):
        radius = np.sqrt(np.count_nonzero(labels == k) / np.pi)
        mask |= ndimage.distance_transform_edt(labels != k) <= radius + width
    return mask


def without_companions(
    observation: Observation, fit: LensFit, given: LensModel
) -> tuple[Observation, tuple[str, ...]]:
    """
    Mask the companions in an observation, and say so: objects that a first ``fit`` of the lens shows once.

    Their light would be that of a source which is hardly magnified, and could be most of its flux. A lens
    that is wrong, or has a much smaller radius than the one ``given``, does not tell what companions are.
    """
    if fit.verdict == "wrong":
        return observation, ()
    radius, guessed = radii(fit.lens, given)
    scene = scene_of(fit, fit.lens)
    far = scene.distance > _FAR * max(1.0, guessed / radius)
    mask = mask_of_objects(_few(scene, neighbours(scene) & far), observation)
    if mask is None:
        return observation, ()
    return observation.masked(mask), (f"beyond {_FAR:.1f} Einstein radii {MASKED}",)


def _few(scene, objects):
    """Return the objects; none if they have too much of the light."""
    light = np.maximum(scene.observation.data, 0.0)
    whole = float(light[scene.used & scene.observation.bright].sum())
    return objects & (float(light[objects].sum()) <= _FEW * whole)
