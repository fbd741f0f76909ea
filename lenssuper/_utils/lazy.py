"""Packages whose names are loaded when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy"]


def lazy(package: str, module_of: Mapping[str, str]) -> tuple[Callable, Callable]:
    """
    Return ``__getattr__`` and ``__dir__`` of a package, for the names that stand in its modules.

    A name whose module is an empty string is a module of the package itself. `dir` shows the names in
    ``__all__`` and these modules.
    """

    def load(name: str):
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if module_of[name]:
            value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        else:
            value = import_module(f"{package}.{name}")
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        modules = {name for name, module in module_of.items() if not module}
        return sorted({*sys.modules[package].__all__, *modules})

    return load, names
