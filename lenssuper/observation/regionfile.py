"""Masks drawn as regions, in files of DS9."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from lenssuper._utils.files import reading
from lenssuper.exceptions import ObservationError

__all__ = ["is_region_file", "unfit_in_regions"]


def is_region_file(name) -> bool:
    """Return whether a mask is named like a file of regions, ``*.reg``."""
    return isinstance(name, (str, os.PathLike)) and Path(name).suffix.lower() == ".reg"


def unfit_in_regions(path: str | os.PathLike, wcs: WCS | None) -> Callable:
    """
    Return what finds the pixels of a window whose centres lie in the regions of a file.

    Regions are on the sky or in pixels. An excluded one (``-circle(...)``) is fit for use, whatever regions
    before it say. It needs the package regions.
    """
    try:
        from regions import PixCoord, Regions, SkyRegion
    except ImportError:
        raise ImportError(
            f"{os.fspath(path)} is a file of regions, for which the package regions is needed: "
            'pip install "lenssuper[regions]"'
        ) from None
    with reading(path, "a file of regions"):
        found = Regions.read(path, format="ds9")
    if wcs is None and any(isinstance(region, SkyRegion) for region in found):
        raise ObservationError(
            f"{os.fspath(path)} has regions on the sky, and the image has no WCS; "
            "save them in image coordinates"
        )
    shapes = [
        (region.to_pixel(wcs) if isinstance(region, SkyRegion) else region).copy(meta={}) for region in found
    ]
    included = [_is_included(region) for region in found]

    def unfit(window):
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        mask = np.zeros((len(rows), len(columns)), dtype=bool)
        where = PixCoord(*np.meshgrid(columns, rows))
        # shapes without meta: what an excluded region contains is its inside or its outside, by version
        for shape, inside in zip(shapes, included, strict=True):
            mask[shape.contains(where)] = inside
        return mask

    return unfit


def _is_included(region):
    return region.meta.get("include", True) not in (False, 0, "-")
