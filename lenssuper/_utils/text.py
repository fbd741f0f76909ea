"""Summaries as rows of a name and a value, from which text and pages are made."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["as_text"]


def as_text(rows: Sequence[tuple[str, str]], width: int = 9) -> str:
    """Return one line for each row, the names padded to ``width`` characters."""
    return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in rows)
