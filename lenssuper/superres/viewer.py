"""What a page needs to show a super-resolution interactively: images, rays and curves."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from matplotlib.colors import Normalize

from lenssuper.plotting.images import LIGHT, SIGNED, SPREAD
from lenssuper.plotting.marks import unit_label
from lenssuper.plotting.pages import write_view
from lenssuper.plotting.pages.encoding import as_int16, as_png, colours
from lenssuper.superres.figure import shared_norm, smoothed_std
from lenssuper.superres.interpolation import interpolated

__all__ = ["view", "viewer_of"]

# Rays are given at no more than so many points along a side, in so many steps to a source pixel; between them
# the page interpolates.
_POINTS, _STEPS = 129, 16
_SIGMAS = 4


def view(result, path: str | os.PathLike | None, overwrite: bool) -> Path:
    """Write the page on a result; without a path to a temporary file, which the browser opens."""
    if path is not None:
        write_view(viewer_of(result), path, overwrite=overwrite)
        return Path(path)
    page = Path(tempfile.mkdtemp(prefix="lenssuper-")) / "result.html"
    write_view(viewer_of(result), page, title=str(result.observation.meta.get("OBJECT", "lenssuper")))
    webbrowser.open(page.as_uri())
    return page


def viewer_of(result) -> dict[str, Any]:
    """
    Return all that the viewer of a page shows of a super-resolution, ready for JSON.

    Pixels are counted on the fine grid and on the source grid, (0, 0) in the middle of the lower left one.
    """
    observation, fine = result.observation, result.fine_grid
    norm = shared_norm(result)
    std = smoothed_std(result)
    known = np.isfinite(std).any()  # not every solver gives errors
    spread = Normalize(0, float(np.nanpercentile(std, 99.9)) if known else 1.0)
    signed = Normalize(-_SIGMAS, _SIGMAS)
    hidden = observation.mask
    fine_hidden = np.kron(hidden, np.ones((result.factor, result.factor), dtype=bool))
    cubic = interpolated(observation, result.factor)
    return {
        "image": {
            "data": as_png(np.where(hidden, np.nan, observation.data), norm),
            "interpolated": as_png(np.where(fine_hidden, np.nan, cubic), norm),
            "resolved": as_png(result.lensed_image, norm),
            "model": as_png(result.model_image, norm),
            "residual": as_png(result.residuals, signed),
        },
        "source": {
            "source": as_png(result.posterior.mean, norm),
            **({"spread": as_png(std, spread)} if known else {}),
        },
        "imageGrid": _grid(fine, observation.grid),
        "sourceGrid": _grid(result.source_grid, observation.grid),
        "rays": _rays(result),
        "critical": _curves(result.lens.critical_curves(fine), fine),
        "caustics": _curves(result.lens.caustics(fine), result.source_grid),
        "scale": {"low": float(norm.vmin), "high": float(norm.vmax), "linear": float(norm.linear_width)},
        "spread": float(spread.vmax or 0.0),
        "sigmas": _SIGMAS,
        "unit": unit_label(observation.unit).strip(" ()"),
        "colours": {"light": colours(LIGHT), "signed": colours(SIGNED), "spread": colours(SPREAD)},
    }


def _grid(grid, observed):
    """Return the size of a grid, and how pixels become offsets in arcsec; whether x is west and y north."""
    ny, nx = grid.shape
    x0, y0 = grid.to_offset(0.0, 0.0)
    return {
        "nx": nx,
        "ny": ny,
        "origin": [float(x0), float(y0)],
        "matrix": np.asarray(grid.matrix, dtype=float).tolist(),
        "sky": observed.reference is not None,
    }


def _rays(result):
    """Return where in the source plane light comes from, on a coarse mesh over the fine grid."""
    ny, nx = result.fine_grid.shape
    columns = np.linspace(-0.5, nx - 0.5, min(nx + 1, _POINTS))
    rows = np.linspace(-0.5, ny - 0.5, min(ny + 1, _POINTS))
    x, y = result.fine_grid.to_offset(*np.meshgrid(columns, rows))
    beta = result.source_grid.to_pixel(*result.lens.rays_arcsec(x, y))
    return {
        "nx": len(columns),
        "ny": len(rows),
        "steps": _STEPS,
        "column": as_int16(beta[0], _STEPS),
        "row": as_int16(beta[1], _STEPS),
    }


def _curves(curves, grid):
    """Return curves in pixels of a grid, to a hundredth of a pixel."""
    found = []
    for curve in curves:
        points = curve.to_value(u.arcsec)
        found.append(np.round(np.stack(grid.to_pixel(*points.T), axis=1), 2).tolist())
    return found
