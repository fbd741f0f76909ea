"""The page of one lens."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING

from lenssuper.report._templates import write_page

if TYPE_CHECKING:
    from lenssuper.result import SuperResolution

__all__ = ["write_report"]

_DPI = 110


def write_report(
    result: SuperResolution,
    path: str | os.PathLike,
    *,
    title: str = "",
    links: dict[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """
    Write a page on one result: picture, quality of the fit, lens, and what to look out for.

    Parameters
    ----------
    result : SuperResolution
    path : path
        The page, a HTML file that holds its pictures itself.
    title : str, optional
        By default the name of the file.
    links : dict of str to str, optional
        Where to go from the page: words, and addresses relative to it.
    overwrite : bool, optional
        Whether ``path`` may be replaced.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    picture = io.BytesIO()
    result.plot().savefig(picture, format="png", dpi=_DPI)
    write_page(
        "lens.html",
        path,
        overwrite=overwrite,
        title=title or os.path.splitext(os.path.basename(os.fspath(path)))[0],
        picture=base64.b64encode(picture.getvalue()).decode("ascii"),
        summary=[(line[:9].strip(), line[9:]) for line in result.summary().splitlines()],
        messages=result.messages,
        hyperparameters={name: f"{value:.5g}" for name, value in sorted(result.hyperparameters.items())},
        links=links or {},
    )
