"""What a fit of Sersics consists of, and how it is laid out in a FITS file."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time

from lenssuper import __version__
from lenssuper._files import atomic_write
from lenssuper.exceptions import FileFormatError
from lenssuper.grid import PixelGrid
from lenssuper.observation import _DAMAGE, Observation, _fits_header, _sums_agree

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
    info = _info(contents)
    hdus = [
        fits.PrimaryHDU(),
        _table(table),
        _image("MODEL", contents.model, grid, unit, "profiles and sky, as observed"),
        _image("RESIDUAL", residual, grid, unit, "DATA less MODEL; 0 where not used"),
        fits.ImageHDU(contents.parameters, name="PARAMS"),
        fits.ImageHDU(contents.covariance, name="COVARIANCE"),
        _image("DATA", observation.data, grid, unit, "observed; 0 where not used"),
        _image("UNCERT", observation.sigma, grid, unit, "standard deviation of DATA"),
        _image("MASK", observation.mask.astype(np.uint8), grid, None, "1 = not used"),
    ]
    if observation.psf is not None:
        hdus.append(fits.ImageHDU(observation.psf, name="PSFIMAGE"))
    texts = [json.dumps(value) for value in info.values()]
    columns = [
        fits.Column("NAME", f"{max(map(len, info))}A", array=np.array(list(info))),
        fits.Column("JSON", f"{max(map(len, texts))}A", array=np.array(texts)),
    ]
    hdus.append(fits.BinTableHDU.from_columns(columns, name="INFO"))
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


def _image(name, values, grid, unit, comment):
    hdu = fits.ImageHDU(values, name=name)
    hdu.header.comments["EXTNAME"] = comment
    hdu.header.update(grid.wcs.to_header())
    if unit is not None and unit != u.dimensionless_unscaled:
        hdu.header["BUNIT"] = (unit.to_string(), "surface brightness per pixel")
    return hdu


def _info(contents):
    observation = contents.observation
    grid = observation.grid
    return {
        "sky": contents.sky,
        "n_free": contents.n_free,
        "noise_correlation": contents.noise_correlation,
        "method": contents.method,
        "messages": list(contents.messages),
        "grid": [grid.shape, grid._matrix.tolist(), grid._origin.tolist(), grid._reference],
        "unit": observation.unit.to_string(),
        "psf": [observation.psf_oversampling, observation.psf_includes_pixel],
        "header": _fits_header(observation.meta).tostring(sep="\n", endcard=False, padding=False),
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
        return _unpack(*_read_hdus(path))
    except (FileFormatError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise FileFormatError(f"{path} cannot be read as a fit of Sersics: {error}") from error


def _read_hdus(path):
    # Damage is looked for in the warnings afterwards: an error raised inside astropy leaves the file open.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with fits.open(path, memmap=False) as hdus:
            extensions = len(hdus) - 1
            layout, expected = (hdus[0].header.get(key) for key in ("LSSERSIC", "LSNEXT"))
            whole = layout == _VERSION and extensions == expected
            corrupt = [hdu.name for hdu in hdus if whole and not _sums_agree(hdu)]
            arrays, info = {}, {}
            if whole and not corrupt:
                arrays = {hdu.name: hdu.data for hdu in hdus[1:] if hdu.is_image}
                info = {row["NAME"]: json.loads(row["JSON"]) for row in hdus["INFO"].data}
    for warning in caught:
        if str(warning.message).startswith(_DAMAGE):
            raise FileFormatError(f"{path} is damaged: {warning.message}")
    if layout is None:
        raise FileFormatError(f"{path} is a FITS file, but not a fit of Sersics")
    if layout != _VERSION:
        raise FileFormatError(
            f"{path} has layout {layout}, and this version of lenssuper reads layout {_VERSION}"
        )
    if not whole:
        raise FileFormatError(f"{path} is truncated: it has {extensions} extensions of {expected}")
    if corrupt:
        raise FileFormatError(f"{path} is corrupt: the checksum of {', '.join(corrupt)} is wrong")
    return {n: np.array(a, dtype=bool if n == "MASK" else np.float64) for n, a in arrays.items()}, info


def _unpack(arrays, info):
    with np.errstate(divide="ignore"):
        weights = np.where(arrays["MASK"], 0.0, arrays["UNCERT"] ** -2.0)
    psf_oversampling, psf_includes_pixel = info["psf"]
    observation = Observation(
        data=arrays["DATA"],
        weights=weights,
        mask=arrays["MASK"],
        psf=arrays.get("PSFIMAGE"),
        psf_oversampling=psf_oversampling,
        psf_includes_pixel=psf_includes_pixel,
        grid=PixelGrid._from_affine(*info["grid"]),
        unit=u.Unit(info["unit"]),
        meta=fits.Header.fromstring(info["header"], sep="\n"),
    )
    return Contents(
        observation=observation,
        parameters=arrays["PARAMS"],
        sky=info["sky"],
        covariance=arrays["COVARIANCE"],
        model=arrays["MODEL"],
        n_free=info["n_free"],
        noise_correlation=info["noise_correlation"],
        method=info["method"],
        messages=tuple(info["messages"]),
    )
