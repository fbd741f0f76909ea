"""
Pictures of observations, super-resolved lenses and sources.

Everything is drawn in offsets from the reference point, x to the west and y to the north: on the page north
is up and east to the left, however the detector was turned. Figures are made without pyplot, so that nothing
opens a window and nothing has to be closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from matplotlib.patheffects import withStroke

from lenssuper._resolution import psf_fwhm
from lenssuper._units import to_arcsec
from lenssuper.grid import PixelGrid
from lenssuper.result import SuperResolution

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

__all__ = ["asinh_norm", "label_axes", "plot_result", "show_colorbar", "show_curves", "show_image"]

_LIGHT = "inferno"
_SIGNED = "RdBu_r"
_SPREAD = "viridis"
_CURVES = "#7fd4ff"
# Residuals beyond this many sigma are saturated.
_SIGMAS = 4
# In sigma of the noise: where the stretch begins, and where it turns from linear to logarithmic.
_LOWEST, _LINEAR = -2.0, 3.0
# Of the six panels of a result, with room for labels and colour bars.
_MARGINS = {"left": 0.05, "right": 0.93, "bottom": 0.065, "top": 0.96, "wspace": 0.43, "hspace": 0.22}
# White marks with a dark rim show on dark images and on the page around a rotated one.
_OUTLINE = [withStroke(linewidth=2.5, foreground="black")]


def asinh_norm(*images: np.ndarray, sigma: float, highest: float = 99.9) -> AsinhNorm:
    """
    Make one stretch for several images: linear in the noise, logarithmic above it.

    Parameters
    ----------
    *images : ndarray
        Images that are to share a colour bar; NaN are left out.
    sigma : float
        Noise of a pixel; the stretch begins at -2 sigma and turns from linear to logarithmic at 3 sigma.
    highest : float, optional
        Percentile of the brightest of the images that is the end of the scale.

    Returns
    -------
    `~matplotlib.colors.AsinhNorm`
        For all the images.
    """
    top = max((float(np.nanpercentile(image, highest)) for image in images), default=0.0)
    width = _LINEAR * sigma
    return AsinhNorm(linear_width=width, vmin=_LOWEST * sigma, vmax=max(top, 2 * width))


def show_image(
    ax: Axes,
    image: np.ndarray | NDData,
    grid: PixelGrid | None = None,
    *,
    norm: Normalize | None = None,
    cmap: str = _LIGHT,
) -> ScalarMappable:
    """
    Draw an image where its pixels are.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where to draw.
    image : ndarray or `~astropy.nddata.NDData`, shape (ny, nx)
        Pixels that are NaN or masked are hatched.
    grid : PixelGrid, optional
        Where the pixels are; by default the WCS of an NDData tells, with offsets from its centre.
    norm : `~matplotlib.colors.Normalize`, optional
        Stretch; by default linear between the extremes.
    cmap : str, optional
        Name of a colour map.

    Returns
    -------
    `~matplotlib.cm.ScalarMappable`
        For a colour bar.

    Raises
    ------
    TypeError
        If ``image`` is an array and no grid is given.
    ValueError
        If the image has not the shape of the grid.
    """
    values = np.ma.masked_invalid(np.asarray(getattr(image, "data", image), dtype=float))
    if isinstance(image, NDData):
        grid = PixelGrid.from_nddata(image) if grid is None else grid
        if image.mask is not None:
            values = np.ma.array(values, mask=values.mask | image.mask)
    if not isinstance(grid, PixelGrid):
        raise TypeError(f"grid must be a PixelGrid; got {grid!r:.80}")
    if values.shape != grid.shape:
        raise ValueError(f"image must have the shape of the grid, {grid.shape}; got {values.shape}")
    x, y = grid._vertices()
    if values.mask.any():
        _hatch(ax, x, y)
    if _is_upright(grid):
        extent = [x[0, 0], x[-1, -1], y[0, 0], y[-1, -1]]
        drawn = ax.imshow(
            values, origin="lower", extent=extent, norm=norm, cmap=cmap, interpolation="nearest"
        )
    else:
        drawn = ax.pcolormesh(x, y, values, norm=norm, cmap=cmap, rasterized=True)
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
    ax.locator_params(nbins=6)
    return drawn


def _is_upright(grid):
    """Whether rows and columns run along the axes, to a thousandth of a pixel over the grid."""
    ny, nx = grid.shape
    across = np.abs([grid._matrix[0, 1] * ny, grid._matrix[1, 0] * nx])
    return bool(np.all(across < 1e-3 * grid._side))


def _hatch(ax, x, y):
    """Hatch the footprint of a grid, for the image to be drawn on."""
    corners = [(x[i], y[i]) for i in ((0, 0), (0, -1), (-1, -1), (-1, 0))]
    ax.add_patch(Polygon(corners, facecolor="0.85", edgecolor="0.6", hatch="////", linewidth=0, zorder=-1))


def show_curves(ax: Axes, curves: Iterable[u.Quantity], **style) -> list[Artist]:
    """
    Draw critical curves, caustics or cuts.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where to draw; its limits stay.
    curves : iterable of `~astropy.units.Quantity`
        Polylines of shape (N, 2), as `LensModel.critical_curves`, `caustics` and `cuts` give them.
    **style
        For `~matplotlib.axes.Axes.plot`. A ``label`` goes to the first curve.

    Returns
    -------
    list of `~matplotlib.artist.Artist`
    """
    style = {"color": _CURVES, "linewidth": 1.0, **style}
    ax.autoscale(False)
    lines = []
    for curve in curves:
        points = to_arcsec(curve, "curves")
        lines += ax.plot(points[:, 0], points[:, 1], **style)
        style["label"] = None
    return lines


def label_axes(ax: Axes, *, on_sky: bool = True) -> None:
    """Label the axes in arcsec; ``on_sky`` tells that x is to the west and y to the north."""
    ax.set_xlabel("x west (arcsec)" if on_sky else "x (arcsec)", labelpad=2)
    ax.set_ylabel("y north (arcsec)" if on_sky else "y (arcsec)", labelpad=2)


def show_colorbar(ax: Axes, drawn: ScalarMappable, label: str, *, extend: str = "neither") -> None:
    """
    Put a colour bar to the right of an image.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where the image is.
    drawn : `~matplotlib.cm.ScalarMappable`
        What `show_image` returned.
    label : str
        What the colours mean.
    extend : {"neither", "min", "max", "both"}, optional
        The ends beyond which there may be values.
    """
    beside = ax.inset_axes((1.025, 0.0, 0.045, 1.0))  # as high as the image, whatever its aspect
    bar = ax.figure.colorbar(drawn, cax=beside, extend=extend, extendfrac=0.025)
    bar.set_label(label)
    bar.outline.set_linewidth(0.6)
    if isinstance(drawn.norm, AsinhNorm):
        ticks = _asinh_ticks(drawn.norm)
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        bar.minorticks_off()


def _asinh_ticks(norm):
    """Zero, and round numbers along the logarithmic part."""
    lowest, highest = np.log10(norm.linear_width / 2), np.log10(norm.vmax)
    steps = (1,) if highest - lowest > 3 else (1, 3)
    decades = 10.0 ** np.arange(np.floor(lowest), np.ceil(highest) + 1)
    ticks = np.outer(decades, steps).ravel()
    return [0.0, *ticks[(ticks >= 10**lowest) & (ticks <= norm.vmax)]]


def plot_result(result: SuperResolution, figure: Figure | None = None) -> Figure:
    """
    Draw a super-resolution: data, model and residuals above; image, source and its uncertainty below.

    Data, model, image and source share one asinh stretch, as all of them are surface brightness per observed
    pixel. Critical curves are drawn on the image, caustics (solid) and cuts (dashed) on the source.

    Parameters
    ----------
    result : SuperResolution
        What to draw.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw; by default a new one of 14 x 8 inches.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    if not isinstance(result, SuperResolution):
        raise TypeError(f"result must be a SuperResolution; got {result!r:.80}")
    if figure is None:
        figure = Figure(figsize=(14, 8))
    (data, model, residual), (image, source, spread) = figure.subplots(2, 3, gridspec_kw=_MARGINS)
    observation = result.observation
    grid, unit = observation.grid, _unit_label(observation.unit)
    brightness = f"surface brightness{unit}"
    norm = _shared_norm(result)

    observed = np.where(observation.mask, np.nan, observation.data)
    show_colorbar(data, show_image(data, observed, grid, norm=norm), brightness, extend="max")
    show_colorbar(model, show_image(model, result.model.data, grid, norm=norm), brightness, extend="max")
    limits = Normalize(-_SIGMAS, _SIGMAS)
    drawn = show_image(residual, result.residuals, grid, norm=limits, cmap=_SIGNED)
    show_colorbar(residual, drawn, "(data − model) / σ", extend="both")

    fine = result.fine_grid
    show_colorbar(image, show_image(image, result.image.data, fine, norm=norm), brightness, extend="max")
    show_curves(image, result.lens.critical_curves(fine))
    drawn = show_image(source, result.source.data, result.source_grid, norm=norm)
    show_colorbar(source, drawn, brightness, extend="max")
    std = result.posterior.std
    top = Normalize(0, np.nanpercentile(std, 99.9))
    drawn = show_image(spread, std, result.source_grid, norm=top, cmap=_SPREAD)
    show_colorbar(spread, drawn, f"standard deviation{unit}", extend="max")
    for ax, color in ((source, _CURVES), (spread, "white")):
        show_curves(ax, result.lens.caustics(fine), color=color)
        show_curves(ax, result.lens.cuts(), color=color, linestyle="--")

    titles = {
        data: "Data",
        model: "Model",
        residual: "Residual",
        image: "Super-resolved image",
        source: "Source and caustics",
        spread: "Uncertainty of the source",
    }
    for ax, title in titles.items():
        ax.set_title(title)
        label_axes(ax, on_sky=grid.reference is not None)
    for ax in (model, residual, source, spread):
        ax.set_ylabel("")
    for ax in (data, model, residual, image):
        _crop(ax, observation)
    _note(residual, _quality(result))
    if grid.reference is not None:
        _compass(data)
    _beam(data, psf_fwhm(observation) * grid._side)
    return figure


def _shared_norm(result):
    observation = result.observation
    weights = observation.weights[~observation.mask]
    sigma = float(1 / np.sqrt(np.median(weights)))
    return asinh_norm(observation.data, result.image.data, result.source.data, sigma=sigma)


def _crop(ax, observation):
    """Leave out what is all masked around the pixels that are used, but for a margin."""
    rows, columns = np.nonzero(~observation.mask)
    ny, nx = observation.shape
    margin = 1 + 0.03 * max(ny, nx)
    low = np.maximum([columns.min() - margin, rows.min() - margin], -0.5)
    high = np.minimum([columns.max() + margin, rows.max() + margin], [nx - 0.5, ny - 0.5])
    box = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    x, y = observation.grid._to_offset(*box.T)
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))


def _unit_label(unit):
    """The unit of surface brightness; of one that is per solid angle nothing needs to be said of pixels."""
    if unit == u.dimensionless_unscaled:
        return ""
    text = unit.to_string("unicode", fraction="inline").replace(" / ", "/")
    per_angle = any(base.physical_type in ("angle", "solid angle") for base in unit.bases)
    return f" ({text})" if per_angle else f" ({text} per data pixel)"


def _quality(result):
    if np.isnan(result.reduced_chi2):
        return f"χ² per pixel {result.chi2 / result.n_pixels:.2f}"
    return f"reduced χ² {result.reduced_chi2:.2f}"


def _beam(ax, fwhm):
    """A disc as wide as the PSF in the lower left corner."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = left + 0.04 * (right - left) + fwhm / 2, bottom + 0.04 * (top - bottom) + fwhm / 2
    ax.add_patch(Circle((x, y), fwhm / 2, facecolor="white", edgecolor="black", linewidth=0.8))
    name = ax.text(x + fwhm / 2 + 0.02 * (right - left), y, "PSF", color="white", va="center")
    name.set_path_effects(_OUTLINE)


def _note(ax, text):
    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", bbox=box)


def _compass(ax):
    """Arrows to the north and east in the lower right corner."""
    arrow = {"arrowstyle": "<-", "color": "white", "shrinkA": 2, "shrinkB": 0, "path_effects": _OUTLINE}
    for name, dx, dy in (("N", 0.0, 0.13), ("E", -0.13, 0.0)):
        letter = ax.annotate(
            name,
            xy=(0.93, 0.07),
            xytext=(0.93 + dx, 0.07 + dy),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color="white",
            ha="center",
            va="center",
            arrowprops=arrow,
        )
        letter.set_path_effects(_OUTLINE)
