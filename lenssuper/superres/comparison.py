"""A super-resolution beside cubic interpolation, which it has to beat, and the truth of a simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lenssuper.plotting.images import CURVES, SIGNED, label_axes, show_colorbar, show_curves, show_image
from lenssuper.plotting.marks import beam, compass, crop, note, unit_label
from lenssuper.superres.figure import shared_norm, show_spread
from lenssuper.superres.interpolation import interpolated

__all__ = ["Truth", "plot_comparison"]

# Of two rows of panels, with room for labels and colour bars.
_MARGINS = {"left": 0.045, "right": 0.94, "bottom": 0.065, "top": 0.955, "wspace": 0.5, "hspace": 0.2}
# Residuals beyond this many sigma are saturated.
_SIGMAS = 4


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulation knows: the lensed image on the fine grid, and the source on the source grid."""

    image: np.ndarray
    source: np.ndarray


def plot_comparison(result, truth: Truth | None = None, *, figure: Figure | None = None) -> Figure:
    """
    Draw data, interpolation and super-resolution in a row; below residual, source and its uncertainty.

    Parameters
    ----------
    result : SuperResolution
        What to draw.
    truth : Truth, optional
        Adds a column with the true image above the true source.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw; by default a new one.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    columns = 3 if truth is None else 4
    if figure is None:
        figure = Figure(figsize=(4.7 * columns, 8))
    above, below = figure.subplots(2, columns, gridspec_kw=_MARGINS)
    norm, on_sky = shared_norm(result), result.observation.grid.reference is not None
    _image_row(above, result, truth, norm)
    _source_row(below, result, truth, norm)
    for ax in (*above, *below):
        label_axes(ax, on_sky=on_sky)
    for ax in above[1:]:
        ax.set_ylabel("")  # as in the panel at the left
    if on_sky:
        compass(above[0])
    return figure


def _image_row(axes, result, truth, norm):
    """Draw the images: data, interpolation, super-resolution and truth, on one stretch."""
    observation, fine = result.observation, result.fine_grid
    hidden = np.kron(observation.mask, np.ones((result.factor, result.factor), dtype=bool))
    cubic = np.where(hidden, np.nan, interpolated(observation, result.factor))
    panels = [
        ("Data", np.where(observation.mask, np.nan, observation.data), observation.grid),
        ("Cubic interpolation", cubic, fine),
        ("Super-resolved", result.image.data, fine),
    ]
    if truth is not None:
        panels.append(("Truth", truth.image, fine))
    for ax, (title, image, grid) in zip(axes, panels, strict=True):
        drawn = show_image(ax, image, grid, norm=norm)
        show_colorbar(ax, drawn, _unit(result), extend="max")
        ax.set_title(title)
        crop(ax, observation)
    beam(axes[0], observation.psf_fwhm_arcsec)


def _source_row(axes, result, truth, norm):
    """Draw what is behind: residual, source, true source and uncertainty."""
    observation, fine = result.observation, result.fine_grid
    residual, source, *others = axes
    limits = Normalize(-_SIGMAS, _SIGMAS)
    drawn = show_image(residual, result.residuals, observation.grid, norm=limits, cmap=SIGNED)
    show_colorbar(residual, drawn, "(data − model) / σ", extend="both")
    residual.set_title("Residual")
    crop(residual, observation)
    note(residual, f"χ² per pixel {result.chi2 / result.n_pixels:.2f}")
    pairs = [(source, "Source", result.source.data)]
    if truth is not None:
        # the true source stands below the true image
        pairs.append((others.pop(), "True source", truth.source))
    for ax, title, image in pairs:
        drawn = show_image(ax, image, result.source_grid, norm=norm)
        show_colorbar(ax, drawn, _unit(result), extend="max")
        ax.set_title(title)
        show_curves(ax, result.lens.caustics(fine), color=CURVES)
    (spread,) = others
    show_spread(spread, result, _unit(result))
    spread.set_title("Uncertainty of the source (smoothed)")
    show_curves(spread, result.lens.caustics(fine), color="white")


def _unit(result):
    """Return the unit of surface brightness; the titles say what it is of."""
    return unit_label(result.observation.unit).strip(" ()") or "surface brightness"
