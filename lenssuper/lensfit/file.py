"""Fits as JSON: a lens model, as `LensModel.read` reads it, with the fit's numbers beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from lenssuper._utils.files import atomic_write
from lenssuper._utils.units import arcsec
from lenssuper.exceptions import FileFormatError
from lenssuper.forward.judgement import Verdict
from lenssuper.lens import LensModel
from lenssuper.lensfit.parameters import FreeParameters

__all__ = ["read_fields", "write_fit"]

_VERSION = 1
_NUMBERS = ("log_evidence", "chi2", "n_pixels", "effective_modes", "converged")


def write_fit(fit, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a `LensFit`; of several observations with the offsets and the numbers of each."""
    content = fit.lens.to_dict()
    content["fit"] = {
        "version": _VERSION,
        "names": list(fit.names),
        "vector_covariance": fit.vector_covariance.tolist(),
        "errors": {name: str(error) for name, error in fit.errors.items() if name in fit.names},
        **_numbers(fit),
        "reduced_chi2": fit.reduced_chi2,
    }
    if len(fit.parts) > 1:
        content["fit"]["offsets"] = fit.offsets.to_value(u.arcsec).tolist()
        content["fit"]["offset_errors"] = fit.offset_errors.to_value(u.arcsec).tolist()
        content["fit"]["parts"] = [_numbers(part) for part in fit.parts]
    if fit.optima:
        content["fit"]["optima"] = [[lens.to_dict(), log_evidence] for lens, log_evidence in fit.optima]
    with atomic_write(path, overwrite=overwrite, stream=True) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_fields(path: str | os.PathLike) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """
    Return the fields of the `LensFit` in a file, and those of its fits to each of several observations.

    Raise a FileFormatError if the file is damaged or something else.
    """
    lens = LensModel.read(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))["fit"]
        names = FreeParameters(lens, free=content["names"]).names
        covariance = np.array(content["vector_covariance"], dtype=np.float64)
        if covariance.shape != (len(names), len(names)):
            raise ValueError("the covariance is not of the parameters")
        common = {"lens": lens, "names": names, "vector_covariance": covariance}
        parts = [common | _fields(part) for part in content.get("parts", [])]
        whole = common | _fields(content)
        for name in ("offsets", "offset_errors") if parts else ():
            values = np.array(content[name], dtype=np.float64)
            if values.shape != (len(parts), 2) or not np.isfinite(values).all():
                raise ValueError(f"the offsets are not those of {len(parts)} observations")
            whole[name] = arcsec(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} holds a lens, but no fit of one: {error}") from error
    return whole, parts


def _numbers(fit):
    judgement = {} if fit.judgement is None else fit.judgement.to_dict()
    return {name: getattr(fit, name) for name in _NUMBERS} | {"messages": list(fit.messages)} | judgement


def _fields(content):
    fields = {name: content[name] for name in _NUMBERS} | {"messages": tuple(content["messages"])}
    judgement = Verdict.from_dict(content) if "verdict" in content else None  # not in earlier files
    optima = tuple((LensModel.from_dict(lens), float(value)) for lens, value in content.get("optima", ()))
    return fields | {"judgement": judgement, "optima": optima}
