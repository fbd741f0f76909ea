"""Training of networks on observed lenses: losses without truth, data, and a loop that can be resumed."""

from lenssuper.training.data import Batch, LensProblems
from lenssuper.training.equivariance import Equivariance
from lenssuper.training.losses import (
    DataFidelity,
    Loss,
    PixelSplitting,
    Recorrupted,
    Supervised,
    TotalVariationLoss,
    by_coverage,
    by_magnification,
)
from lenssuper.training.scores import evaluate
from lenssuper.training.train import Training, checkpoint_path, train

__all__ = [
    "Batch",
    "DataFidelity",
    "Equivariance",
    "LensProblems",
    "Loss",
    "PixelSplitting",
    "Recorrupted",
    "Supervised",
    "TotalVariationLoss",
    "Training",
    "by_coverage",
    "by_magnification",
    "checkpoint_path",
    "evaluate",
    "train",
]
