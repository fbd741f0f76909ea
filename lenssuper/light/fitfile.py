"""The FITS file of a fit of Sersics."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time

from lenssuper._utils.files import atomic_write, reading
from lenssuper._utils.version import __version__
from lenssuper.observation.hdus import (
    grid_info,
    image_hdu,
    info_hdu,
    observation_hdus,
    observation_info,
    read_hdus,
    unpack,
)

__all__ = ["read_fit", "write_fit"]

_VERSION = 1
# Attributes of a fit that JSON holds as they are
_PLAIN = ("sky", "n_free", "noise_correlation", "method")


def write_fit(fit, path: str | os.PathLike, overwrite: bool) -> None:
    """Write a SersicFit; the file is complete or not there."""
    grid, unit = fit.observation.grid, fit.observation.unit
    hdus = [
        fits.PrimaryHDU(),
        _table(fit.table),
        image_hdu("MODEL", fit.model_image, grid, unit, "profiles and sky, as observed"),
        image_hdu("RESIDUAL", fit.residual.data, grid, unit, "DATA less MODEL; 0 where not used"),
        fits.ImageHDU(fit.parameters, name="PARAMS"),
        fits.ImageHDU(fit.covariance, name="COVARIANCE"),
        *observation_hdus(fit.observation),
        info_hdu(
            {
                **{name: getattr(fit, name) for name in _PLAIN},
                "messages": list(fit.messages),
                "grid": grid_info(grid),
                **observation_info(fit.observation),
            }
        ),
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


def read_fit(path: str | os.PathLike) -> dict[str, Any]:
    """Return the attributes of a SersicFit that `write_fit` has written, or raise a FileFormatError."""
    path = os.fspath(path)
    with reading(path, "a fit of Sersics"):
        arrays, info = read_hdus(path, "LSSERSIC", _VERSION, "a fit of Sersics")
        return {
            **{name: info[name] for name in _PLAIN},
            "messages": tuple(info["messages"]),
            "observation": unpack(arrays, info, info["grid"]),
            "parameters": arrays["PARAMS"],
            "covariance": arrays["COVARIANCE"],
            "model_image": arrays["MODEL"],
        }
