"""Arrays as text that a page can hold: images as grey PNG, coordinates as 16-bit integers."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib.colors import Normalize

__all__ = ["HIDDEN", "as_int16", "as_png", "colours"]

HIDDEN = 255
"""Grey level of a pixel that has no value; the others go from 0 to 254."""


def as_png(image: np.ndarray, norm: Normalize) -> str:
    """Return an image as the data URL of a grey PNG, its first row at the bottom; NaN are `HIDDEN`."""
    from PIL import Image

    scaled = np.clip(np.ma.filled(norm(np.nan_to_num(image)), 0.0), 0, 1)
    levels = np.where(np.isfinite(image), np.rint(scaled * (HIDDEN - 1)), HIDDEN).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels[::-1]).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def as_int16(values: np.ndarray, steps: int) -> str:
    """Return numbers times ``steps`` as 16-bit integers in base64, lowest byte first; beyond is clipped."""
    integers = np.clip(np.rint(np.nan_to_num(values) * steps), -32767, 32767).astype("<i2")
    return base64.b64encode(integers.tobytes()).decode("ascii")


def colours(name: str) -> str:
    """Return a colour map of matplotlib as hexadecimal digits, six for each level from 0 to 254."""
    from matplotlib import colormaps

    table = colormaps[name](np.linspace(0, 1, HIDDEN))[:, :3]
    return np.rint(table * 255).astype(np.uint8).tobytes().hex()
