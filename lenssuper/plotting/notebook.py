"""Results as notebooks show them: what they say, and their picture."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from lenssuper.exceptions import LensSuperError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Pictured"]

_DPI = 70


class Pictured(ABC):
    """A result that a notebook shows by its summary and the picture it plots, if it has one."""

    @abstractmethod
    def summary(self) -> str:
        """Describe the result in a few lines."""

    @abstractmethod
    def plot(self) -> Figure:
        """Draw the result."""

    def _repr_html_(self) -> str:
        text = f"<pre>{escape(self.summary())}</pre>"
        try:
            figure = self.plot()
        except (LensSuperError, ValueError):  # a fit that was read from a file has no images
            return text
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=_DPI)
        data = base64.b64encode(picture.getvalue()).decode("ascii")
        return f'{text}<img alt="{escape(repr(self), quote=True)}" src="data:image/png;base64,{data}">'
