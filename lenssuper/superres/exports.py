"""Results for other codes: lens and source as lenstronomy's models, and as a COOLEST template."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from lenssuper._utils.files import atomic_write
from lenssuper._utils.units import to_number

__all__ = ["source_profile", "to_lenstronomy", "write_coolest"]


def to_lenstronomy(result) -> dict[str, Any]:
    """Return lens and source, an interpolated image, as keyword arguments of lenstronomy's classes."""
    grid, values = result.source_grid, np.array(result.posterior.mean)
    (along_x, _), (along_y, _) = _placed(grid)[0]
    x, y = grid.to_offset(*((n - 1) / 2 for n in reversed(grid.shape)))
    names, kwargs = result.lens.to_lenstronomy()
    source = {
        "image": values,
        "amp": 1.0,
        "center_x": float(x),
        "center_y": float(y),
        "phi_G": float(np.arctan2(along_y, along_x)),
        "scale": grid.side_arcsec,
    }
    return {
        "lens_model_list": names,
        "kwargs_lens": kwargs,
        "source_light_model_list": ["INTERPOL"],
        "kwargs_source": [source],
    }


def write_coolest(
    result,
    path: str | os.PathLike,
    *,
    z_lens: float | None = None,
    z_source: float | None = None,
    overwrite: bool = False,
) -> None:
    """Write a COOLEST template ``*.json``, and the image of the source that it names beside it."""
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"path must end in .json; got {os.fspath(path)!r}")
    pixels = path.with_name(f"{path.stem}_source.fits")
    for file in (path, pixels):
        if file.exists() and not overwrite:
            raise FileExistsError(f"{file} exists; pass overwrite=True to replace it")
    template = result.lens.to_coolest(z_lens=z_lens)
    redshift = None if z_source is None else to_number(z_source, "z_source")
    galaxy: dict[str, Any] = {"type": "Galaxy", "name": "source", "redshift": redshift, "mass_model": []}
    template["lensing_entities"].append(galaxy | {"light_model": [source_profile(result, pixels)]})
    with atomic_write(path, overwrite=True) as beside:
        beside.write_text(json.dumps(template, indent=2) + "\n", encoding="utf-8")


def source_profile(result, path: Path) -> dict[str, Any]:
    """Write the source as a square image, and return the COOLEST profile that names it."""
    grid, values = result.source_grid, np.array(result.posterior.mean)
    ny, nx = values.shape
    side = max(ny, nx)
    # square, as the coolest library exchanges rows and columns
    values = np.pad(values, ((0, side - ny), (0, side - nx)))
    ((dx, turned), (_, dy)), (x, y) = _placed(grid)
    if abs(turned) > 1e-6 * abs(dx):
        raise ValueError("source_grid must not be rotated to be written as COOLEST; leave it out")
    hdu = fits.PrimaryHDU(values)
    with atomic_write(path, overwrite=True) as beside:
        hdu.writeto(beside, checksum=True)
    pixels = {
        "fits_file": {"path": path.name},
        "field_of_view_x": [x - dx / 2, x + (side - 0.5) * dx],
        "field_of_view_y": [y - dy / 2, y + (side - 0.5) * dy],
        "num_pix_x": side,
        "num_pix_y": side,
    }
    return {"type": "PixelatedRegularGrid", "parameters": {"pixels": pixels}}


def _placed(grid):
    """Return the matrix (2, 2) of a grid, and the offset of its first pixel, in arcsec."""
    return grid.matrix, grid.origin
