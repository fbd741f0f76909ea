"""Networks in files: their weights, their settings, and a model card."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lenssuper._utils.files import atomic_write
from lenssuper._utils.weightfile import load_into, read_arrays, read_weights, write_weights
from lenssuper.exceptions import FileFormatError
from lenssuper.networks.base import SourceNetwork

__all__ = ["architectures", "card_path", "network_of", "read_card", "read_network", "write_network"]


def architectures() -> dict[str, type[SourceNetwork]]:
    """Return the classes of networks, by the names of their architectures."""
    rooms = importlib.import_module("lenssuper.networks")
    for module in pkgutil.iter_modules(rooms.__path__):
        importlib.import_module(f"{rooms.__name__}.{module.name}")
    return {kind.architecture: kind for kind in _kinds(SourceNetwork)}


def card_path(path: str | os.PathLike) -> Path:
    """Return the path of the model card beside a file of weights: ``net.md`` of ``net.safetensors``."""
    return Path(path).with_suffix(".md")


def write_network(
    path: str | os.PathLike, network: SourceNetwork, card: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """
    Write a network to a file ``*.safetensors``, and its model card for people to read to ``*.md`` beside it.

    The card has data, loss, command, versions and scores of the training, ready for JSON, and is written into
    the file of weights too. If the name has another ending or a weight is not finite, nothing is written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors; got {os.fspath(path)!r}")
    for file in (path, card_path(path)):
        if file.exists() and not overwrite:
            raise FileExistsError(f"{file} exists; pass overwrite=True to replace it")
    weights = network.state_dict()
    bad = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"network has weights that are not finite, and is not written: {', '.join(bad)}")
    known = {"architecture": network.architecture, "config": network.config, "card": dict(card)}
    # the weights are written last: if they exist, the card does too
    with atomic_write(card_path(path), overwrite=overwrite) as beside:
        beside.write_text(_as_text(path.name, known), encoding="utf-8")
    write_weights(path, weights, known, overwrite=overwrite)


def read_network(path: str | os.PathLike) -> SourceNetwork:
    """
    Read a network that `write_network` wrote, in evaluation mode, on the CPU.

    A FileFormatError says if the file has another format, version or an unknown architecture, is damaged, or
    if its weights do not fit the network or are not finite. No code in a file is ever run.
    """
    return network_of(*read_weights(path), path)


def network_of(
    tensors: Mapping[str, Tensor], known: Mapping[str, Any], path: str | os.PathLike
) -> SourceNetwork:
    """Return the network of the content of a file, whose name is for messages; see `read_network`."""
    path = os.fspath(path)
    kinds = architectures()
    if known.get("architecture") not in kinds:
        raise FileFormatError(
            f"{path} has weights for {known.get('architecture')!r}; known are {', '.join(sorted(kinds))}"
        )
    kind = kinds[known["architecture"]]
    config: Any = known.get("config")
    try:
        with _Bounded(path, sum(tensor.numel() for tensor in tensors.values())):
            network = kind(**config)
    except FileFormatError:
        raise
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise FileFormatError(f"{path} has settings that make no {kind.__name__}: {error}") from error
    load_into(network, tensors, path)
    return network.eval()


def read_card(path: str | os.PathLike) -> dict[str, Any]:
    """Read the model card that is in a file of weights."""
    card = read_arrays(path)[1].get("card")
    if not isinstance(card, dict):
        raise FileFormatError(f"{os.fspath(path)} has no model card: it is not a network for sources")
    return card


class _Bounded(TorchFunctionMode):
    """
    Refuse to make a network that is far larger than the weights in a file.

    Settings of a damaged file could require any amount of memory. torch's device "meta", which uses none,
    would import torch's compiler, and that takes a second.
    """

    _MAKERS = frozenset((torch.empty, torch.zeros, torch.ones, torch.randn))

    def __init__(self, path: str, weights: int) -> None:
        super().__init__()
        self.path = path
        # temporary tensors and constants are no weights
        self.left = 4 * weights + 10_000

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self._MAKERS:
            self.left -= math.prod(args if isinstance(args[0], int) else args[0])
            if self.left < 0:
                raise FileFormatError(
                    f"{self.path} does not fit the network of its settings: it is too small"
                )
        return func(*args, **(kwargs or {}))


def _kinds(parent) -> Iterator[type[SourceNetwork]]:
    for kind in parent.__subclasses__():
        yield from _kinds(kind)
        if not inspect.isabstract(kind) and "architecture" in vars(kind):
            yield kind


def _as_text(title, known):
    """The card in Markdown."""
    lines = [f"# {title}", "", f"A network of lenssuper, architecture `{known['architecture']}`."]
    for heading, content in {"configuration": known["config"], **known["card"]}.items():
        lines += ["", f"## {heading.replace('_', ' ').capitalize()}", ""]
        lines += _entries(content)
    return "\n".join(lines) + "\n"


def _entries(content):
    if not isinstance(content, Mapping):
        return [
            f"`{content}`" if isinstance(content, str) and content.startswith("lenssuper ") else f"{content}"
        ]
    return [f"- {name.replace('_', ' ')}: {_value(value)}" for name, value in content.items()]


def _value(value):
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    return str(value)
