"""Results of a benchmark as a file with a record in each line, so that the same command resumes."""

from __future__ import annotations

import json
from pathlib import Path


def read_records(path: Path) -> list[dict]:
    """Return the records of an earlier run; none if there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def add_record(path: Path, record: dict) -> dict:
    """Append a record with floats of five digits, and return it as it was written."""
    short = _rounded(record)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(short) + "\n")
    return short


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value
