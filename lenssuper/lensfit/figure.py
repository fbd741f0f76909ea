"""The figure of a fitted lens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lenssuper.plotting.images import (
    CURVES,
    SIGNED,
    asinh_norm,
    label_axes,
    show_colorbar,
    show_curves,
    show_image,
)
from lenssuper.plotting.marks import compass, crop, note, unit_label

__all__ = ["plot_lens_fit"]

# Residuals beyond this many sigma are saturated.
_SIGMAS = 4
_MARGINS = {"left": 0.07, "right": 0.9, "bottom": 0.06, "top": 0.96, "wspace": 0.4, "hspace": 0.2}
_ROWS = {"left": 0.03, "right": 0.96, "bottom": 0.06, "top": 0.96, "wspace": 0.4, "hspace": 0.2}


def plot_lens_fit(parts: Sequence, figure: Figure | None = None) -> Figure:
    """
    Draw a fitted lens: data with critical curves, model, residuals, and source with caustics.

    Data, model and source share one asinh stretch, as all of them are surface brightness per observed pixel.
    Foreground that was fitted with the lens is subtracted from data and model.

    Parameters
    ----------
    parts : sequence of LensFit
        The fit as it is for each observation; each of several has a row.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw; by default a new one of 12 x 10 inches, for n observations of 24 x 5 n.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    n = len(parts)
    if n == 1:
        figure = Figure(figsize=(12, 10)) if figure is None else figure
        _draw(parts[0], figure.subplots(2, 2, gridspec_kw=_MARGINS).ravel())
        return figure
    figure = Figure(figsize=(24, 5 * n)) if figure is None else figure
    rows = figure.subplots(n, 4, gridspec_kw=_ROWS)
    for k, (part, axes) in enumerate(zip(parts, rows, strict=True), 1):
        _draw(part, axes)
        axes[0].set_title(f"Observation {k}: {axes[0].get_title()[0].lower()}{axes[0].get_title()[1:]}")
    return figure


def _draw(fit, axes):
    """Draw the fit to one observation on four axes."""
    data, model, residual, source = axes
    observation = fit.observation
    grid = observation.grid
    brightness = f"surface brightness{unit_label(observation.unit)}"
    sigma = float(1 / np.sqrt(np.median(observation.weights[~observation.mask])))
    front = fit.foreground.data
    arcs, modelled = observation.data - front, fit.model.data - front
    norm = asinh_norm(arcs, modelled, fit.source.data, sigma=sigma)

    observed = np.where(observation.mask, np.nan, arcs)
    show_colorbar(data, show_image(data, observed, grid, norm=norm), brightness, extend="max")
    show_curves(data, fit.lens.critical_curves(grid.refine(2)))
    show_colorbar(model, show_image(model, modelled, grid, norm=norm), brightness, extend="max")
    limits = Normalize(-_SIGMAS, _SIGMAS)
    drawn = show_image(residual, fit.residuals, grid, norm=limits, cmap=SIGNED)
    show_colorbar(residual, drawn, "(data − model) / σ", extend="both")
    drawn = show_image(source, fit.source.data, fit.source_grid, norm=norm)
    show_colorbar(source, drawn, brightness, extend="max")
    show_curves(source, fit.lens.caustics(grid.refine(2)), color=CURVES)
    show_curves(source, fit.lens.cuts(), color=CURVES, linestyle="--")

    titles = {
        data: "Data without foreground" if front.any() else "Data and critical curves",
        model: "Model",
        residual: "Residual",
        source: "Source and caustics",
    }
    for ax, title in titles.items():
        ax.set_title(title)
        label_axes(ax, on_sky=grid.reference is not None)
    for ax in (data, model, residual):
        crop(ax, observation)
    note(residual, f"reduced χ² {fit.reduced_chi2:.2f}")
    if fit.judgement is not None:
        note(data, fit.judgement.words)
    if grid.reference is not None:
        compass(data)
