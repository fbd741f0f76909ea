"""The figure of a search for substructure."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lenssuper.plotting.images import (
    SIGNED,
    SPREAD,
    asinh_norm,
    label_axes,
    show_colorbar,
    show_curves,
    show_image,
)
from lenssuper.plotting.marks import note, unit_label

__all__ = ["plot_substructure"]

# Residuals beyond this many sigma are saturated
_SIGMAS = 4
_MARGINS = {"left": 0.05, "right": 0.91, "bottom": 0.06, "top": 0.95, "wspace": 0.42, "hspace": 0.2}


def plot_substructure(result, figure: Figure | None = None) -> Figure:
    """
    Draw a `SubstructureResult`.

    The upper row shows the data with the critical curves of the lens, the residuals of the smooth lens, and
    the mass that would be seen at 5 sigma; the lower one the significance of a perturber before and after
    the detected clumps are in the lens, and the convergence of the free correction. Crosses mark
    detections, and circles candidates that are not detected.
    """
    figure = Figure(figsize=(17, 10)) if figure is None else figure
    axes = figure.subplots(2, 3, gridspec_kw=_MARGINS)
    data, residual, seen, before, after, free = axes.ravel()
    observation = result.observation
    grid, maps = observation.grid, result.maps
    sigma = float(1 / np.sqrt(np.median(observation.weights[~observation.mask])))
    norm = asinh_norm(observation.data[~observation.mask], sigma=sigma)
    shown = np.where(observation.mask, np.nan, observation.data)
    drawn = show_image(data, shown, grid, norm=norm)
    show_colorbar(data, drawn, f"surface brightness{unit_label(observation.unit)}", extend="max")
    show_curves(data, result.lens.critical_curves(grid.refine(2)))
    limits = Normalize(-_SIGMAS, _SIGMAS)
    drawn = show_image(residual, result.residuals, grid, norm=limits, cmap=SIGNED)
    show_colorbar(residual, drawn, "(data − model) / σ", extend="both")
    top = max(float(np.abs(maps.significance).max()), maps.levels.noise)
    for ax, each in ((before, maps), (after, result.rescan)):
        drawn = show_image(ax, each.significance, each.grid, norm=Normalize(-top, top), cmap=SIGNED)
        show_colorbar(ax, drawn, "amplitude / error")
        note(ax, f"5σ of noise: {each.levels.noise:.1f}; most negative: −{each.levels.negative:.1f}")
    kappa = result.correction.convergence
    most = max(float(np.abs(kappa).max()), 1e-3)
    drawn = show_image(free, kappa, maps.grid, norm=Normalize(-most, most), cmap=SIGNED)
    show_colorbar(free, drawn, "convergence")
    if result.profile.has_mass:
        values = maps.sensitivity(5.0)
        drawn = show_image(seen, values, maps.grid, norm=_masses(values), cmap=SPREAD)
        show_colorbar(seen, drawn, "mass (M☉)")
    else:
        show_colorbar(seen, show_image(seen, maps.sigma, maps.grid, cmap=SPREAD), "multiples of the lens")
    titles = {
        data: "Data and critical curves",
        residual: "Residual of the smooth lens",
        seen: "Mass that would be seen at 5σ" if result.profile.has_mass else "Error of the amplitude",
        before: "Significance of a perturber",
        after: "Significance after the detected clumps",
        free: "Free correction of the smooth lens",
    }
    for ax, title in titles.items():
        ax.set_title(title)
        label_axes(ax, on_sky=grid.reference is not None)
        for each in result.candidates:
            style = {"marker": "x"} if each.detected else {"marker": "o", "fillstyle": "none"}
            ax.plot(each.x, each.y, color="black", markeredgewidth=3.5, markersize=10, **style)
            ax.plot(each.x, each.y, color="#7CFC00", markeredgewidth=1.5, markersize=10, **style)
    return figure


def _masses(values):
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (1e9, 1e10)
    return LogNorm(low, max(high, 1.01 * low))
