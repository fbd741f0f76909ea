"""Networks that turn observed lenses into sources: torch modules that hold no lens and read no files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenssuper._utils.lazy import lazy

if TYPE_CHECKING:
    from lenssuper.networks.base import SourceNetwork
    from lenssuper.networks.cnn import ResidualCNN
    from lenssuper.networks.linear import CorrectedNetwork
    from lenssuper.networks.plain import PlainUNet
    from lenssuper.networks.sourceproblem import Projection, SourceProblem
    from lenssuper.networks.transformer import WindowTransformer
    from lenssuper.networks.unrolled import Unrolled

__all__ = [
    "CorrectedNetwork",
    "PlainUNet",
    "Projection",
    "ResidualCNN",
    "SourceNetwork",
    "SourceProblem",
    "Unrolled",
    "WindowTransformer",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "CorrectedNetwork": "linear",
        "PlainUNet": "plain",
        "Projection": "sourceproblem",
        "ResidualCNN": "cnn",
        "SourceNetwork": "base",
        "SourceProblem": "sourceproblem",
        "Unrolled": "unrolled",
        "WindowTransformer": "transformer",
    },
)
