"""Overlap operators in files: arrays in numpy's npz format, a description in JSON, and a digest of both."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile

import numpy as np
from scipy import sparse

from lenssuper._utils.files import atomic_write, reading
from lenssuper.exceptions import FileFormatError
from lenssuper.lens import LensModel
from lenssuper.observation.grid import PixelGrid

__all__ = ["read", "write"]

_FORMAT = "lenssuper OverlapOperator"
# Version 1 is that of pixels of constant brightness; 2 has the order of the splines too
_VERSIONS = 1, 2
_ARRAYS = {"data": "f8", "indices": "i", "indptr": "i", "coverage": "f8"}


def write(path: str | os.PathLike, *, overwrite: bool, lens, grids, accuracy, matrix, coverage) -> None:
    """Write one file; see `lenssuper.OverlapOperator.save`."""
    arrays = {
        "data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "coverage": coverage
    }  # fmt: skip
    header = {
        "format": _FORMAT,
        "version": 2 if accuracy[2] else 1,
        "lens": lens.to_dict(),
        "image_grid": _grid_to_dict(grids[0]),
        "source_grid": _grid_to_dict(grids[1]),
        "tol": accuracy[0],
        "subdivide": accuracy[1],
    } | ({"order": accuracy[2]} if accuracy[2] else {})
    text = json.dumps(header)
    with atomic_write(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=np.array(text), digest=np.array(_digest(text, arrays)), **arrays)


def read(path: str | os.PathLike):
    """Read lens, grids, accuracy, matrix and coverage from a file of `write`."""
    with reading(path, "an OverlapOperator"):
        _check_sizes(path)
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            found = {name: content[name] for name in ("header", "digest", *_ARRAYS)}
        text, digest = str(found.pop("header")), str(found.pop("digest"))
        if _digest(text, found) != digest:
            raise FileFormatError(f"{path} is damaged: its content does not agree with its digest")
        return _unpack(json.loads(text), found)


def _unpack(header, arrays):
    if header["format"] != _FORMAT or header["version"] not in _VERSIONS:
        found = f"{header['format']} of version {header['version']}"
        raise ValueError(f"it is a {found}, not a {_FORMAT} of version 1 or 2")
    image_grid, source_grid = (_grid_from_dict(header[name]) for name in ("image_grid", "source_grid"))
    for name, kind in _ARRAYS.items():
        if not arrays[name].dtype.str[1:].startswith(kind):
            raise ValueError(f"{name} has dtype {arrays[name].dtype}")
    if arrays["coverage"].shape != source_grid.shape:
        raise ValueError(f"coverage is {arrays['coverage'].shape}, the source grid {source_grid.shape}")
    shape = (np.prod(image_grid.shape), np.prod(source_grid.shape))
    matrix = sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
    matrix.check_format(full_check=True)
    for name in ("data", "coverage"):
        if not (np.isfinite(arrays[name]).all() and (arrays[name] >= 0).all()):
            raise ValueError(f"{name} must be finite and not negative")
    lens = LensModel.from_dict(header["lens"])
    accuracy = header["tol"], header["subdivide"], header.get("order", 0)
    return lens, (image_grid, source_grid), accuracy, matrix, arrays["coverage"]


def _check_sizes(path):
    """Refuse arrays that are larger than what the file has of them, before memory is asked for."""
    with zipfile.ZipFile(path) as archive:
        held = os.path.getsize(path)
        for info in archive.infolist():
            with archive.open(info) as file:
                version = np.lib.format.read_magic(file)
                one = np.lib.format.read_array_header_1_0
                shape, _, dtype = (one if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
            if math.prod(shape) * dtype.itemsize > min(info.file_size, held):
                raise ValueError(f"{info.filename} claims the shape {shape}, for which the file is too small")


def _digest(text, arrays):
    sha = hashlib.sha256(text.encode())
    for name in _ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()


def _grid_to_dict(grid):
    return {
        "shape": grid.shape,
        "matrix": grid.matrix.tolist(),
        "origin": grid.origin.tolist(),
        "reference": grid._reference,
    }


def _grid_from_dict(content):
    matrix, origin = np.array(content["matrix"]), np.array(content["origin"])
    return PixelGrid.from_affine(tuple(content["shape"]), matrix, origin, content["reference"])
