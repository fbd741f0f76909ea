"""The figure of a super-resolution."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from lenssuper.plotting.images import (
    CURVES,
    SIGNED,
    SPREAD,
    asinh_norm,
    label_axes,
    show_colorbar,
    show_curves,
    show_image,
)
from lenssuper.plotting.marks import beam, compass, crop, note, unit_label

__all__ = ["plot_result", "shared_norm", "show_spread", "smoothed_std"]

# Residuals beyond this many sigma are saturated.
_SIGMAS = 4
# Standard deviation of the Gaussian that smooths the variance of the source where it is drawn, in its pixels.
_SMOOTHING = 2.0
# Of the six panels of a result, with room for labels and colour bars.
_MARGINS = {"left": 0.05, "right": 0.925, "bottom": 0.065, "top": 0.96, "wspace": 0.5, "hspace": 0.22}


def plot_result(result, figure: Figure | None = None) -> Figure:
    """
    Draw a super-resolution: data, model and residuals above; image, source and its uncertainty below.

    Data, model, image and source share one asinh stretch, as all of them are surface brightness per observed
    pixel. Critical curves are drawn on the image, caustics (solid) and cuts (dashed) on the source.
    """
    if figure is None:
        figure = Figure(figsize=(14, 8))
    (data, model, residual), (image, source, spread) = figure.subplots(2, 3, gridspec_kw=_MARGINS)
    observation = result.observation
    grid, unit = observation.grid, unit_label(observation.unit)
    brightness = f"surface brightness{unit}"
    norm = shared_norm(result)

    observed = np.where(observation.mask, np.nan, observation.data)
    show_colorbar(data, show_image(data, observed, grid, norm=norm), brightness, extend="max")
    show_colorbar(model, show_image(model, result.model.data, grid, norm=norm), brightness, extend="max")
    limits = Normalize(-_SIGMAS, _SIGMAS)
    drawn = show_image(residual, result.residuals, grid, norm=limits, cmap=SIGNED)
    show_colorbar(residual, drawn, "(data − model) / σ", extend="both")

    fine = result.fine_grid
    show_colorbar(image, show_image(image, result.image.data, fine, norm=norm), brightness, extend="max")
    show_curves(image, result.lens.critical_curves(fine))
    drawn = show_image(source, result.source.data, result.source_grid, norm=norm)
    show_colorbar(source, drawn, brightness, extend="max")
    show_spread(spread, result, f"standard deviation{unit}")
    for ax, color in ((source, CURVES), (spread, "white")):
        show_curves(ax, result.lens.caustics(fine), color=color)
        show_curves(ax, result.lens.cuts(), color=color, linestyle="--")

    titles = {
        data: "Data",
        model: "Model",
        residual: "Residual",
        image: "Super-resolved image",
        source: "Source and caustics",
        spread: "Uncertainty of the source (smoothed)",
    }
    for ax, title in titles.items():
        # at a place of its own: matplotlib would draw all labels once more to find it
        ax.set_title(title, y=1.0)
        label_axes(ax, on_sky=grid.reference is not None)
    for ax in (model, residual):
        ax.set_ylabel("")
    for ax in (data, model, residual, image):
        crop(ax, observation)
    note(residual, _quality(result))
    if result.judgement is not None:
        note(data, result.judgement.words)
    if grid.reference is not None:
        compass(data)
    beam(data, observation.psf_fwhm_arcsec)
    return figure


def smoothed_std(result):
    """
    Return the standard deviation of the source as it is drawn, smoothed.

    That of a few dozen draws is itself uncertain by more than a tenth in each pixel, which shows as speckle;
    the variance averaged over neighbours is not. The numbers of the result are not smoothed.
    """
    return np.sqrt(gaussian_filter(result.posterior.std**2, _SMOOTHING, mode="nearest"))


def show_spread(ax, result, label):
    """Draw the standard deviation of the source, smoothed."""
    std = smoothed_std(result)
    top = Normalize(0, np.nanpercentile(std, 99.9))
    drawn = show_image(ax, std, result.source_grid, norm=top, cmap=SPREAD)
    show_colorbar(ax, drawn, label, extend="max")


def shared_norm(result):
    """Return one stretch for data, image and source of a result."""
    observation = result.observation
    weights = observation.weights[~observation.mask]
    sigma = float(1 / np.sqrt(np.median(weights)))
    return asinh_norm(observation.data, result.image.data, result.source.data, sigma=sigma)


def _quality(result):
    if np.isnan(result.reduced_chi2):
        return f"χ² per pixel {result.chi2 / result.n_pixels:.2f}"
    return f"reduced χ² {result.reduced_chi2:.2f}"
