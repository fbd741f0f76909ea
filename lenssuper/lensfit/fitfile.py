"""Fits as JSON: a lens model, as `LensModel.read` reads it, with the fit's numbers beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from lenssuper._utils.files import atomic_write
from lenssuper.exceptions import FileFormatError
from lenssuper.lens import LensModel
from lenssuper.lensfit.contents import Numbers, Offsets

if TYPE_CHECKING:
    from lenssuper.lensfit.fit import LensFit

__all__ = ["read_fit", "write_fit"]

_VERSION = 1


def write_fit(fit: LensFit, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a fit; of several observations with the offsets and numbers of each."""
    content = fit.lens.to_dict()
    content["fit"] = {
        "version": _VERSION,
        "names": list(fit.names),
        "vector_covariance": fit._vector_covariance.tolist(),
        "errors": {name: str(error) for name, error in fit.errors.items() if name in fit.names},
        **fit._numbers.__dict__,
        "reduced_chi2": fit.reduced_chi2,
        "messages": list(fit.messages),
    }
    if len(fit.parts) > 1:
        content["fit"]["offsets"] = fit.offsets.to_value(u.arcsec).tolist()
        content["fit"]["offset_errors"] = fit.offset_errors.to_value(u.arcsec).tolist()
        content["fit"]["parts"] = [
            {**part._numbers.__dict__, "messages": list(part.messages)} for part in fit.parts
        ]
    text = json.dumps(content, indent=2) + "\n"
    with atomic_write(path, overwrite=overwrite) as beside:
        beside.write_text(text, encoding="utf-8")


def read_fit(path: str | os.PathLike, make: type[LensFit]) -> LensFit:
    """Read what `write_fit` wrote, and make the fit of it."""
    lens = LensModel.read(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))["fit"]
        covariance = np.array(content["vector_covariance"], dtype=np.float64)

        def one(numbers, **rest):
            fields = {name: numbers[name] for name in Numbers.__dataclass_fields__}
            return make(
                lens, content["names"], covariance, Numbers(**fields), messages=numbers["messages"], **rest
            )

        parts = [one(numbers) for numbers in content.get("parts", [])]
        fit = one(content, parts=parts, offsets=_offsets(content, len(parts)))
        if covariance.shape != (len(fit.names),) * 2:
            raise ValueError("the covariance is not of the parameters")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} holds a lens, but no fit of one: {error}") from error
    return fit


def _offsets(content, n):
    """The offsets of n observations; of a fit to one there are none in the file."""
    if n == 0:
        return None
    offsets = Offsets(*(np.array(content[name], dtype=np.float64) for name in ("offsets", "offset_errors")))
    for values in (offsets.values, offsets.errors):
        if values.shape != (n, 2) or not np.isfinite(values).all():
            raise ValueError(f"the offsets are not those of {n} observations")
    return offsets
