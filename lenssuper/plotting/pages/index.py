"""The page of many lenses: a table with thumbnails that can be sorted and searched."""

from __future__ import annotations

import os

import numpy as np
from astropy import units as u
from astropy.table import Table

from lenssuper.plotting.pages.filling import write_page

__all__ = ["write_index"]

# Columns of numbers: heading, unit or None, and how many decimals; those that a summary lacks are left out.
_NUMBERS = {
    "einstein_radius": ("θ_E (″)", u.arcsec, 3),
    "reduced_chi2": ("reduced χ²", None, 3),
    "lens_reduced_chi2": ("lens fit", None, 3),
    "light_reduced_chi2": ("light", None, 3),
    "subhaloes": ("subhaloes", None, 0),
    "effective_modes": ("modes", None, 0),
    "log_evidence": ("ln Z", None, 1),
    "time": ("elapsed (s)", u.s, 1),
    "cpu_time": ("processor (s)", u.s, 1),
}


def write_index(
    summary: Table,
    path: str | os.PathLike,
    *,
    title: str = "Super-resolved lenses",
    overwrite: bool = False,
) -> None:
    """
    Write a page that lists lenses with a thumbnail of each, a hundred at a time.

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
    columns = {name: _texts(summary, name) for name in _NUMBERS if name in summary.colnames}
    write_page(
        "index.html",
        path,
        overwrite=overwrite,
        title=title,
        counts=dict(zip(states.tolist(), counts.tolist(), strict=True)),
        columns=[_NUMBERS[name][0] for name in columns],
        lenses=_lenses(summary, list(columns.values()), beside),
    )


def _lenses(summary, columns, beside):
    """Return what the script needs of each lens: name, has page, picture, status, verdict, note, numbers."""
    names = ("name", "status", "verdict", "reason", "reasons", "warnings")
    words = (_words(summary, name) for name in names)
    return [
        [
            name,
            int(f"{name}.html" in beside),
            int(f"{name}_small.png" in beside),
            status,
            verdict,
            reason or doubts or note,
            *numbers,
        ]
        for name, status, verdict, reason, doubts, note, *numbers in zip(*words, *columns, strict=True)
    ]


def _words(summary, name):
    """Return a column of words; empty ones if the summary, of an earlier version, lacks it."""
    if name not in summary.colnames:
        return [""] * len(summary)
    return np.asarray(summary[name]).astype(str).tolist()


def _texts(summary, name):
    """Return a column of numbers as text, empty for NaN."""
    _, unit, decimals = _NUMBERS[name]
    values = u.Quantity(summary[name]).to_value(unit) if unit else np.asarray(summary[name], dtype=float)
    return ["" if np.isnan(value) else f"{value:.{decimals}f}" for value in values.tolist()]
