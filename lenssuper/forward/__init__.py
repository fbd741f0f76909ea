"""The forward model: what a source would look like in an observation, whitened by its noise."""

from __future__ import annotations

from lenssuper.forward.batch import ForwardModelBatch
from lenssuper.forward.joint import JointForwardModel
from lenssuper.forward.measurement import Measurement
from lenssuper.forward.model import ForwardModel

__all__ = ["ForwardModel", "ForwardModelBatch", "JointForwardModel", "Measurement"]
