"""Galaxies in a folder of FITS cutouts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from astropy import units as u

from lenssuper.datasets.galaxies import GalaxySet
from lenssuper.datasets.skynoise import with_noise
from lenssuper.exceptions import ObservationError
from lenssuper.observation import read_observation
from lenssuper.observation.files import read_ccddata
from lenssuper.observation.grid import PixelGrid

__all__ = ["CutoutFolder"]


class CutoutFolder(GalaxySet):
    """
    The galaxies in a folder of FITS files, one to a file, read one at a time.

    Files are in the layout of `~astropy.nddata.CCDData`: the image first, then UNCERT, MASK and PSFIMAGE.

    Parameters
    ----------
    path : str or path-like
        The folder.
    pattern : str, optional
        Which of its files, sorted by name; ``"**/*.fits"`` includes folders within.
    estimate_noise : bool, optional
        Whether images without uncertainty get the scatter of their sky (see `with_noise`); by default they
        are an error.
    pixel_scale : `~astropy.units.Quantity`, optional
        Side of a pixel for images without WCS; by default they are an error.

    Raises
    ------
    NotADirectoryError
        If there is no such folder.
    FileNotFoundError
        If no file in it matches the pattern.
    FileFormatError, ObservationError
        When a galaxy is read whose file is damaged or unusable; the message names the file.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        pattern: str = "*.fits",
        *,
        estimate_noise: bool = False,
        pixel_scale: u.Quantity | None = None,
    ) -> None:
        self._path = Path(path)
        if not self._path.is_dir():
            raise NotADirectoryError(f"path must be a folder; got {os.fspath(path)!r}")
        self._files = tuple(sorted(file for file in self._path.glob(pattern) if file.is_file()))
        if not self._files:
            raise FileNotFoundError(f"no file in {self._path} matches {pattern!r}")
        self._pattern = pattern
        self._estimate_noise = bool(estimate_noise)
        if pixel_scale is not None:
            PixelGrid((1, 1), pixel_scale)  # raises now, and not at the first image without WCS
        self._pixel_scale = pixel_scale
        self._members = np.arange(len(self._files))

    def __repr__(self) -> str:
        return f"CutoutFolder({str(self._path)!r}, {self._pattern!r}): {len(self)} galaxies"

    @property
    def files(self) -> list[Path]:
        """The files of this set."""
        return [self._files[member] for member in self._members]

    def _read(self, member):
        path, grid = self._files[member], None
        if self._estimate_noise or self._pixel_scale is not None:
            image = read_ccddata(path)
            if image.wcs is None and self._pixel_scale is not None:
                grid = PixelGrid(image.shape, self._pixel_scale)
                image.wcs = grid.wcs
            if image.uncertainty is None and self._estimate_noise:
                return _with_noise(image, path)
        return read_observation(path, grid=grid).to_nddata()


def _with_noise(image, path):
    try:
        return with_noise(image)
    except ObservationError as error:
        raise ObservationError(f"{path}: {error}") from error
