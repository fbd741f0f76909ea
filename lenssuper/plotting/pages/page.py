"""The page of one lens."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lenssuper.plotting.pages.filling import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report", "write_view"]

_DPI = 110
# WebP at this quality has less than half the bytes of PNG.
_QUALITY = 85


def write_report(
    result,
    path: str | os.PathLike,
    *,
    title: str = "",
    light=None,
    fit=None,
    substructure=None,
    links: dict[str, str] | None = None,
    times: dict[str, tuple[float, float]] | None = None,
    overwrite: bool = False,
) -> None:
    """
    Write a page on one lens: its picture, the quality of the fit, the lens, and the warnings.

    Parameters
    ----------
    result : SuperResolution or SubstructureResult
        Like ``light``, ``fit`` and ``substructure``, anything with a method ``section()`` that returns a
        `~lenssuper.plotting.pages.Section`.
    path : path
        The page, a HTML file that holds its pictures itself.
    title : str, optional
        By default the name of the file.
    light : ForegroundFit, optional
        The light of the lens galaxy that was subtracted before.
    fit : LensFit, optional
        The fit of the lens.
    substructure : SubstructureResult, optional
        The search for subhaloes.
    links : dict of str to str, optional
        Links of the page: their text, and their address relative to it.
    times : dict of str to (float, float), optional
        Of each step, the seconds that went by and those of a processor.
    overwrite : bool, optional
        Whether ``path`` may be replaced.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    sections = [part.section() for part in (result, substructure, fit, light) if part is not None]
    # warnings of the fit come before those of what was done with it
    messages = [message for section in sections[1:] + sections[:1] for message in section.messages]
    write_page(
        "lens.html",
        path,
        overwrite=overwrite,
        title=title or _name(path),
        sections=[(section, _embedded(section.picture)) for section in sections],
        messages=list(dict.fromkeys(messages)),
        links=links or {},
        times=times or {},
        viewer=next((section.viewer for section in sections if section.viewer), None),
    )


def write_view(
    viewer: Mapping[str, Any], path: str | os.PathLike, *, title: str = "", overwrite: bool = False
) -> None:
    """
    Write a page to explore a super-resolution in a browser.

    Parameters
    ----------
    viewer : mapping
        What is shown, see `~lenssuper.plotting.pages.Section`.
    path : path
        The page, a HTML file that holds all it needs.
    title : str, optional
        By default the name of the file.
    overwrite : bool, optional
        Whether ``path`` may be replaced.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    write_page("view.html", path, overwrite=overwrite, title=title or _name(path), viewer=viewer)


def _name(path):
    return os.path.splitext(os.path.basename(os.fspath(path)))[0]


def _embedded(figure: Figure) -> str:
    """Return a picture as a data URL."""
    picture = io.BytesIO()
    figure.savefig(picture, format="webp", dpi=_DPI, pil_kwargs={"quality": _QUALITY})
    return "data:image/webp;base64," + base64.b64encode(picture.getvalue()).decode("ascii")
