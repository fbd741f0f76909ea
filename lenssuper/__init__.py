"""
Super-resolution of gravitationally lensed galaxies.

An observed image of a lensed galaxy and a lens model go in; the lensed image on a finer grid, free of the
PSF, and the source behind it come out, each with its uncertainty.

The public names below are loaded when they are first used, so that ``import lenssuper`` itself stays fast and
pulls in neither torch nor matplotlib.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper._utils.built import check_built
from lenssuper._utils.lazy import lazy

if TYPE_CHECKING:
    from lenssuper._utils.citation import __citation__
    from lenssuper._utils.version import __version__
    from lenssuper.forward.batch import ForwardModelBatch
    from lenssuper.forward.joint import JointForwardModel
    from lenssuper.forward.model import ForwardModel
    from lenssuper.lens import EPL, NFW, SIE, SIS, TNFW, CompositeLens, ExternalShear, LensModel, PointMass
    from lenssuper.lensfit import LensFit, LensFitter
    from lenssuper.light import SersicFit, SersicFitter
    from lenssuper.observation import Observation, read_observation, write_observation
    from lenssuper.observation.grid import PixelGrid
    from lenssuper.operators import (
        BilinearSampling,
        Binning,
        LinearOperator,
        OverlapOperator,
        PixelScatter,
        PSFConvolution,
    )
    from lenssuper.preparation.prepare import prepare
    from lenssuper.substructure import SubstructureMap
    from lenssuper.superres.expected import expected_resolution
    from lenssuper.superres.result import SuperResolution
    from lenssuper.superres.superresolver import SuperResolver
    from lenssuper.superres.systematics import Systematics

__all__ = [
    "EPL",
    "NFW",
    "SIE",
    "SIS",
    "TNFW",
    "BilinearSampling",
    "Binning",
    "CompositeLens",
    "ExternalShear",
    "ForwardModel",
    "ForwardModelBatch",
    "JointForwardModel",
    "LensFit",
    "LensFitter",
    "LensModel",
    "LinearOperator",
    "Observation",
    "OverlapOperator",
    "PSFConvolution",
    "PixelGrid",
    "PixelScatter",
    "PointMass",
    "SersicFit",
    "SersicFitter",
    "SubstructureMap",
    "SuperResolution",
    "SuperResolver",
    "Systematics",
    "__citation__",
    "__version__",
    "expected_resolution",
    "prepare",
    "read_observation",
    "write_observation",
]

_MODULE_OF = {
    "__version__": "_utils.version",
    "__citation__": "_utils.citation",
    "PixelGrid": "observation.grid",
    "Observation": "observation",
    "read_observation": "observation",
    "write_observation": "observation",
    "LensModel": "lens",
    "LensFit": "lensfit",
    "LensFitter": "lensfit",
    "CompositeLens": "lens",
    "SIS": "lens",
    "SIE": "lens",
    "EPL": "lens",
    "ExternalShear": "lens",
    "PointMass": "lens",
    "NFW": "lens",
    "TNFW": "lens",
    "SersicFit": "light",
    "SersicFitter": "light",
    "LinearOperator": "operators",
    "OverlapOperator": "operators",
    "BilinearSampling": "operators",
    "PixelScatter": "operators",
    "PSFConvolution": "operators",
    "Binning": "operators",
    "ForwardModel": "forward.model",
    "ForwardModelBatch": "forward.batch",
    "JointForwardModel": "forward.joint",
    "prepare": "preparation.prepare",
    "SubstructureMap": "substructure",
    "SuperResolution": "superres.result",
    "expected_resolution": "superres.expected",
    "SuperResolver": "superres.superresolver",
    "Systematics": "superres.systematics",
}

# What has more to offer.
_ROOMS = (
    "catalog",
    "datasets",
    "exceptions",
    "forward",
    "lens",
    "lensfit",
    "light",
    "networks",
    "observation",
    "operators",
    "plotting",
    "preparation",
    "simulate",
    "solvers",
    "superres",
    "training",
)

check_built(Path(__file__).parent)

__getattr__, __dir__ = lazy(__name__, {**_MODULE_OF, **dict.fromkeys(_ROOMS, "")})
