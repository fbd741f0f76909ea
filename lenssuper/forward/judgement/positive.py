"""
The best source without negative light behind a lens, found in a fraction of a second.

A source that may be negative explains almost any data with almost any lens; one that may not is a strict
test, as each part of it appears in all of its images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from lenssuper._utils.units import arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators import SplineSampling

__all__ = ["PositiveFit", "grid_of_light", "positive_fit"]

# Nodes of the source along the side of an observed pixel, and the most of them in all
_FINER, _MOST = 3.0, 4000
# Percentage of the light, at each end, outside of the grid before a margin is added, and that margin as a
# share of half of the size
_OUTLIERS, _MARGIN = 0.5, 0.3
# Chi-square does not fall by more than 1% after so many steps, on mocks of S/N 20 to 60
_STEPS = 60


@dataclass(frozen=True, eq=False)
class PositiveFit:
    """The best source without negative light."""

    source: np.ndarray  # coefficients of B-splines, 0 or more
    grid: PixelGrid  # their nodes
    model: np.ndarray  # (ny, nx), as observed


def positive_fit(
    observation: Observation, lens: LensModel, *, light: np.ndarray | None = None, steps: int = _STEPS
) -> PositiveFit:
    """
    Fit a source without negative light behind a lens.

    The source is a sum of cubic B-splines with coefficients of 0 or more, which fit best by least squares; no
    prior smooths it, as positivity holds the noise. The steps are those of L-BFGS-B (Byrd, Lu, Nocedal & Zhu
    1995, SIAM J. Sci. Comput. 16, 1190), in units in which the curvature is about the same along each.

    Parameters
    ----------
    observation : Observation
        Of the arcs, without the light of the lens.
    lens : LensModel
    light : array of bool, shape (ny, nx), optional
        Pixels in which arcs are seen, by default `~lenssuper.Observation.bright`: the source covers where
        they are traced to.
    steps : int, optional

    Returns
    -------
    PositiveFit

    Raises
    ------
    ObservationError
        If there is no light, or the lens takes it nowhere.
    """
    light = observation.bright if light is None else light
    grid = grid_of_light(observation, lens, light)
    model = ForwardModel(observation, lens, source_grid=grid, lensing=SplineSampling)
    weights = observation.weights
    curvature = model.adjoint(weights * model.forward(np.ones(grid.shape)))
    unit = 1 / np.sqrt(np.maximum(curvature, 1e-3 * curvature.max()))

    def cost(values):
        residual = model.forward(unit * values.reshape(grid.shape)) - observation.data
        gradient = unit * model.adjoint(weights * residual)
        return 0.5 * float(np.sum(weights * residual**2)), gradient.ravel()

    found = minimize(
        cost,
        np.zeros(unit.size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * unit.size,
        options={"maxiter": steps, "maxcor": 20},
    )
    source = unit * found.x.reshape(grid.shape)
    return PositiveFit(source, grid, model.forward(source))


def grid_of_light(observation: Observation, lens: LensModel, light: np.ndarray) -> PixelGrid:
    """
    Return the pixels of a source plane that cover where a lens takes the pixels of a mask (ny, nx).

    Raise an ObservationError if there are none, or the lens takes them nowhere.
    """
    if not light.any():
        raise ObservationError("no pixel of the observation is significantly above the noise")
    x, y = np.broadcast_arrays(*observation.grid.centers_arcsec())
    beta = np.stack(lens.rays_arcsec(x[light], y[light]))
    beta = beta[:, np.isfinite(beta).all(axis=0)]
    if not beta.size:
        raise ObservationError("the lens deflects no pixel with light to a finite position")
    low, high = np.percentile(beta, [_OUTLIERS, 100 - _OUTLIERS], axis=1)
    side = observation.grid.side_arcsec
    margin = max(_MARGIN * float(np.max(high - low)) / 2, 2 * side)
    low, high = low - margin, high + margin
    scale = max(side / _FINER, float(np.sqrt(np.prod(high - low) / _MOST)))
    nx, ny = np.ceil((high - low) / scale).astype(int)
    center, reference = arcsec((low + high) / 2), observation.grid.reference
    return PixelGrid((int(ny), int(nx)), arcsec(scale), center=center, reference=reference)
