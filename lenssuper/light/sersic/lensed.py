"""Sersic profiles behind a lens, as they appear through the forward model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.render import SersicRenderer

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel
    from lenssuper.observation.grid import PixelGrid

__all__ = ["LensedRenderer", "lensed_components", "lensed_guesses", "profiles_on"]

# Bounds of n, and the least R_e in source pixels.
_N, _SMALLEST = (0.3, 8.0), 0.25
# Pixels above this share of the brightest one of a back-projected image belong to the object.
_BRIGHT = 0.3


class LensedRenderer(SersicRenderer):
    """
    Sersic profiles in the source plane, as observed.

    A column is the forward model applied to the means of a profile over the source pixels, with relative
    errors up to ``tol``. The forward model is linear, so the derivatives of the column are its images of the
    derivatives of these means.
    """

    def __init__(self, model: ForwardModel, components: Components, *, tol: float = 1e-6) -> None:
        self._model, self._tol = model, tol
        self.out_shape = model.out_shape
        self._take(components)

    def columns(self, theta):
        return self._model.forward(profiles_on(self._model.source_grid, self._components, theta))

    def columns_and_derivatives(self, theta):
        grid, images = self._model.source_grid, []
        for k in range(self.n_columns):
            profile, _ = self._components.profile(k, theta, True)
            images.append(self._model.forward(profile(grid.matrix, grid.origin, grid.shape, self._tol)))
        return np.array([i[0] for i in images]), np.concatenate([i[1:] for i in images])


def profiles_on(grid: PixelGrid, components: Components, theta: np.ndarray) -> np.ndarray:
    """Return the means (components.n, ny, nx) of profiles of amplitude one over the pixels of a grid."""
    profiles = (components.profile(k, theta, False)[0] for k in range(components.n))
    return np.concatenate([profile(grid.matrix, grid.origin, grid.shape, 1e-6) for profile in profiles])


def lensed_components(model: ForwardModel, n: int) -> Components:
    """
    Return the free values and bounds of ``n`` profiles on the source grid.

    Centres are on the grid, and R_e is between a quarter of its pixel and half of its diagonal.
    """
    grid = model.source_grid
    x, y = grid.vertices_arcsec()
    size = float(np.hypot(np.ptp(x), np.ptp(y)))
    bounds = {
        "x": (x.min(), x.max()),
        "y": (y.min(), y.max()),
        "R_e": (_SMALLEST * grid.side_arcsec, size / 2),
        "n": _N,
    }
    return Components(n, tuple(grid.middle_arcsec()), size, grid.side_arcsec, bounds=[bounds] * n)


def lensed_guesses(
    model: ForwardModel, image: np.ndarray, weights: np.ndarray, old: np.ndarray | None = None
) -> list[np.ndarray]:
    """
    Guess profiles (6,) of a source from the moments of the bright part of its back-projected image.

    ``image`` (ny, nx) is the light to explain, ``weights`` one over its variance, 0 for pixels that are not
    used. Copies with other sizes of an ``old`` profile, already fitted, are among the guesses.
    """
    x, y, size, q, phi = _moments(model, image, weights)
    if old is None:
        guesses = [[x, y, f * size, n, q, phi] for f, n in ((1.0, 1.0), (0.5, 1.0), (1.0, 3.0))]
    else:
        guesses = [
            [x, y, size, 1.0, q, phi],
            *([*old[:2], f * old[2], 1.0, *old[4:]] for f in (0.15, 0.4, 2.0)),
        ]
    return [np.array(guess) for guess in guesses]


def _moments(model, image, weights):
    """Return centre, half-light radius, q and phi of the brightest part of a back-projected image."""
    grid = model.source_grid
    x, y = (np.broadcast_to(values, grid.shape) for values in grid.centers_arcsec())
    seen = model.adjoint(weights)
    known = seen > 0.02 * seen.max()
    back = np.divide(model.adjoint(weights * image), seen, out=np.zeros_like(seen), where=known)
    back = ndimage.gaussian_filter(back, 1.0)
    light = np.clip(back - _BRIGHT * back.max(), 0, None)
    groups, _ = ndimage.label(light)
    light = np.where(groups == groups.flat[np.argmax(light)], light, 0.0)
    if not light.sum() > 0:
        light = np.ones_like(light)
    light = light / light.sum()
    x0, y0 = np.sum(light * x), np.sum(light * y)
    dx, dy = x - x0, y - y0
    xx, yy, xy = np.sum(light * dx**2), np.sum(light * dy**2), np.sum(light * dx * dy)
    half, split = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    a, b = np.sqrt(half + split), np.sqrt(max(half - split, 0.01 * half))
    # the second moments of the upper 70 per cent of a Gaussian are smaller than its half-light radius
    return x0, y0, 1.5 * np.sqrt(a * b), max(b / a, 0.3), 0.5 * np.arctan2(2 * xy, xx - yy)
