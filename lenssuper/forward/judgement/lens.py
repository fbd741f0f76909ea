"""All measures of a lens and a model of its arcs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lenssuper.exceptions import ObservationError
from lenssuper.forward.judgement.galaxy import LensGalaxy, of_front, of_galaxy
from lenssuper.forward.judgement.mapping import of_mapping
from lenssuper.forward.judgement.positive import positive_fit
from lenssuper.forward.judgement.residuals import of_residuals
from lenssuper.forward.judgement.scene import Scene

__all__ = ["measure_lens", "of_positive", "of_source"]

# Distance from the lens, in Einstein radii, of the light that must come from a positive source.
_NEAR = 2.0


def measure_lens(
    scene: Scene,
    *,
    source: np.ndarray | None = None,
    galaxy: LensGalaxy | None = None,
    errors: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """
    Measure how a lens and its data agree.

    Parameters
    ----------
    scene : Scene
    source : ndarray, shape (ny, nx), optional
        The source of the model.
    galaxy : LensGalaxy, optional
        By default what the meta data of the observation say of the galaxy that was subtracted.
    errors : mapping of str to float, optional
        Standard deviations of x and y of the lens, in arcsec.

    Returns
    -------
    dict of str to float
        By the names in ``LENS_RULES``; NaN for what cannot be measured.
    """
    galaxy = LensGalaxy.of(scene.observation) if galaxy is None else galaxy
    return {
        **of_residuals(scene),
        **of_mapping(scene),
        **of_positive(scene),
        **({} if source is None else of_source(source)),
        **of_galaxy(scene, galaxy, errors),
        **of_front(scene),
        "no_psf": float(scene.observation.psf is None),
        "psf_width": scene.observation.psf_fwhm_arcsec / scene.radius if scene.radius > 0 else math.nan,
    }


def of_positive(scene: Scene) -> dict[str, float]:
    """
    Return chi-square per pixel with light of the best source without negative light.

    Beside it stands its ratio to that of the model, which is below 1 for a right lens: no prior smooths that
    source.
    """
    near = scene.used & scene.observation.bright & (scene.distance < _NEAR)
    outside = near & ~scene.core
    try:
        fit = positive_fit(scene.observation, scene.lens, light=near)
    except (ObservationError, ValueError):  # there is no light, or no source that can give it
        return {"positive_chi2": math.nan, "positive_ratio": math.nan}
    squares = (scene.observation.data - fit.model) ** 2 * scene.observation.weights
    region = outside if outside.any() else near
    positive, free = (float(np.mean(values[region])) for values in (squares, scene.residuals**2))
    return {"positive_chi2": positive, "positive_ratio": positive / free if free > 0 else math.nan}


def of_source(source: np.ndarray) -> dict[str, float]:
    """Return the share of a source's light that is negative."""
    total = float(np.sum(np.abs(source)))
    return {"negative_flux": float(np.sum(np.maximum(-source, 0.0))) / total if total > 0 else math.nan}
