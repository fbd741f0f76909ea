"""The figure of a lens galaxy that is subtracted."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lenssuper.plotting.images import SIGNED, asinh_norm, label_axes, show_colorbar, show_image
from lenssuper.plotting.marks import unit_label

__all__ = ["plot_foreground"]

# Residuals beyond this many sigma are saturated.
_SIGMAS = 5
# Side of the enlarged centre, as a share of the image.
_MIDDLE = 0.3
_MARGINS = {"left": 0.05, "right": 0.93, "bottom": 0.065, "top": 0.95, "wspace": 0.56, "hspace": 0.25}


def plot_foreground(fit, figure: Figure | None = None) -> Figure:
    """Draw image, galaxy and the image without it above, residuals below; see `ForegroundFit.plot`."""
    figure = Figure(figsize=(14, 8)) if figure is None else figure
    (data, model, without), (arcs, residual, middle) = figure.subplots(2, 3, gridspec_kw=_MARGINS)
    observation, grid = fit.observation, fit.observation.grid
    unused = observation.mask
    observed = np.where(unused, np.nan, observation.data - fit.sky)
    left = np.where(unused, np.nan, observed - fit.light)
    norm = asinh_norm(observed, sigma=float(np.median(observation.sigma[~unused])))
    brightness = f"surface brightness{unit_label(observation.unit)}"
    for ax, image, title in (
        (data, observed, "data"),
        (model, fit.light, "galaxy"),
        (without, left, "without the galaxy"),
    ):
        show_colorbar(ax, show_image(ax, image, grid, norm=norm), brightness, extend="max")
        ax.set_title(title)
    limits = Normalize(-_SIGMAS, _SIGMAS)
    rest = left if fit.source is None else left - fit.source
    with np.errstate(invalid="ignore"):
        pulls = rest / observation.sigma
    for ax, image, title in (
        (arcs, np.where(fit.arcs, np.nan, pulls), "not fitted: hatched"),
        (residual, pulls, "residuals"),
        (middle, pulls, "residuals in the centre"),
    ):
        drawn = show_image(ax, image, grid, norm=limits, cmap=SIGNED)
        show_colorbar(ax, drawn, "(data − model) / σ", extend="both")
        ax.set_title(title)
    _zoom(middle, fit)
    for ax in figure.axes[:6]:
        label_axes(ax, on_sky=grid.reference is not None)
    return figure


def _zoom(ax, fit):
    brightest = np.unravel_index(np.argmax(fit.light), fit.light.shape)
    x, y = fit.observation.grid.to_offset(brightest[1], brightest[0])
    half = 0.5 * _MIDDLE * min(fit.observation.shape) * fit.observation.grid.side_arcsec
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half))
