"""
Pictures of images on the sky, the marks on them, and pages of many.

Everything is drawn in offsets from the reference point, x to the west and y to the north: on the page north
is up and east to the left, however the detector was turned. Figures are made without pyplot, so that nothing
opens a window and nothing has to be closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenssuper._utils.lazy import lazy

if TYPE_CHECKING:
    from lenssuper.plotting.images import asinh_norm, label_axes, show_colorbar, show_curves, show_image

__all__ = [
    "asinh_norm",
    "label_axes",
    "show_colorbar",
    "show_curves",
    "show_image",
]

# All results import modules of this package: matplotlib, half a second, is loaded with the first picture
__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, "images"))
