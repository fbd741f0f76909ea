"""One image: where its pixels are, with which colours, and what lies on top of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.patches import Polygon

from lenssuper._utils.checks import check_kind
from lenssuper._utils.units import to_arcsec
from lenssuper.observation.grid import PixelGrid

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

__all__ = ["asinh_norm", "label_axes", "show_colorbar", "show_curves", "show_image"]

LIGHT = "inferno"
SIGNED = "RdBu_r"
SPREAD = "viridis"
CURVES = "#7fd4ff"
# In sigma of the noise: where the stretch begins, and where it turns from linear to logarithmic.
_LOWEST, _LINEAR = -2.0, 3.0


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
    cmap: str = LIGHT,
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
    grid = check_kind(grid, "grid", PixelGrid)
    if values.shape != grid.shape:
        raise ValueError(f"image must have the shape of the grid, {grid.shape}; got {values.shape}")
    x, y = grid.vertices_arcsec()
    if values.mask.any():
        _hatch(ax, x, y)
    if _is_upright(grid):
        extent = (x[0, 0], x[-1, -1], y[0, 0], y[-1, -1])
        drawn: Any = ax.imshow(
            values, origin="lower", extent=extent, norm=norm, cmap=cmap, interpolation="nearest"
        )
    else:
        drawn = ax.pcolormesh(x, y, values, norm=norm, cmap=cmap, rasterized=True)
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
    ax.locator_params(nbins=6)
    return drawn


def _is_upright(grid):
    """Check whether rows and columns run along the axes, to a thousandth of a pixel over the grid."""
    ny, nx = grid.shape
    across = np.abs([grid.matrix[0, 1] * ny, grid.matrix[1, 0] * nx])
    return bool(np.all(across < 1e-3 * grid.side_arcsec))


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
    style = {"color": CURVES, "linewidth": 1.0, **style}
    ax.autoscale(False)
    lines: list[Artist] = []
    for curve in curves:
        points = np.asarray(to_arcsec(curve, "curves"))
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
    """Return zero, and round numbers along the logarithmic part."""
    lowest, highest = np.log10(norm.linear_width / 2), np.log10(norm.vmax)
    steps = (1,) if highest - lowest > 3 else (1, 3)
    decades = 10.0 ** np.arange(np.floor(lowest), np.ceil(highest) + 1)
    ticks = np.outer(decades, steps).ravel()
    return [0.0, *ticks[(ticks >= 10**lowest) & (ticks <= norm.vmax)]]
