"""Super-resolution: an observation and a lens in, the source and the lensed image on a finer grid out."""

from __future__ import annotations

from lenssuper.superres.budget import ErrorBudget
from lenssuper.superres.expected import ExpectedResolution, coherence, expected_resolution
from lenssuper.superres.result import SuperResolution
from lenssuper.superres.superresolver import SuperResolver
from lenssuper.superres.systematics import Systematics

__all__ = [
    "ErrorBudget",
    "ExpectedResolution",
    "SuperResolution",
    "SuperResolver",
    "Systematics",
    "coherence",
    "expected_resolution",
]
