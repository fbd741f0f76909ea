"""The stage of a catalogue that looks for substructure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lenssuper._utils.checks import check_count
from lenssuper.catalog.stages import Stage, Work, found_in
from lenssuper.substructure import SubstructureMap, TidalHalo

__all__ = ["FindSubstructure"]


@dataclass(frozen=True, repr=False)
class FindSubstructure(Stage):
    """
    Looks for subhaloes of dark matter: `~lenssuper.SubstructureMap`, with truncated NFW haloes.

    It needs a lens that fits, of the catalogue or of `FitLens` before it. Maps and candidates are left in
    ``NAME_substructure.fits``. The super-resolution is with the lens there was before.

    Parameters
    ----------
    z_lens, z_source : float, optional
        Redshifts of the lenses for which the catalogue has none in its columns ``z_lens`` and ``z_source``.
    candidates : int, optional
        Peaks that are fitted at most in each lens.
    """

    what: ClassVar[str] = "search for substructure"
    ending: ClassVar[str] = "_substructure.fits"

    z_lens: float | None = None
    z_source: float | None = None
    candidates: int = 3

    def __post_init__(self) -> None:
        check_count(self.candidates, "candidates", 0)
        if self.z_lens is not None or self.z_source is not None:
            _halo(self.z_lens, self.z_source)  # checks them

    def __call__(self, work: Work) -> Work:
        profile = _halo(*(work.entry.redshifts or (self.z_lens, self.z_source)))
        search = SubstructureMap(work.lens, profile, candidates=self.candidates, rng=work.rng, progress=False)
        return replace(work, substructure=search(work.observation))

    def write(self, work: Work, path: Path) -> None:
        found_in(work.substructure).write(path, overwrite=True)

    def numbers(self, work: Work) -> dict[str, Any]:
        found = found_in(work.substructure)
        best = max(found.candidates, key=lambda each: each.gain, default=None)
        seen = found.maps.sensitivity(5.0)
        return {
            "subhaloes": len(found.detections),
            "subhalo_verdict": found.verdict,
            "subhalo_ln_z": None if best is None else best.gain,
            "subhalo_mass": None if best is None else best.mass,
            "subhalo_sensitivity": float(np.nanmin(seen)) if np.isfinite(seen).any() else None,
        }


def _halo(z_lens: Any, z_source: Any) -> TidalHalo:
    """Return the profile of the subhaloes; that the redshifts are given is checked here."""
    return TidalHalo(z_lens, z_source)
