"""What a fit of Sersics consists of, and how it is laid out in a FITS file."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.time import Time

from lenssuper._utils.files import atomic_write
from lenssuper._utils.version import __version__
from lenssuper.exceptions import FileFormatError
from lenssuper.observation import Observation
from lenssuper.observation.hdus import (
    grid_info,
    image_hdu,
    info_hdu,
    observation_hdus,
    observation_info,
    read_hdus,
    unpack,
)

__all__ = ["Contents", "read_contents", "write_contents"]

_VERSION = 1


@dataclass(frozen=True, eq=False)
class Contents:
    """
    All that a fit holds; what else it tells is worked out from these.

    Attributes
    ----------
    observation : Observation
    parameters : array, shape (K, 7)
    sky : float
    covariance : array, shape (7 K + 1, 7 K + 1)
        Of six parameters for each profile, then the amplitudes, then the sky.
    model : array, shape (ny, nx)
    n_free : int
    noise_correlation : float
    method : str
    messages : tuple of str
    """

    observation: Observation
    parameters: np.ndarray
    sky: float
    covariance: np.ndarray
    model: np.ndarray
    n_free: int
    noise_correlation: float
    method: str
    messages: tuple[str, ...]

    def __post_init__(self) -> None:
        for values in (self.parameters, self.covariance, self.model):
            values.flags.writeable = False


def write_contents(contents, table, residual, path: str | os.PathLike, overwrite: bool) -> None:
    """Write a fit, whole or not at all."""
    observation = contents.observation
    grid, unit = observation.grid, observation.unit
    hdus = [
        fits.PrimaryHDU(),
        _table(table),
        image_hdu("MODEL", contents.model, grid, unit, "profiles and sky, as observed"),
        image_hdu("RESIDUAL", residual, grid, unit, "DATA less MODEL; 0 where not used"),
        fits.ImageHDU(contents.parameters, name="PARAMS"),
        fits.ImageHDU(contents.covariance, name="COVARIANCE"),
        *observation_hdus(observation),
        info_hdu(_info(contents)),
    ]
    header = hdus[0].header
    header["LSSERSIC"] = (_VERSION, "layout of a lenssuper fit of Sersics")
    header["LSNEXT"] = (len(hdus) - 1, "number of extensions of this file")
    header["CREATOR"] = (f"lenssuper {__version__}", "who wrote this file")
    header["DATE"] = (Time.now().isot, "when (UTC)")
    with atomic_write(path, overwrite=overwrite) as beside:
        fits.HDUList(hdus).writeto(beside, checksum=True)


def _table(table):
    # units such as electron, which FITS does not know, are written as they are
    columns = [
        fits.Column(
            name,
            "D",
            unit=str(getattr(table[name], "unit", None) or "") or None,
            array=np.asarray(table[name], float),
        )
        for name in table.colnames
    ]
    return fits.BinTableHDU.from_columns(columns, name="COMPONENTS")


def _info(contents):
    return {
        "sky": contents.sky,
        "n_free": contents.n_free,
        "noise_correlation": contents.noise_correlation,
        "method": contents.method,
        "messages": list(contents.messages),
        "grid": grid_info(contents.observation.grid),
        **observation_info(contents.observation),
    }


def read_contents(path: str | os.PathLike) -> Contents:
    """
    Read what `write_contents` wrote.

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or something else.
    """
    path = os.fspath(path)
    try:
        return _unpack(*read_hdus(path, "LSSERSIC", _VERSION, "a fit of Sersics"))
    except (FileFormatError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise FileFormatError(f"{path} cannot be read as a fit of Sersics: {error}") from error


def _unpack(arrays, info):
    return Contents(
        observation=unpack(arrays, info, info["grid"]),
        parameters=arrays["PARAMS"],
        sky=info["sky"],
        covariance=arrays["COVARIANCE"],
        model=arrays["MODEL"],
        n_free=info["n_free"],
        noise_correlation=info["noise_correlation"],
        method=info["method"],
        messages=tuple(info["messages"]),
    )
