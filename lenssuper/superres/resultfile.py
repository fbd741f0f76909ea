"""The FITS file of a super-resolution: its layout, written from a result and read as fields of one."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time

from lenssuper._utils.checks import check_count
from lenssuper._utils.files import atomic_write, reading
from lenssuper._utils.version import __version__
from lenssuper.forward.judgement import Verdict
from lenssuper.lens import LensModel
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
from lenssuper.superres.drawnerrors import DrawnErrors

__all__ = ["read_fields", "write_result"]

_VERSION = 1

# Images of a result: extension, attribute, its grid, whether it has the unit of the data, comment.
_IMAGES = (
    ("IMAGE", "lensed_image", "fine", True, "lensed image without the PSF"),
    ("IMAGE_ERR", "lensed_std", "fine", True, "standard deviation of IMAGE"),
    ("MODEL", "model_image", "observed", True, "the source as observed"),
    ("RESIDUAL", "residuals", "observed", False, "(data - model) / sigma"),
    ("COVERAGE", "coverage", "source", False, "number of images of a source pixel"),
    ("MAGNIF", "magnification", "source", False, "total magnification"),
    ("RESOLUTN", "resolution_arcsec", "source", False, "FWHM of the PSF in the source plane, arcsec"),
)
_POSTERIOR = (
    ("SOURCE", "mean", "source before lensing"),
    ("SOURCE_ERR", "std", "standard deviation of SOURCE"),
    ("DRAWS", "draws", "draws of the source from its posterior"),
)
# Of each draw over an error budget, and of the source without it.
_BY_NOISE, _IMAGES_DRAWN, _CHANGES, _SHARES = "NOISEERR", "IMDRAWS", "CHANGES", "SHARES"
_NUMBERS = ("log_evidence", "effective_modes", "held_out_chi2")


def write_result(result, numbers: Mapping[str, tuple], path: str | os.PathLike, overwrite: bool) -> None:
    """Write a `SuperResolution`, whole or not at all, with cards (value, comment) for its first header."""
    hdus = [_primary(result, numbers), *_result_hdus(result), *observation_hdus(result.observation)]
    hdus.append(info_hdu(_info(result)))
    hdus[0].header["LSNEXT"] = (len(hdus) - 1, "number of extensions of this file")
    with atomic_write(path, overwrite=overwrite) as beside:
        fits.HDUList(hdus).writeto(beside, checksum=True)


def _primary(result, numbers):
    primary = fits.PrimaryHDU()
    cards = {
        "LSRESULT": (_VERSION, "layout of a lenssuper result"),
        "CREATOR": (f"lenssuper {__version__}", "who wrote this file"),
        "DATE": (Time.now().isot, "when (UTC)"),
        "SOLVER": (result.solver, "how the source was found"),
        "FACTOR": (result.factor, "fine pixels along the side of an observed one"),
        "VERDICT": (result.verdict or "none", "trusted, look or wrong; none if not judged"),
        **numbers,
    }
    for key, (value, comment) in cards.items():
        if not (isinstance(value, float) and not math.isfinite(value)):  # FITS has no NaN in its headers
            primary.header[key] = (value, comment)
    return primary


def _result_hdus(result):
    unit = result.observation.unit
    grids = {"observed": result.observation.grid, "fine": result.fine_grid, "source": result.source_grid}
    for name, attribute, grid, has_unit, comment in _IMAGES:
        yield image_hdu(name, getattr(result, attribute), grids[grid], unit if has_unit else None, comment)
    for name, attribute, comment in _POSTERIOR:
        yield image_hdu(name, getattr(result.posterior, attribute), result.source_grid, unit, comment)
    drawn, of_noise = result.drawn_errors, "standard deviation of SOURCE by noise and prior"
    if drawn is None:
        return
    yield image_hdu(_BY_NOISE, drawn.source_std, result.source_grid, unit, of_noise)
    images = drawn.images.astype(np.float32)  # by far the largest part of the file
    yield image_hdu(_IMAGES_DRAWN, images, grids["fine"], unit, "draws of the lensed image")
    if drawn.pairs:  # FITS has no images without pixels
        yield image_hdu(_CHANGES, drawn.sources, result.source_grid, unit, "of SOURCE by each error")
        yield fits.ImageHDU(drawn.shares, name=_SHARES)


def _info(result):
    """Return what is not an image, by name, ready for JSON; the numbers of grids to the last digit."""
    observation, posterior = result.observation, result.posterior
    return {
        "lens": result.lens.to_dict(),
        "factor": result.factor,
        "observed_grid": grid_info(observation.grid),
        "source_grid": grid_info(result.source_grid),
        **observation_info(observation),
        "posterior": {name: _number(getattr(posterior, name)) for name in _NUMBERS},
        "converged": bool(posterior.converged),
        "hyperparameters": {name: _number(value) for name, value in posterior.hyperparameters.items()},
        "solver": result.solver,
        "order": result.order,
        "messages": list(result.messages),
        "meta": result.meta,
        "judgement": None if result.judgement is None else result.judgement.to_dict(),
        "lens_errors": _pairs(result.drawn_errors),
    }


def _pairs(drawn):
    """Return the lens with each of its errors to either side, of a result over an error budget."""
    if drawn is None:
        return None
    return [None if pair is None else [lens.to_dict() for lens in pair] for pair in drawn.pairs]


def _number(value):
    return None if math.isnan(value) else float(value)


def read_fields(path: str | os.PathLike) -> dict[str, Any]:
    """Read the fields of a `SuperResolution` that `write_result` wrote."""
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
    fields = {
        "observation": unpack(arrays, info, info["observed_grid"]),
        "lens": LensModel.from_dict(info["lens"]),
        "factor": check_count(info["factor"], "the factor", 1),
        "source_grid": PixelGrid.from_affine(*info["source_grid"]),
        "posterior": posterior,
        **{attribute: arrays[name] for name, attribute, *_ in _IMAGES if name != "RESOLUTN"},
        "solver": info["solver"],
        "order": check_count(info.get("order", 0), "the order", 0),
        "messages": tuple(info["messages"]),
        "meta": info["meta"],
        "judgement": Verdict.from_dict(info["judgement"]) if info.get("judgement") else None,
        "drawn_errors": _drawn_errors(arrays, info.get("lens_errors"), posterior),
    }
    _check(fields)
    return fields


def _drawn_errors(arrays, pairs, posterior):
    """Return what a budget says of each draw; None without one, and for files of earlier versions."""
    if pairs is None:
        return None
    n, shape = len(posterior.draws), posterior.mean.shape
    lenses = tuple(None if pair is None else tuple(map(LensModel.from_dict, pair)) for pair in pairs)
    changes = arrays[_CHANGES] if lenses else np.zeros((0, *shape))
    shares = arrays[_SHARES] if lenses else np.zeros((n, 0))
    for name, values, expected in (
        ("errors by noise", arrays[_BY_NOISE], shape),
        ("changes of the source", changes, (len(lenses), *shape)),
        ("the shares of errors", shares, (n, len(lenses))),
    ):
        if values.shape != expected or not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, of shape {expected}; got {values.shape}")
    return DrawnErrors(lenses, changes, shares, arrays[_IMAGES_DRAWN], arrays[_BY_NOISE])


def _check(fields):
    """Refuse maps that do not have the shape of their grid, and a source that is not finite."""
    observed, source = fields["observation"].grid, fields["source_grid"]
    grids = {"observed": observed, "fine": observed.refine(fields["factor"]), "source": source}
    shapes = {name: grids[grid].shape for _, name, grid, *_ in _IMAGES if name in fields}
    found = {name: fields[name] for name in shapes}
    for _, name, _ in _POSTERIOR:
        found[name], shapes[name] = getattr(fields["posterior"], name), source.shape
        if not np.isfinite(found[name]).all() and not (name == "std" and np.isnan(found[name]).all()):
            raise ValueError(f"{name} of the source must be finite")
    if found["draws"].ndim != 3:
        raise ValueError(f"draws must be a stack of sources; got the shape {found['draws'].shape}")
    drawn = fields["drawn_errors"]
    if drawn is not None and drawn.images.shape != (len(found["draws"]), *grids["fine"].shape):
        raise ValueError(f"draws of the image must be one for each of the source; got {drawn.images.shape}")
    for name, values in found.items():
        if values.shape[-2:] != shapes[name] or (values.ndim != 2 and name != "draws"):
            raise ValueError(f"{name} must have the shape of its grid, {shapes[name]}; got {values.shape}")
    if not np.isfinite(fields["model_image"][~fields["observation"].mask]).all():
        raise ValueError("the model must be finite in the pixels that are used")
