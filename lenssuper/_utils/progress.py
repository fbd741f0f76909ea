"""The bars that show how much of a piece of work is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

__all__ = ["is_shown", "progress_bar", "quietly", "share_bar"]


def is_shown(progress: bool | None) -> bool:
    """Tell whether a bar is shown: as asked for, or else on a terminal."""
    return sys.stderr.isatty() if progress is None else progress


def progress_bar(
    progress: bool | None, items: Iterable | None = None, *, at_once: bool = False, **options
) -> tqdm:
    """
    Return a bar; with None it is shown on a terminal, if the work takes longer than a second.

    It then appears when the first item is done, or, for items of many seconds, ``at_once``.
    """
    delay = 0 if progress or at_once else 1
    return tqdm(items, disable=not is_shown(progress), delay=delay, **options)


@contextmanager
def share_bar(progress: bool | None) -> Iterator[Callable[[float, str], None]]:
    """Show a bar from 0 to 1; yield a function of the share of the work done and a word on what is done."""
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    said = ""
    with progress_bar(progress, total=1.0, leave=False, bar_format=layout) as bar:

        def report(share, what):
            nonlocal said
            bar.set_description_str(what, refresh=False)
            bar.update(share - bar.n)
            if progress and what != said:  # a new step is shown at once, however short the last one was
                bar.refresh()
            said = what

        yield report


def quietly(share: float, what: str) -> None:
    """Take a report of `share_bar`, and show nothing."""
