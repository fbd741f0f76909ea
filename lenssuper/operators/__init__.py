"""Linear operators: light moved between the planes, blurred, and binned to pixels.

Everything is loaded when it is first used, so that binning an image does not bring in the code that the
overlap operator needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lenssuper.operators.averages import SplineAverages
    from lenssuper.operators.base import LensingOperator, LinearOperator, SparseOperator
    from lenssuper.operators.binning import Binning, Sampling
    from lenssuper.operators.overlap.operator import OverlapOperator
    from lenssuper.operators.psf import BlurAndBin, PSFConvolution, fine_kernel
    from lenssuper.operators.sampling import BilinearSampling
    from lenssuper.operators.scatter import PixelScatter
    from lenssuper.operators.splines import SplineSampling

__all__ = [
    "BilinearSampling",
    "Binning",
    "BlurAndBin",
    "LensingOperator",
    "LinearOperator",
    "OverlapOperator",
    "PSFConvolution",
    "PixelScatter",
    "Sampling",
    "SparseOperator",
    "SplineAverages",
    "SplineSampling",
    "fine_kernel",
]

_MODULE_OF = {
    "LensingOperator": "base",
    "LinearOperator": "base",
    "SparseOperator": "base",
    "Binning": "binning",
    "Sampling": "binning",
    "OverlapOperator": "overlap",
    "BlurAndBin": "psf",
    "PSFConvolution": "psf",
    "fine_kernel": "psf",
    "BilinearSampling": "sampling",
    "PixelScatter": "scatter",
    "SplineAverages": "averages",
    "SplineSampling": "splines",
}


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"lenssuper.operators.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
