"""
Pictures of observations, super-resolved lenses and sources, and of fits to the light of galaxies.

Everything is drawn in offsets from the reference point, x to the west and y to the north: on the page north
is up and east to the left, however the detector was turned. Figures are made without pyplot, so that nothing
opens a window and nothing has to be closed.
"""

from __future__ import annotations

from lenssuper.plotting.images import asinh_norm, label_axes, show_colorbar, show_curves, show_image
from lenssuper.plotting.light import plot_light_fit
from lenssuper.plotting.result import plot_result

__all__ = [
    "asinh_norm",
    "label_axes",
    "plot_light_fit",
    "plot_result",
    "show_colorbar",
    "show_curves",
    "show_image",
]
