"""Objects beside a lens of which no other image is seen: galaxies that have nothing to do with its arcs."""

from __future__ import annotations

import numpy as np

from lenssuper.forward.judgement import neighbours, with_wings
from lenssuper.lens import LensModel
from lenssuper.lensfit.credibility import radii
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.judgement import scene_of
from lenssuper.observation import Observation

__all__ = ["MASKED", "without_companions"]

MASKED = "objects without a counter-image were masked"
"""What a fit says of masked objects."""
# Einstein radii from the lens beyond which an object that is seen once is taken for a companion: images of a
# source that is seen several times are within two of them, and mostly within 1.5
_FAR = 1.5
# Share of the light up to which it is; where more has no counter-image, the lens may be wrong
_FEW = 0.3


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
    objects = neighbours(scene) & (scene.distance > _FAR * max(1.0, guessed / radius))
    if guessed > radius and objects.any():
        # what a lens of the radius that was expected shows twice may be an arc
        objects &= neighbours(scene_of(fit, _enlarged(fit.lens, guessed / radius)))
    objects = _few(scene, objects)
    if not objects.any():
        return observation, ()
    return observation.masked(with_wings(objects, observation)), (
        f"beyond {_FAR:.1f} Einstein radii {MASKED}",
    )


def _enlarged(lens, factor):
    """Return a lens whose Einstein radii are larger by a factor."""
    sizes = {name: value for name, value in lens.parameters.items() if name.rpartition(".")[2] == "theta_E"}
    return lens.replace(**{name: factor * value for name, value in sizes.items()})


def _few(scene, objects):
    """Return the objects; none if they have too much of the light."""
    light = np.maximum(scene.observation.data, 0.0)
    whole = float(light[scene.used & scene.observation.bright].sum())
    return objects & (float(light[objects].sum()) <= _FEW * whole)
