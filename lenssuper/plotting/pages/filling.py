"""The pages' templates, filled in and written."""

from __future__ import annotations

import os
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from lenssuper._utils.files import atomic_write
from lenssuper._utils.version import __version__

__all__ = ["write_page"]


@cache
def _environment():
    # what comes from a file, such as a name or a warning, is text and never markup
    return Environment(
        loader=PackageLoader("lenssuper.plotting.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(template: str, path: str | os.PathLike, *, overwrite: bool, **values) -> None:
    """Fill in a template and write the page, whole or not at all."""
    page = _environment().get_template(template).render(version=__version__, **values)
    with atomic_write(path, overwrite=overwrite, stream=True) as beside:
        beside.write_text(page, encoding="utf-8")
