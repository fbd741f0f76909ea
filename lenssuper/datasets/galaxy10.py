"""Galaxy10 DECaLS: 17,736 pictures of galaxies in ten classes."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.table import QTable
from astropy.utils.data import CacheMissingWarning, clear_download_cache, download_file, is_url_in_cache

from lenssuper._utils.files import reading
from lenssuper.datasets.galaxies import GalaxySet
from lenssuper.datasets.hdf5files import load_h5py
from lenssuper.datasets.selection import select
from lenssuper.datasets.skynoise import with_noise
from lenssuper.exceptions import FileFormatError
from lenssuper.observation.grid import PixelGrid

__all__ = ["GALAXY10_CLASSES", "Galaxy10"]

GALAXY10_CLASSES = (
    "Disturbed Galaxies",
    "Merging Galaxies",
    "Round Smooth Galaxies",
    "In-between Round Smooth Galaxies",
    "Cigar Shaped Smooth Galaxies",
    "Barred Spiral Galaxies",
    "Unbarred Tight Spiral Galaxies",
    "Unbarred Loose Spiral Galaxies",
    "Edge-on Galaxies without Bulge",
    "Edge-on Galaxies with Bulge",
)

# Where the authors keep the file, and the SHA-256 they publish for it
# (https://astronn.readthedocs.io/en/latest/galaxy10.html).
_URL = "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5"
_MIRROR = "https://astro.utoronto.ca/~hleung/shared/Galaxy10/Galaxy10_DECals.h5"
_SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"

# One number for each galaxy.
_COLUMNS = ("ans", "ra", "dec", "redshift", "pxscale")
_MEAN = "mean"


class Galaxy10(GalaxySet):
    """
    The Galaxy10 DECaLS set, read from its HDF5 file one galaxy at a time.

    ``galaxies[3]`` is a `~astropy.nddata.CCDData` with north up and east to the left, a celestial WCS and, in
    ``meta``, its index in the file, class and redshift. Slices, lists of indices and `by_class` give sets
    without reading images.

    Parameters
    ----------
    path : str or path-like, optional
        The file ``Galaxy10_DECals.h5``, or another of its layout. By default it is downloaded (2.5 GB) into
        the cache of astropy, once, and its checksum is compared with the published one.
    band : str, optional
        The band of the images, one of ``bands``, or "mean" for the mean of all.
    bands : sequence of str, optional
        Names of the bands in the order of the file's last axis: g, r and z as its authors list them. But in a
        colour picture that looks right red, which is z here, comes first, and then the order is
        ``("z", "r", "g")``. The r band is in the middle either way.
    estimate_noise : bool, optional
        Whether images get the scatter of their sky as uncertainty (see `with_noise`), as the file has none
        and fitters need one.
    sha256 : str, optional
        Checksum that the file must have. By default a downloaded file must have the published one, and a
        file given by ``path`` is not checked.
    cache : bool, optional
        Whether a downloaded file is kept in the cache.

    Raises
    ------
    FileFormatError
        If the file is truncated, not HDF5, of another layout, or has another checksum.
    ImportError
        If h5py is not installed.

    Notes
    -----
    The images are the JPEG cutouts of the DESI Legacy Imaging Surveys (Dey et al. 2019, AJ 157, 168), with
    labels of the Galaxy Zoo (Lintott et al. 2011, MNRAS 410, 166; Walmsley et al. 2022, MNRAS 509, 3966),
    put together by H. Leung and J. Bovy. JPEG cutouts have eight bits and a stretch that is not linear: radii
    and indices of a fit describe the picture, not a linear image. In the file the first row is the
    northernmost; here it is the southernmost, as is usual in FITS.
    """

    def __init__(
        self,
        path: str | os.PathLike | None = None,
        *,
        band: str = "r",
        bands: tuple[str, ...] = ("g", "r", "z"),
        estimate_noise: bool = True,
        sha256: str | None = None,
        cache: bool = True,
    ) -> None:
        self._bands = tuple(bands)
        self._channels = self._find_channels(band)
        self._band = band
        self._estimate_noise = bool(estimate_noise)
        self._path = _download(sha256, cache) if path is None else _check_file(Path(path), sha256)
        self._columns = self._read_columns()
        self._members = np.arange(len(self._columns["ans"]))

    def _find_channels(self, band):
        if len(self._bands) != 3 or len(set(self._bands)) != 3:
            raise ValueError(f"bands must be three different names; got {self._bands}")
        if band == _MEAN:
            return slice(None)
        if band not in self._bands:
            raise ValueError(f"band must be one of {(*self._bands, _MEAN)}; got {band!r}")
        position = self._bands.index(band)
        return slice(position, position + 1)

    def _read_columns(self):
        with _open(self._path) as file:
            wrong = _difference(file)
            if wrong:
                raise FileFormatError(f"{self._path} is not Galaxy10: {wrong}")
            self._shape = file["images"].shape[1:3]
            return {name: file[name][()] for name in _COLUMNS}

    def __repr__(self) -> str:
        return f"Galaxy10({str(self._path)!r}, band={self._band!r}): {len(self)} galaxies"

    @property
    def band(self) -> str:
        """The band of the images."""
        return self._band

    @property
    def table(self) -> QTable:
        """Class, position, redshift and pixel scale of each galaxy; ``index`` is that in the file."""
        chosen = {name: values[self._members] for name, values in self._columns.items()}
        return QTable(
            {
                "index": self._members,
                "class": chosen["ans"].astype(int),
                "class_name": np.array(GALAXY10_CLASSES)[chosen["ans"].astype(int)],
                "ra": chosen["ra"] * u.deg,
                "dec": chosen["dec"] * u.deg,
                "redshift": chosen["redshift"],
                "pixel_scale": chosen["pxscale"] * u.arcsec,
            }
        )

    def by_class(self, label: int | str) -> Galaxy10:
        """
        Return the set of the galaxies of one class.

        Parameters
        ----------
        label : int or str
            Number of the class or its name, one of ``GALAXY10_CLASSES``, in upper or lower case.

        Returns
        -------
        Galaxy10
        """
        names = [name.lower() for name in GALAXY10_CLASSES]
        number = names.index(label.lower()) if isinstance(label, str) and label.lower() in names else label
        if isinstance(number, str) or number not in range(len(names)):
            known = ", ".join(f"{i} {name!r}" for i, name in enumerate(GALAXY10_CLASSES))
            raise ValueError(f"label must be one of {known}; got {label!r}")
        return self[self._columns["ans"][self._members] == number]

    def picture(self, index: int) -> np.ndarray:
        """
        Read a galaxy in all bands as stored in the file.

        Parameters
        ----------
        index : int
            Which galaxy of this set.

        Returns
        -------
        (ny, nx, 3) ndarray of uint8
            The first row is the northernmost.
        """
        return self._read_picture(int(self._members[select(index, len(self), "galaxies")]))

    def _read_picture(self, member):
        with reading(self._path, f"Galaxy10, at galaxy {member}"), _open(self._path) as file:
            return file["images"][member]

    def _read(self, member):
        channels = self._read_picture(member)[::-1, :, self._channels]
        data = channels.mean(axis=2) if channels.shape[2] > 1 else np.ascontiguousarray(channels[:, :, 0])
        values = {name: self._columns[name][member].item() for name in _COLUMNS}
        center = SkyCoord(values["ra"] * u.deg, values["dec"] * u.deg)
        try:
            grid = PixelGrid(self._shape, values["pxscale"] * u.arcsec, reference=center)
        except ValueError as error:
            raise FileFormatError(
                f"{self._path}: galaxy {member} has no valid position or pixel scale: {error}"
            ) from error
        redshift = values["redshift"]
        meta = {
            "GALAXY10": member,
            "CLASS": values["ans"],
            "CLASSNAM": GALAXY10_CLASSES[values["ans"]],
            "REDSHIFT": redshift if np.isfinite(redshift) else None,  # a FITS header takes no NaN
            "BAND": self._band,
        }
        image = CCDData(data, unit="", wcs=grid.wcs, meta=meta)
        return with_noise(image) if self._estimate_noise else image


def _difference(file) -> str:
    """Return how a file differs from Galaxy10; an empty text if it does not."""
    missing = [name for name in ("images", *_COLUMNS) if name not in file]
    if missing:
        return f"it has no {', '.join(missing)}; it has {sorted(file)}"
    shape, kind = file["images"].shape, file["images"].dtype
    if len(shape) != 4 or shape[3] != 3 or kind != np.uint8:
        return f"images must be uint8 of shape (N, ny, nx, 3); got {kind} of shape {shape}"
    wrong = [f"{name} is {file[name].shape}" for name in _COLUMNS if file[name].shape != shape[:1]]
    if wrong:
        return f"there are {shape[0]} images, and the shape of {', '.join(wrong)}"
    labels, n = file["ans"][()], len(GALAXY10_CLASSES)
    if np.any((labels < 0) | (labels >= n)):
        return f"classes must be 0 to {n - 1}; got {labels.min()} to {labels.max()}"
    return ""


def _open(path):
    with reading(path, "an HDF5 file"):
        return load_h5py().File(path, "r")


def _download(sha256, cache):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheMissingWarning)  # of the first download ever
        known = is_url_in_cache(_URL)
    path = Path(download_file(_URL, cache=cache, sources=[_URL, _MIRROR]))
    try:
        # what is in the cache was checked when it came
        return path if known and sha256 is None else _check_file(path, sha256 or _SHA256)
    except FileFormatError:
        clear_download_cache(_URL)
        raise


def _check_file(path, sha256):
    if sha256 is None:
        return path
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise FileFormatError(f"{path} must have the SHA-256 {sha256.lower()}; got {found}")
    return path
