"""A clump that was fitted, and the gain in evidence that makes it a detection."""

from __future__ import annotations

from dataclasses import dataclass

from lenssuper.lens import LensModel

__all__ = ["DETECTION", "Candidate", "Rival"]

# Gain in log evidence that is a detection: that of 5 sigma
DETECTION = 12.5


@dataclass(frozen=True)
class Rival:
    """Another maximum of the evidence, nearly as high, that has the clump elsewhere."""

    x: float  # arcsec
    y: float
    mass: float  # solar masses
    higher: float  # by how much its log evidence is above that of the candidate


@dataclass(frozen=True, eq=False)
class Candidate:
    """
    A clump that was fitted together with the lens.

    Attributes
    ----------
    x, y : float
        Position in arcsec.
    mass : float
        In solar masses.
    concentration : float
        Over the mean one at the mass; 1 if it was not fitted.
    errors : tuple of float
        Standard deviations of x, y, and of the logarithms of mass and, if fitted, concentration. They allow
        for sources that are clumpier than their prior expects, and, unless ``gain`` is negative, for other
        maxima of the evidence and for its shape.
    gain : float
        Logarithm of the ratio of the evidence with the clump to that without, Delta ln Z; both with all other
        clumps that are detected.
    peak : float
        Significance of the highest peak of the scans before it was fitted.
    lens : LensModel
        The clump.
    rivals : tuple of Rival
        Other maxima of the evidence.
    """

    x: float
    y: float
    mass: float
    concentration: float
    errors: tuple[float, ...]
    gain: float
    peak: float
    lens: LensModel
    rivals: tuple[Rival, ...] = ()

    @property
    def detected(self) -> bool:
        """Whether the evidence is decisive: a gain above 12.5, that of 5 sigma."""
        return self.gain > DETECTION
