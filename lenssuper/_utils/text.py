"""Numbers with their errors, summaries as rows of a name and a value, and messages, for text and pages."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, inf, log10

__all__ = ["as_text", "decimals", "said_by", "with_error"]

# Digits of a number whose error is not known.
_DIGITS = 4


def as_text(rows: Sequence[tuple[str, str]], width: int = 9) -> str:
    """Return one line for each row, the names padded to ``width`` characters."""
    return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in rows)


def decimals(error: float) -> int | None:
    """Return how many decimals show two digits of an error, at least 0; None if it is none."""
    return max(1 - floor(log10(error)), 0) if 0 < error < inf else None


def with_error(value: float, error: float) -> str:
    """Return a number and its error to two digits of the error, ``0.7712 ± 0.0013``."""
    digits = decimals(error)
    return f"{value:.{_DIGITS}g}" if digits is None else f"{value:.{digits}f} ± {error:.{digits}f}"


def said_by(error: BaseException) -> str:
    """Return the message of an error in one line; of a file that cannot be read, its path and the reason."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
