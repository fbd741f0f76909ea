"""The state of a training as a file of safetensors: tensors as they are, and the rest as JSON."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from lenssuper._utils.files import reading
from lenssuper._utils.weightfile import read_weights, write_weights

__all__ = ["check_settings", "read_state", "write_state"]

_KIND = "state of a training"


def write_state(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """
    Write a nested dictionary, replacing an earlier file; the file is complete or not there.

    It may hold tensors, numbers, text and None, in dictionaries, lists and tuples; else raise a TypeError.
    """
    tensors: dict[str, torch.Tensor] = {}
    packed = _pack(state, tensors, "state")
    write_weights(path, tensors, {"architecture": _KIND, "state": packed}, overwrite=True)


def read_state(path: str | os.PathLike) -> dict[str, Any]:
    """Read what `write_state` wrote, running no code in it, or raise a FileFormatError."""
    tensors, known = read_weights(path, _KIND)
    with reading(path, "the state of a training"):
        return _unpack(known["state"], tensors)


def check_settings(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise a ValueError if a training would resume with other settings."""
    for name in sorted(found.keys() | wanted.keys()):
        before, now = found.get(name), wanted.get(name)
        if before != now:
            raise ValueError(
                f"the checkpoint is of another training: {name} was {before!r}, is {now!r}; resume with what "
                "it was started with, or remove it"
            )


def _pack(value, tensors, name):
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_plain(k, name), _pack(v, tensors, f"{name}.{k}")] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]}
    return _plain(value, name)


def _plain(value, name):
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")


def _unpack(packed, tensors):
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    made = [_unpack(value, tensors) for value in content]
    return tuple(made) if kind == "tuple" else made
