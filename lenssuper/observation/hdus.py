"""Parts of the FITS files of lenssuper's results: images, an observation, and a table of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper._utils.files import reading
from lenssuper.exceptions import FileFormatError
from lenssuper.observation.files import fits_header
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.image import Observation
from lenssuper.observation.opening import open_fits

__all__ = [
    "grid_info",
    "image_hdu",
    "info_hdu",
    "observation_hdus",
    "observation_info",
    "read_hdus",
    "unpack",
]


def image_hdu(
    name: str, values: np.ndarray, grid: PixelGrid, unit: u.UnitBase | None, comment: str
) -> fits.ImageHDU:
    """Return an image with the WCS of its grid."""
    hdu = fits.ImageHDU(values, name=name)
    hdu.header.comments["EXTNAME"] = comment
    hdu.header.update(grid.wcs.to_header())
    if unit is not None and unit != u.dimensionless_unscaled:
        hdu.header["BUNIT"] = (unit.to_string(), "surface brightness per observed pixel")
    return hdu


def observation_hdus(observation: Observation) -> Iterator[fits.ImageHDU]:
    """Yield the images of an observation."""
    grid, unit = observation.grid, observation.unit
    yield image_hdu("DATA", observation.data, grid, unit, "observed; 0 where not used")
    yield image_hdu("UNCERT", observation.sigma, grid, unit, "standard deviation of DATA")
    yield image_hdu("MASK", observation.mask.astype(np.uint8), grid, None, "1 = not used")
    if observation.psf is not None:
        yield fits.ImageHDU(observation.psf, name="PSFIMAGE")


def grid_info(grid: PixelGrid) -> list:
    """Return the numbers of a grid to the last digit."""
    return [grid.shape, grid.matrix.tolist(), grid.origin.tolist(), grid._reference]


def observation_info(observation: Observation) -> dict[str, Any]:
    """Return the parts of an observation other than images and grid, ready for JSON."""
    noise = observation.noise_covariance if observation.noise_given is None else observation.noise_given
    return {
        "unit": observation.unit.to_string(),
        "psf": [observation.psf_oversampling, observation.psf_includes_pixel],
        "noise": np.asarray(1.0 if noise is None else noise).tolist(),
        "header": fits_header(observation.meta).tostring(sep="\n", endcard=False, padding=False),
    }


def unpack(arrays: Mapping[str, np.ndarray], info: Mapping[str, Any], grid: list) -> Observation:
    """Return the observation that `observation_hdus`, `observation_info` and `grid_info` wrote, checked."""
    psf, (psf_oversampling, psf_includes_pixel) = arrays.get("PSFIMAGE"), info["psf"]
    noise = info.get("noise")  # None in files of earlier versions: it is measured
    image = CCDData(
        arrays["DATA"],
        unit=u.Unit(info["unit"]),
        uncertainty=StdDevUncertainty(arrays["UNCERT"]),
        mask=arrays["MASK"],
        psf=psf,
        meta=fits.Header.fromstring(info["header"], sep="\n"),
    )
    observation = Observation.from_nddata(
        image,
        grid=PixelGrid.from_affine(*grid),
        psf_oversampling=psf_oversampling,
        psf_includes_pixel=psf_includes_pixel,
    )
    # the PSF to the last digit: it was normalised when it was written
    changes: dict[str, Any] = {} if psf is None else {"psf": psf}
    return replace(observation, noise_given=np.array(noise) if isinstance(noise, list) else noise, **changes)


def info_hdu(info: Mapping[str, Any]) -> fits.BinTableHDU:
    """Return a table of names and JSON values."""
    texts = [json.dumps(value) for value in info.values()]
    columns = [
        fits.Column("NAME", f"{max(map(len, info))}A", array=np.array(list(info))),
        fits.Column("JSON", f"{max(map(len, texts))}A", array=np.array(texts)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="INFO")


def read_hdus(path: str, key: str, version: int, what: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """
    Read the images (by extension) and the table INFO of a file that lenssuper wrote.

    The card ``key`` of the first header holds the version of the layout, which must be ``version``; ``what``
    describes the expected contents in messages. A damaged, truncated or other file is a FileFormatError.
    """
    with reading(path, what), open_fits(path) as hdus:
        layout = hdus[0].header.get(key)
        if layout is None:
            raise FileFormatError(f"{path} is a FITS file, but not {what}")
        if layout != version:
            writer = "an earlier one" if layout < version else "a later one: update lenssuper"
            raise FileFormatError(
                f"{path} has layout {layout}, and this version of lenssuper reads layout {version}; "
                f"it was written by {writer}"
            )
        arrays = {hdu.name: hdu.data for hdu in hdus[1:] if hdu.is_image}
        info = {row["NAME"]: json.loads(row["JSON"]) for row in hdus["INFO"].data}
    native = {name: np.array(a, dtype=bool if name == "MASK" else np.float64) for name, a in arrays.items()}
    return native, info
