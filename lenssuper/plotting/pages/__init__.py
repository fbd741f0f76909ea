"""Results as pages for a browser: one a lens, and an index of many. No server is needed."""

from __future__ import annotations

from lenssuper.plotting.pages.index import write_index
from lenssuper.plotting.pages.page import write_report, write_view
from lenssuper.plotting.pages.section import Section
from lenssuper.plotting.pages.thumbnail import thumbnail

__all__ = ["Section", "thumbnail", "write_index", "write_report", "write_view"]
