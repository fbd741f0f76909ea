"""The page of many lenses: a table with thumbnails that can be sorted."""

from __future__ import annotations

import os

import numpy as np
from astropy import units as u
from astropy.table import Table

from lenssuper.report._templates import write_page

__all__ = ["write_index"]

_NUMBERS = {
    "reduced_chi2": ("reduced χ²", "{:.3f}"),
    "n_pixels": ("pixels", "{:.0f}"),
    "effective_modes": ("modes", "{:.0f}"),
    "log_evidence": ("ln Z", "{:.1f}"),
    "time": ("seconds", "{:.1f}"),
}


def write_index(
    summary: Table,
    path: str | os.PathLike,
    *,
    title: str = "Super-resolved lenses",
    overwrite: bool = False,
) -> None:
    """
    Write a page that lists lenses with a thumbnail of each.

    Parameters
    ----------
    summary : `~astropy.table.Table`
        As `lenssuper.catalog.summarise` gives it. A lens is linked to ``NAME.html``, and shown by
        ``NAME_small.png``, where they are beside the page.
    path : path
        The page, a HTML file.
    title : str, optional
    overwrite : bool, optional
        Whether ``path`` may be replaced.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    path = os.fspath(path)
    beside = set(os.listdir(os.path.dirname(path) or "."))
    states, counts = np.unique(np.asarray(summary["status"]).astype(str), return_counts=True)
    write_page(
        "index.html",
        path,
        overwrite=overwrite,
        title=title,
        counts=dict(zip(states.tolist(), counts.tolist(), strict=True)),
        columns=[heading for heading, _ in _NUMBERS.values()],
        rows=[_row(row, beside) for row in summary],
    )


def _row(row, beside):
    name = str(row["name"])
    numbers = []
    for column, (_, form) in _NUMBERS.items():
        value = row[column]
        value = float(value.to_value(u.s) if isinstance(value, u.Quantity) else value)
        numbers.append(("", "") if np.isnan(value) else (f"{value:.10g}", form.format(value)))
    return {
        "name": name,
        "page": f"{name}.html" if f"{name}.html" in beside else "",
        "picture": f"{name}_small.png" if f"{name}_small.png" in beside else "",
        "status": str(row["status"]),
        "numbers": numbers,
        "note": str(row["reason"]) or str(row["warnings"]),
    }
