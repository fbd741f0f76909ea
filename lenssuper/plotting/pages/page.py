"""The page of one lens."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING

import numpy as np

from lenssuper._utils.units import quoted
from lenssuper.plotting.pages.filling import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lenssuper.lensfit import LensFit
    from lenssuper.light import ForegroundFit
    from lenssuper.superres.result import SuperResolution

__all__ = ["write_report"]

_DPI = 110
# WebP at this quality has less than half the bytes of PNG.
_QUALITY = 85


def write_report(
    result: SuperResolution,
    path: str | os.PathLike,
    *,
    title: str = "",
    light: ForegroundFit | None = None,
    fit: LensFit | None = None,
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
    light : ForegroundFit, optional
        The light of the lens galaxy that was taken off before.
    fit : LensFit, optional
        The fit of the lens.
    links : dict of str to str, optional
        Where to go from the page: words, and addresses relative to it.
    overwrite : bool, optional
        Whether ``path`` may be replaced.

    Raises
    ------
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    messages = [*(fit.messages if fit is not None else ()), *result.messages]
    write_page(
        "lens.html",
        path,
        overwrite=overwrite,
        title=title or os.path.splitext(os.path.basename(os.fspath(path)))[0],
        picture=_embedded(result.plot()),
        summary=_lines(result.summary(), 9),
        messages=list(dict.fromkeys(messages)),
        fit=None if fit is None else _fit(fit),
        light=None if light is None else _light(light),
        hyperparameters={name: f"{value:.5g}" for name, value in sorted(result.hyperparameters.items())},
        links=links or {},
    )


def _fit(fit):
    # parameters have a table of their own
    summary = [(name, text) for name, text in _lines(fit.summary(), 9) if name != "lens"]
    return {"picture": _embedded(fit.plot()), "rows": _parameters(fit), "summary": summary}


def _light(light):
    return {"picture": _embedded(light.plot()), "rows": _lines(light.summary(), 10)}


def _embedded(figure: Figure) -> str:
    """A picture as the address of itself."""
    picture = io.BytesIO()
    figure.savefig(picture, format="webp", dpi=_DPI, pil_kwargs={"quality": _QUALITY})
    return "data:image/webp;base64," + base64.b64encode(picture.getvalue()).decode("ascii")


def _lines(summary, width):
    """The lines of a summary as name and text; its notes are shown elsewhere."""
    lines = ((line[:width].strip(), line[width:].strip()) for line in summary.splitlines())
    return [(name, text) for name, text in lines if name != "note"]


def _parameters(fit):
    """The parameters of a lens as name, value, error and unit; no error of what was not fitted."""
    rows, errors = [], fit.errors
    for name, value in fit.lens.parameters.items():
        value, error, unit = quoted(value, errors[name])
        digits = _digits(error) if name in fit.names else 4
        rows.append((name, f"{value:.{digits}f}", f"{error:.{digits}f}" if name in fit.names else "", unit))
    return rows


def _digits(error):
    """Decimals that show two digits of an error."""
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 8)) if 0 < error < np.inf else 4
