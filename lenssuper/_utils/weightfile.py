"""Files of trained weights: safetensors, which hold arrays and text and cannot run code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from lenssuper._utils.files import atomic_write, reading
from lenssuper.exceptions import FileFormatError

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_finite_weights",
    "fingerprint",
    "load_into",
    "read_arrays",
    "read_weights",
    "write_weights",
]

VERSION = 1
_KEY = "lenssuper"
_FORMER_KEY = "lenssuper.light"


def write_weights(
    path: str | os.PathLike,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """
    Write tensors with their metadata, whole or not at all.

    The metadata is what JSON can hold; its ``architecture`` is compared when the file is read.
    """
    known = {"version": VERSION, **metadata}
    whole = {name: tensor.detach().cpu().numpy().copy(order="C") for name, tensor in tensors.items()}
    with atomic_write(path, overwrite=overwrite) as beside:
        text = json.dumps(known | {"digest": _digest(known, whole)}, sort_keys=True)
        beside.write_bytes(save(whole, metadata={_KEY: text}))


def _digest(metadata, arrays):
    """SHA-256 of all that a file says: safetensors itself notices no changed weight."""
    sha = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"\n{name} torch.{array.dtype} {array.shape}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """Return a hash of the weights of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()[:16]


def read_weights(
    path: str | os.PathLike, architecture: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a file of weights, see `read_arrays`."""
    import torch

    arrays, metadata = read_arrays(path, architecture)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, metadata


def read_arrays(
    path: str | os.PathLike, architecture: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """
    Read the arrays and the metadata of a file of weights, which must be for ``architecture`` if given.

    Another, damaged or unsuitable file is a FileFormatError.
    """
    path = os.fspath(path)
    what = "weights (safetensors)"
    with reading(path, what), safe_open(path, framework="numpy") as file:
        header = file.metadata() or {}
        metadata = json.loads(header.get(_KEY, header.get(_FORMER_KEY, "null")))
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    if not isinstance(metadata, dict):
        raise FileFormatError(f"{path} is a safetensors file, but not one of lenssuper's")
    if metadata.get("version") != VERSION:
        raise FileFormatError(
            f"{path} has weights of version {metadata.get('version')}; this lenssuper reads {VERSION}: "
            "update lenssuper, or take weights that it has written"
        )
    digest = metadata.pop("digest", None)  # earlier versions wrote none
    if digest is not None and digest != _digest(metadata, arrays):
        raise FileFormatError(f"{path} is damaged: its content does not agree with its digest")
    found = metadata.get("architecture")
    if architecture is not None and found != architecture:
        raise FileFormatError(f"{path} has weights for {found!r}; {architecture!r} is needed")
    return arrays, metadata


def load_into(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    path: str | os.PathLike,
) -> None:
    """
    Give a module its weights.

    Other names or shapes than the module's, or weights that are not finite, are a FileFormatError.
    """
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    if own != given:
        name = min(set(own.items()) ^ set(given.items()))[0]
        raise FileFormatError(
            f"{os.fspath(path)} does not fit the network: {name} has the shape {given.get(name)}, "
            f"not {own.get(name)}"
        )
    check_finite_weights({name: value.numpy() for name, value in tensors.items()}, path)
    module.load_state_dict(dict(tensors))


def check_finite_weights(arrays: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    """Raise a FileFormatError that names the weights that are not finite, if there are any."""
    bad = [name for name, value in arrays.items() if not np.isfinite(value).all()]
    if bad:
        raise FileFormatError(f"{os.fspath(path)} has weights that are not finite: {', '.join(bad)}")
