"""One lens of a data set, and its three FITS and JSON files: observation, lens and truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from lenssuper._files import atomic_write
from lenssuper._ownfits import grid_info, image_hdu, info_hdu, read_hdus
from lenssuper.exceptions import FileFormatError
from lenssuper.grid import PixelGrid
from lenssuper.lens import LensModel
from lenssuper.observation import Observation, read_observation, write_observation
from lenssuper.simulate.mock import MockLens

__all__ = ["LensItem", "LensTruth", "files_of", "read_lens", "write_lens"]

# Of the files of one lens what follows the name they share; the observation comes last, when it is all there.
ENDINGS = ("_truth.fits", "_lens.json", ".fits")

_LAYOUT_KEY, _LAYOUT = "LSTRUTH", 1


@dataclass(frozen=True, eq=False)
class LensTruth:
    """
    What is behind a simulated observation.

    All images are surface brightness in the unit of the observation per observed pixel; they are kept as
    float32.

    Attributes
    ----------
    image : (factor * ny, factor * nx) ndarray
        The lensed source without PSF and noise, averaged over pixels ``factor`` times finer than the observed
        ones.
    factor : int
    noiseless : (ny, nx) ndarray
        The observation without its noise.
    source : ndarray, shape ``source_grid.shape``
        The source, averaged over the pixels of its grid.
    source_grid : PixelGrid
    lens : LensModel
        What bent the light, with all substructure.
    dark_matter : str
        The class: "none", "cdm" or "vortex", or the label of another.
    """

    image: np.ndarray = field(repr=False)
    factor: int
    noiseless: np.ndarray = field(repr=False)
    source: np.ndarray = field(repr=False)
    source_grid: PixelGrid
    lens: LensModel = field(repr=False)
    dark_matter: str


class LensItem:
    """
    One lens of a `LensDataset`.

    Attributes
    ----------
    name : str
        What its files have in common.
    lens : LensModel
        The lens to work with: of a simulated one that without the substructure, which nobody knows.
    truth : LensTruth or None
        Read when it is asked for; None where there is none.
    """

    def __init__(
        self,
        name: str,
        observation: Observation,
        lens: LensModel,
        read_truth: Callable[[], LensTruth | None],
    ) -> None:
        self.name = name
        self.lens = lens
        self._observation = observation
        self._read_truth = read_truth

    def __repr__(self) -> str:
        return f"LensItem({self.name!r}, {self._observation!r}, lens={self.lens!r})"

    @cached_property
    def observation(self) -> CCDData:
        """Data, uncertainty, mask, PSF and WCS."""
        return self._observation.to_nddata()

    @property
    def grid(self) -> PixelGrid:
        """Where the pixels of the observation are, to the last digit; for ``grid=`` of solvers."""
        return self._observation.grid

    @property
    def psf_oversampling(self) -> int:
        """Number of PSF samples per pixel, along each axis."""
        return self._observation.psf_oversampling

    @property
    def psf_includes_pixel(self) -> bool:
        """Whether the PSF contains the averaging over a pixel."""
        return self._observation.psf_includes_pixel

    @cached_property
    def truth(self) -> LensTruth | None:
        """What is behind the observation, if it is simulated."""
        return self._read_truth()


def files_of(directory: Path, name: str) -> list[Path]:
    """Give the files of one lens: truth, lens and observation."""
    return [directory / f"{name}{ending}" for ending in ENDINGS]


def truth_of(
    mock: MockLens, source_grid: PixelGrid, dark_matter: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the images of the truth, each with its grid, and what is no image, ready for JSON."""
    fine = mock.grid.refine(mock.factor)
    images = {
        "IMAGE": (mock.image(), fine, "lensed source, no PSF, no noise"),
        "MODEL": (mock.noiseless, mock.grid, "observation without noise"),
        "SOURCE": (mock.source_image(source_grid), source_grid, "source plane"),
    }
    info = {
        "factor": mock.factor,
        "source grid": grid_info(source_grid),
        "lens": mock.lens.to_dict(),
        "dark matter": dark_matter,
    }
    return {name: (image.astype(np.float32), *rest) for name, (image, *rest) in images.items()}, info


def unpack_truth(images: dict[str, np.ndarray], info: dict[str, Any]) -> LensTruth:
    """Give back the truth of `truth_of`; the images without their grids."""
    return LensTruth(
        image=np.asarray(images["IMAGE"], dtype=np.float32),
        factor=info["factor"],
        noiseless=np.asarray(images["MODEL"], dtype=np.float32),
        source=np.asarray(images["SOURCE"], dtype=np.float32),
        source_grid=PixelGrid._from_affine(*info["source grid"]),
        lens=LensModel.from_dict(info["lens"]),
        dark_matter=info["dark matter"],
    )


def write_lens(
    mock: MockLens,
    lens: LensModel,
    source_grid: PixelGrid,
    dark_matter: str,
    directory: Path,
    name: str,
    *,
    overwrite: bool,
) -> None:
    """
    Write the files of one lens; when the observation is there, they all are.

    Parameters
    ----------
    mock : MockLens
    lens : LensModel
        What goes beside the observation.
    source_grid : PixelGrid
        For the true source.
    dark_matter : str
        The class.
    directory : Path
    name : str
    overwrite : bool
        Whether files of these names may be replaced.
    """
    truth, model, observed = files_of(directory, name)
    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    images, info = truth_of(mock, source_grid, dark_matter)
    hdus = [
        image_hdu(key, image, grid, observation.unit, what) for key, (image, grid, what) in images.items()
    ]
    hdus = fits.HDUList([fits.PrimaryHDU(), *hdus, info_hdu(info)])
    hdus[0].header[_LAYOUT_KEY] = (_LAYOUT, "layout of a truth of lenssuper")
    hdus[0].header["LSNEXT"] = (len(hdus) - 1, "number of extensions of this file")
    with atomic_write(truth, overwrite=overwrite) as beside:
        hdus.writeto(beside, checksum=True)
    lens.write(model, overwrite=overwrite)
    write_observation(observation, observed, overwrite=overwrite)


def read_lens(directory: Path, name: str) -> LensItem:
    """
    Read one lens; its truth is read when it is asked for.

    Raises
    ------
    FileNotFoundError
        If there is no lens beside the observation.
    FileFormatError
        If a file is damaged; the message names it.
    """
    truth, model, observed = files_of(directory, name)
    observation = read_observation(observed)
    return LensItem(name, observation, _read_model(model, observed), lambda: _read_truth(truth))


def _read_model(path, observed):
    if not path.is_file():
        raise FileNotFoundError(
            f"{observed} has no lens: {path.name} must be beside it, written by lens.write(...) or in the "
            "format of COOLEST"
        )
    try:
        return LensModel.read(path)
    except (ValueError, u.UnitsError) as error:
        if str(path) in str(error):
            raise
        raise FileFormatError(f"{path} is not a lens: {error}") from error


def _read_truth(path):
    if not path.is_file():
        return None
    try:
        arrays, info = read_hdus(str(path), _LAYOUT_KEY, _LAYOUT, "the truth of a lens of lenssuper")
        return unpack_truth(arrays, info)
    except (KeyError, OSError, TypeError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} cannot be read as the truth of a lens: {error}") from error
