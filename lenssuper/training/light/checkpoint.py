"""Where a training stands, in a file: weights and state of Adam, enough to go on as if never interrupted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from lenssuper._utils.weightfile import load_into, read_weights, write_weights

__all__ = ["read_checkpoint", "write_checkpoint"]

_KIND = "checkpoint"


def write_checkpoint(
    path: str | os.PathLike,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    step: int,
) -> None:
    """Write weights, optimiser and the number of steps done, in the place of the checkpoint before."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    write_weights(
        path, tensors, {"architecture": _KIND, "settings": dict(settings), "step": step}, overwrite=True
    )


def read_checkpoint(
    path: str | os.PathLike,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
) -> int:
    """
    Give network and optimiser the state they had.

    Returns
    -------
    int
        The number of steps done.

    Raises
    ------
    FileFormatError
        If the file is no checkpoint, or damaged.
    ValueError
        If it is of a training with other settings.
    """
    tensors, found = read_weights(path, _KIND)
    before = found["settings"]
    for name, value in settings.items():
        if before.get(name) != value:
            raise ValueError(
                f"{os.fspath(path)} is of another training: {name} was {before.get(name)!r}, is {value!r}; "
                "resume with what it was started with, or remove it"
            )
    weights = {
        name[len("network.") :]: value for name, value in tensors.items() if name.startswith("network.")
    }
    load_into(network, weights, path)
    state: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, number, what = name.split(".")
            state.setdefault(int(number), {})[what] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(found["step"])
