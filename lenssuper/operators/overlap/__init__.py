"""The exact overlap of lensed image pixels with source pixels."""

from __future__ import annotations

from lenssuper.operators.overlap.operator import OverlapOperator

__all__ = ["OverlapOperator"]
