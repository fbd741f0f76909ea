"""JSON files that may be damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lenssuper._utils.files import reading

__all__ = ["read_json"]


def read_json(path: str | os.PathLike) -> Any:
    """Return what a JSON file holds; a FileFormatError names one that is damaged."""
    with reading(path, "a JSON file"):
        return json.loads(Path(path).read_text(encoding="utf-8"))
