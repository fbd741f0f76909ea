"""A result in a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

if TYPE_CHECKING:
    from lenssuper.superres.result import SuperResolution

__all__ = ["summarise"]


def summarise(result: SuperResolution) -> str:
    """Tell what a result is and how well it fits; what its solver did not tell is left out."""
    widths = result.resolution.to_value(u.arcsec)
    widths = widths[~np.isnan(widths)]
    psf = f'{widths.min():.2g}" to {widths.max():.2g}" in the source plane' if widths.size else ""
    chi2 = f"{result.chi2:.6g} in {result.n_pixels} pixels"
    if not np.isnan(result.reduced_chi2):
        chi2 += f", reduced {result.reduced_chi2:.3f}"
    lines = [
        ("solver", result.solver, bool(result.solver)),
        ("data", _pixels(result.observation.grid), True),
        ("image", f"{_pixels(result.fine_grid)}, factor {result.factor}", True),
        ("source", _pixels(result.source_grid), True),
        ("PSF", psf, bool(psf)),
        ("chi2", chi2, True),
        ("held out", f"chi2 {result.held_out_chi2:.3f} per pixel", _known(result.held_out_chi2)),
        ("modes", f"{result.effective_modes:.1f} measured", _known(result.effective_modes)),
        ("evidence", f"ln Z = {result.log_evidence:.2f}", _known(result.log_evidence)),
        *(("lens", _profile(part), True) for part in result.lens.components),
        *(("note", message, True) for message in result.messages),
        ("note", "the solver stopped before it converged", not result.posterior.converged),
    ]
    return "\n".join(f"{name:<9}{text}" for name, text, told in lines if told)


def _known(value):
    return not np.isnan(value)


def _pixels(grid):
    ny, nx = grid.shape
    return f'{ny} x {nx} pixels of {grid.side_arcsec:.3g}"'


def _profile(part):
    words = (f"{name}={value:.4g}" for name, value in part.parameters.items())
    return f"{type(part).__name__}({', '.join(words)})"
