"""The bar that shows how much of a piece of work is done."""

from __future__ import annotations

import sys

from tqdm.auto import tqdm

__all__ = ["share_bar"]


def share_bar(progress: bool | None) -> tqdm:
    """Give a bar from 0 to 1; with None it is shown on a terminal, if the work takes over a second."""
    return tqdm(
        total=1.0,
        disable=not (sys.stderr.isatty() if progress is None else progress),
        delay=0 if progress else 1,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    )
