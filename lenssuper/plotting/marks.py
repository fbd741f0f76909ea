"""Marks that the figures of this package share: scale of the PSF, compass, notes, names of units."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

__all__ = ["beam", "compass", "crop", "note", "unit_label"]

# White marks with a dark rim show on dark images and on the page around a rotated one.
_OUTLINE = [withStroke(linewidth=2.5, foreground="black")]


def crop(ax, observation):
    """Limit the axes to the pixels that are used, with a margin."""
    rows, columns = np.nonzero(~observation.mask)
    ny, nx = observation.shape
    margin = 1 + 0.03 * max(ny, nx)
    low = np.maximum([columns.min() - margin, rows.min() - margin], -0.5)
    high = np.minimum([columns.max() + margin, rows.max() + margin], [nx - 0.5, ny - 0.5])
    box = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    x, y = observation.grid.to_offset(*box.T)
    ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))


def unit_label(unit):
    """Return the unit of surface brightness for a label; per data pixel, unless it is per solid angle."""
    if unit == u.dimensionless_unscaled:
        return ""
    text = unit.to_string("unicode", fraction="inline").replace(" / ", "/")
    per_angle = any(base.physical_type in ("angle", "solid angle") for base in unit.bases)
    return f" ({text})" if per_angle else f" ({text} per data pixel)"


def beam(ax, fwhm):
    """Draw a disc as wide as the PSF in the lower left corner."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = left + 0.04 * (right - left) + fwhm / 2, bottom + 0.04 * (top - bottom) + fwhm / 2
    ax.add_patch(Circle((x, y), fwhm / 2, facecolor="white", edgecolor="black", linewidth=0.8))
    name = ax.text(x + fwhm / 2 + 0.02 * (right - left), y, "PSF", color="white", va="center")
    name.set_path_effects(_OUTLINE)


def note(ax, text):
    """Write a line in the upper left corner."""
    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", bbox=box)


def compass(ax):
    """Draw arrows to the north and east in the lower right corner."""
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
