"""How much of a source's flux is in objects that may not be lensed at all."""

from __future__ import annotations

import numpy as np

from lenssuper.forward.judgement import Scene, neighbours, with_wings
from lenssuper.forward.model import ForwardModel

__all__ = ["object_measures"]


def object_measures(model: ForwardModel, source: np.ndarray, modelled: np.ndarray) -> dict[str, float]:
    """
    Return the measure of a verdict on objects of which no other image is seen: their share of the flux.

    It is that of the source: what is seen once is magnified less than arcs, and has a larger share of the
    flux of the source than of the light of the image. ``source`` (ny, nx) and its image ``modelled`` are in
    the unit of the data.
    """
    objects = neighbours(Scene(model.observation, model.lens, modelled))
    light = np.maximum(source, 0.0)
    total = float(light.sum())
    if not objects.any() or total == 0:
        return {"detached_flux": 0.0}
    objects = with_wings(objects, model.observation)
    # of what each source pixel sends to the data, the share that arrives in the objects
    there, everywhere = (
        model.adjoint(np.asarray(each, dtype=float)) for each in (objects, np.ones_like(objects))
    )
    share = np.divide(there, everywhere, out=np.zeros_like(light), where=everywhere > 0)
    return {"detached_flux": float(np.sum(light * share)) / total}
