"""The figure of a fit to the light of a galaxy."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lenssuper.plotting.images import SIGNED, asinh_norm, label_axes, show_colorbar, show_image
from lenssuper.plotting.marks import beam, compass, crop, note, unit_label

__all__ = ["plot_light_fit"]

# Residuals beyond this many sigma are saturated.
_SIGMAS = 4
# Share of a ring that must be in the image for the ring to be in the profile.
_LEAST = 0.3
_MARGINS = {"left": 0.05, "right": 0.945, "bottom": 0.075, "top": 0.955, "wspace": 0.43, "hspace": 0.27}
_MODEL, _DATA = "#d62728", "0.15"


def plot_light_fit(fit, figure: Figure | None = None) -> Figure:
    """
    Draw data, model and residuals of a fit to a galaxy above; its radial profile and numbers below.

    Data and model share one asinh stretch. The profile is the mean, without the sky, over elliptical rings
    in the shape of the component with the most light; the error bars are one standard deviation of that mean,
    and model and components, blurred by the PSF, are averaged over the same pixels.
    """
    figure = Figure(figsize=(14, 8)) if figure is None else figure
    layout = figure.add_gridspec(2, 3, **_MARGINS)
    _draw_images(fit, [figure.add_subplot(layout[0, i]) for i in range(3)])
    below = layout[1, :2].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.06)
    profile = figure.add_subplot(below[0])
    _draw_profile(fit, profile, figure.add_subplot(below[1], sharex=profile))
    _draw_numbers(fit, figure.add_subplot(layout[1, 2]))
    return figure


def _draw_images(fit, axes):
    data, model, residual = axes
    observation = fit.observation
    grid = observation.grid
    brightness = f"surface brightness{unit_label(observation.unit)}"
    observed = np.where(observation.mask, np.nan, observation.data)
    sigma = float(np.median(observation.sigma[~observation.mask]))
    norm = asinh_norm(observed - fit.sky, fit.model.data - fit.sky, sigma=sigma)
    for ax, image in ((data, observed), (model, fit.model.data)):
        drawn = show_image(ax, image - fit.sky, grid, norm=norm)
        show_colorbar(ax, drawn, brightness, extend="max")
    scaled = np.where(observation.mask, np.nan, fit.residual.data / observation.sigma)
    drawn = show_image(residual, scaled, grid, norm=Normalize(-_SIGMAS, _SIGMAS), cmap=SIGNED)
    show_colorbar(residual, drawn, "(data − model) / σ", extend="both")
    for ax, title in ((data, "Data less sky"), (model, "Model"), (residual, "Residual")):
        ax.set_title(title)
        label_axes(ax, on_sky=grid.reference is not None)
        crop(ax, observation)
    model.set_ylabel("")
    residual.set_ylabel("")
    note(residual, f"reduced χ² {fit.reduced_chi2:.2f}")
    if grid.reference is not None:
        compass(data)
    if observation.psf is not None:
        beam(data, observation.psf_fwhm_arcsec)


def _draw_profile(fit, ax, below):
    radius = _radius(fit)
    used = ~fit.observation.mask
    side = fit.observation.grid.side_arcsec
    edges = _edges(radius[used], side)
    ring = np.where(used, np.digitize(radius, edges) - 1, -1)
    whole = np.pi * np.diff(edges**2) / side**2  # pixels of a ring that is not cut off by the edge
    filled = [i for i, area in enumerate(whole) if np.sum(ring == i) > _LEAST * area]

    def mean(image):
        return np.array([image[ring == i].mean() for i in filled])

    sigma = np.where(used, fit.observation.sigma, 0.0)
    error = np.array([np.sqrt(np.sum(sigma[ring == i] ** 2)) / np.sum(ring == i) for i in filled])
    r, data, model = mean(radius), mean(fit.observation.data) - fit.sky, mean(fit.model.data) - fit.sky
    for image, color in zip(fit.component_images(), _colors(fit), strict=True):
        ax.plot(r, mean(image), color=color, linewidth=1.2)
    ax.plot(r, model, color=_MODEL, linewidth=1.6, label="model")
    style = {"fmt": "o", "color": _DATA, "markersize": 3.5, "linewidth": 1.0, "zorder": 5}
    ax.errorbar(r, data, error, label="data", **style)
    ax.set(xscale="log", yscale="log", title="Profile")
    ax.set_ylim(max(0.5 * error[-1], 1e-6 * data.max()), 2 * max(data.max(), model.max()))
    ax.set_ylabel(f"less sky{unit_label(fit.observation.unit)}")
    ax.tick_params(labelbottom=False, which="both")
    ax.legend(loc="upper right", frameon=False)
    if fit.observation.psf is not None:
        half = fit.observation.psf_fwhm_arcsec / 2
        ax.axvline(half, color="0.6", linestyle=":", linewidth=1)
        ax.text(half, 0.04, " PSF", color="0.5", transform=ax.get_xaxis_transform())
    below.axhline(0, color=_MODEL, linewidth=1.2)
    percent = 100 * (data - model) / np.abs(model)
    below.errorbar(r, percent, 100 * error / np.abs(model), **style)
    limit = np.clip(1.3 * np.percentile(np.abs(percent), 90), 5, 60)
    below.set(ylim=(-limit, limit), xlabel="radius (arcsec)", ylabel="residual (%)")
    below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _radius(fit):
    """Return the elliptical radius of each pixel in the shape of the component with the most light."""
    row = fit.table[int(np.argmax(fit.table["flux"]))]
    x, y = fit.observation.grid.centers_arcsec()
    dx, dy = x - row["x"].to_value("arcsec"), y - row["y"].to_value("arcsec")
    phi, q = row["phi"].to_value("rad"), float(row["q"])
    a, b = dx * np.cos(phi) + dy * np.sin(phi), dy * np.cos(phi) - dx * np.sin(phi)
    return np.sqrt(q * a**2 + b**2 / q)


def _edges(radius, side):
    """Return the edges of rings a pixel wide at the centre, and further out in equal steps of log radius."""
    edges, largest = [0.0, 0.7 * side], radius.max() * (1 + 1e-9)
    while edges[-1] < largest:
        edges.append(edges[-1] + max(side, 0.16 * edges[-1]))
    return np.array(edges)


def _colors(fit):
    return [f"C{i}" for i in range(len(fit.table))]


# Columns of the table: name, heading, unit, decimals.
_COLUMNS = (
    ("R_e", "$R_e$ (″)", "arcsec", 3),
    ("n", "$n$", "", 2),
    ("q", "$q$", "", 3),
    ("phi", "φ (°)", "deg", 1),
)
_COLUMN_X = (0.12, 0.36, 0.56, 0.74, 0.94)


def _draw_numbers(fit, ax):
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.text(0.0, 1.0, f"χ² {fit.chi2:.0f}    BIC {fit.bic:.0f}    R² {fit.r2:.4f}", va="top")
    ax.text(0.0, 0.91, f"sky {fit.sky:.3g}{unit_label(fit.observation.unit)}", va="top")
    for x, heading in zip(_COLUMN_X, [*(heading for _, heading, *_ in _COLUMNS), "flux"], strict=True):
        ax.text(x, 0.8, heading, va="top", color="0.4")
    flux = np.asarray(fit.table["flux"], dtype=float)
    step = min(0.15, 0.72 / len(flux))
    for i, (row, color) in enumerate(zip(fit.table, _colors(fit), strict=True)):
        top = 0.7 - step * i
        ax.plot([0.0, 0.07], [top - 0.03] * 2, color=color, linewidth=2.5)
        for x, (name, _, unit, decimals) in zip(_COLUMN_X, _COLUMNS, strict=False):
            value, error = (_plain(row[key], unit) for key in (name, f"{name}_err"))
            ax.text(x, top, f"{value:.{decimals}f}", va="top")
            if np.isfinite(error):
                text = f"± {error:.{decimals}f}"
                ax.text(x, top - 0.47 * step, text, va="top", color="0.4", fontsize="small")
        ax.text(_COLUMN_X[-1], top, f"{100 * flux[i] / flux.sum():.0f}%", va="top")


def _plain(value, unit):
    return float(value.to_value(unit) if unit else value)
