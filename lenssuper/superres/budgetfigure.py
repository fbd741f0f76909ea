"""The figure of an error budget."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from lenssuper.plotting.images import SPREAD, show_colorbar
from lenssuper.plotting.marks import unit_label

__all__ = ["plot_budget"]

_COLOURS = ("0.75", "0.45", "C0", "C1", "C2", "C3", "C4")


def plot_budget(budget, figure: Figure | None = None) -> Figure:
    """Draw the error of the image, the part that leads in each pixel, and the shares of all."""
    if figure is None:
        figure = Figure(figsize=(14, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    total = budget.std()
    drawn = left.imshow(total, cmap=SPREAD, norm=Normalize(0, np.percentile(total, 99.9)), origin="lower")
    show_colorbar(left, drawn, f"standard deviation{unit_label(budget.unit)}", extend="max")
    left.set_title("Error of the image, all together")
    n = len(budget.parts)
    colours = ListedColormap([_COLOURS[k % len(_COLOURS)] for k in range(n)])
    first = np.argmax([budget.variances[part][1] for part in budget.parts], axis=0)
    bright = np.where(budget.bright[1], first, np.nan)
    middle.imshow(bright, cmap=colours, norm=BoundaryNorm(np.arange(n + 1) - 0.5, n), origin="lower")
    middle.set_title("What leads, where the image is bright")
    for ax in (left, middle):
        ax.set_xlabel("column of the image")
        ax.set_ylabel("row of the image")
    table, rows = budget.table, np.arange(n)
    for shift, plane, alpha in ((-0.2, "image", 1.0), (0.2, "source", 0.45)):
        shares = 100 * table[f"{plane}_share"][:-1]
        right.barh(rows + shift, shares, 0.4, color=colours.colors, alpha=alpha, label=plane)
        for row, share in zip(rows, shares, strict=True):
            right.annotate(
                f"{plane}, {share:.0f}%",
                (share, row + shift),
                (3, 0),
                textcoords="offset points",
                va="center",
            )
    right.set_yticks(rows, budget.parts)
    right.invert_yaxis()
    right.margins(x=0.4)
    right.set_xlabel("share of the variance of bright pixels (%)")
    right.set_title("Error budget")
    return figure
