"""What a super-resolution consists of, and how it is laid out in a FITS file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.time import Time

from lenssuper._utils.files import atomic_write, reading
from lenssuper._utils.version import __version__
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.hdus import (
    grid_info,
    image_hdu,
    info_hdu,
    observation_hdus,
    observation_info,
    read_hdus,
    unpack,
)
from lenssuper.solvers.base import Posterior

__all__ = ["Contents", "read_contents", "write_contents"]

_VERSION = 1

# The maps of a result: extension, attribute, the grid it is on, whether it has the unit of the data, comment.
_IMAGES = (
    ("IMAGE", "image", "fine", True, "lensed image without the PSF"),
    ("IMAGE_ERR", "image_std", "fine", True, "standard deviation of IMAGE"),
    ("MODEL", "model", "observed", True, "what the source looks like as observed"),
    ("RESIDUAL", "residuals", "observed", False, "(data - model) / sigma"),
    ("COVERAGE", "coverage", "source", False, "number of images of a source pixel"),
    ("MAGNIF", "magnification", "source", False, "total magnification"),
    ("RESOLUTN", "resolution", "source", False, "FWHM of the PSF in the source plane, arcsec"),
)
_POSTERIOR = (
    ("SOURCE", "mean", "source before lensing"),
    ("SOURCE_ERR", "std", "standard deviation of SOURCE"),
    ("DRAWS", "draws", "draws of the source from its posterior"),
)
_NUMBERS = ("log_evidence", "effective_modes", "held_out_chi2")


@dataclass(frozen=True, eq=False)
class Contents:
    """
    All that a result holds; what else it tells is worked out from these.

    Attributes
    ----------
    observation : Observation
    lens : LensModel
    factor : int
    source_grid : PixelGrid
    posterior : Posterior
    image, image_std : ndarray, shape (factor ny, factor nx)
        The lensed image of the mean source, and its standard deviation; NaN where it is not known.
    model, residuals : ndarray, shape (ny, nx)
        The mean source as observed, and the data less it over sigma; NaN where a pixel is not used.
    coverage, magnification, resolution : ndarray, shape of the source grid
    solver : str
    messages : tuple of str
    meta : mapping
        What JSON can hold.
    """

    observation: Observation
    lens: LensModel
    factor: int
    source_grid: PixelGrid
    posterior: Posterior
    image: np.ndarray
    image_std: np.ndarray
    model: np.ndarray
    residuals: np.ndarray
    coverage: np.ndarray
    magnification: np.ndarray
    resolution: np.ndarray
    solver: str
    messages: tuple[str, ...]
    meta: Mapping

    def __post_init__(self) -> None:
        for _, name, *_ in _IMAGES:
            getattr(self, name).flags.writeable = False

    @property
    def grids(self) -> dict[str, PixelGrid]:
        """The grids by the names of the table of extensions."""
        observed = self.observation.grid
        return {"observed": observed, "fine": observed.refine(self.factor), "source": self.source_grid}


def write_contents(
    contents: Contents, numbers: Mapping[str, tuple], path: str | os.PathLike, overwrite: bool
) -> None:
    """Write a result, whole or not at all; ``numbers`` are cards (value, comment) for readers of headers."""
    hdus = [_primary(contents, numbers), *_result_hdus(contents), *observation_hdus(contents.observation)]
    hdus.append(info_hdu(_info(contents)))
    hdus[0].header["LSNEXT"] = (len(hdus) - 1, "number of extensions of this file")
    with atomic_write(path, overwrite=overwrite) as beside:
        fits.HDUList(hdus).writeto(beside, checksum=True)


def _primary(contents, numbers):
    primary = fits.PrimaryHDU()
    cards = {
        "LSRESULT": (_VERSION, "layout of a lenssuper result"),
        "CREATOR": (f"lenssuper {__version__}", "who wrote this file"),
        "DATE": (Time.now().isot, "when (UTC)"),
        "SOLVER": (contents.solver, "how the source was found"),
        "FACTOR": (contents.factor, "fine pixels along the side of an observed one"),
        **numbers,
    }
    for key, (value, comment) in cards.items():
        if not (isinstance(value, float) and not math.isfinite(value)):  # FITS has no NaN in its headers
            primary.header[key] = (value, comment)
    return primary


def _result_hdus(contents):
    unit, grids = contents.observation.unit, contents.grids
    for name, attribute, grid, has_unit, comment in _IMAGES:
        yield image_hdu(name, getattr(contents, attribute), grids[grid], unit if has_unit else None, comment)
    for name, attribute, comment in _POSTERIOR:
        yield image_hdu(name, getattr(contents.posterior, attribute), contents.source_grid, unit, comment)


def _info(contents):
    """What is not an image, by name, ready for JSON; the numbers of the grids to the last digit."""
    observation, posterior = contents.observation, contents.posterior
    return {
        "lens": contents.lens.to_dict(),
        "factor": contents.factor,
        "observed_grid": grid_info(observation.grid),
        "source_grid": grid_info(contents.source_grid),
        **observation_info(observation),
        "posterior": {name: _number(getattr(posterior, name)) for name in _NUMBERS},
        "converged": bool(posterior.converged),
        "hyperparameters": {name: _number(value) for name, value in posterior.hyperparameters.items()},
        "solver": contents.solver,
        "messages": list(contents.messages),
        "meta": contents.meta,
    }


def _number(value):
    return None if math.isnan(value) else float(value)


def read_contents(path: str | os.PathLike) -> Contents:
    """
    Read what `write_contents` wrote.

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or something else.
    """
    path = os.fspath(path)
    with reading(path, "a lenssuper result"):
        return _unpack(*read_hdus(path, "LSRESULT", _VERSION, "the result of a super-resolution"))


def _unpack(arrays, info):
    numbers = {name: math.nan if v is None else v for name, v in info["posterior"].items()}
    posterior = Posterior(
        **{attribute: arrays[name] for name, attribute, _ in _POSTERIOR},
        **numbers,
        hyperparameters={k: math.nan if v is None else v for k, v in info["hyperparameters"].items()},
        converged=info["converged"],
    )
    return Contents(
        observation=unpack(arrays, info, info["observed_grid"]),
        lens=LensModel.from_dict(info["lens"]),
        factor=info["factor"],
        source_grid=PixelGrid.from_affine(*info["source_grid"]),
        posterior=posterior,
        **{attribute: arrays[name] for name, attribute, *_ in _IMAGES},
        solver=info["solver"],
        messages=tuple(info["messages"]),
        meta=info["meta"],
    )
