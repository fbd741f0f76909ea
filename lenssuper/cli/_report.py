"""What a command says of a result: a summary for people, or with ``--json`` a line for programs."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["add_json", "numbers_of", "plain", "report", "say", "say_json"]

# What results have, as far as each of them has it.
_NAMES = (
    "solver",
    "method",
    "factor",
    "chi2",
    "n_pixels",
    "reduced_chi2",
    "held_out_chi2",
    "effective_modes",
    "log_evidence",
    "bic",
    "r2",
    "sky",
    "converged",
    "verdict",
    "reasons",
    "messages",
)


def add_json(group) -> None:
    """Add the option ``--json``."""
    group.add_argument("--json", action="store_true", help="print one JSON object a result, and nothing else")


def say(options: argparse.Namespace, text: str) -> None:
    """Print to standard output, unless asked to be quiet or for JSON."""
    if not options.quiet and not getattr(options, "json", False):
        print(text, flush=True)


def say_json(content: Any) -> None:
    """Print numbers, strings, lists and dictionaries as one line of JSON."""
    print(json.dumps(plain(content), ensure_ascii=False), flush=True)


def report(options: argparse.Namespace, result, files: Iterable[Path], measured=None) -> None:
    """Say how a result is, what was measured in it, if anything, and which files it is in."""
    names = [str(file) for file in files]
    if options.json:
        derived = {} if measured is None else {"measured": _by_percentile(measured)}
        say_json({**numbers_of(result), **derived, "files": names})
        return
    # a note that was a warning before is not said again
    lines = [line for line in result.summary().splitlines() if not _said(line, options)]
    say(options, "\n".join(lines))
    if measured is not None:
        from lenssuper._utils.text import as_text
        from lenssuper.superres.measured import measure_rows

        say(options, as_text(measure_rows(measured), 19))
    say(options, "wrote     " + "\n          ".join(names))


def _said(line, options):
    return line.startswith("note") and line[4:].strip() in getattr(options, "said", ())


def _by_percentile(table):
    """Return the columns of `SuperResolution.measure`: the three percentiles of each, and its unit."""
    return {
        name: {
            **{f"p{p:.0f}": v for p, v in zip(table["percentile"], column.value.tolist(), strict=True)},
            "unit": column.unit.to_string(),
        }
        for name, column in table.columns.items()
        if name != "percentile"
    }


def numbers_of(result) -> dict[str, Any]:
    """Return what a result says of itself, ready for JSON."""
    found = {name: getattr(result, name) for name in _NAMES if hasattr(result, name)}
    lens = getattr(result, "lens", None)
    if lens is not None:
        found["lens"] = lens.to_dict()["components"]
    if hasattr(result, "errors") and hasattr(result, "names"):
        found["errors"] = {name: str(error) for name, error in result.errors.items() if name in result.names}
    if hasattr(result, "table"):
        found["components"] = [dict(zip(row.colnames, row, strict=True)) for row in result.table]
    return plain(found)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: units as text behind the number, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "unit"):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
