"""Networks that turn observed lenses into sources: torch modules that hold no lens and read no files."""

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
