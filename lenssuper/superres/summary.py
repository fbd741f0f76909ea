"""A super-resolution in numbers, as rows of a name and a value."""

from __future__ import annotations

import numpy as np
from astropy import units as u

from lenssuper._utils.units import quoted
from lenssuper.lens.angles import east_of_north

__all__ = ["lens_rows", "profile_in_words", "summary_rows"]

# Share of the peak of the source from which it is called bright.
_BRIGHT = 0.1


def summary_rows(result) -> list[tuple[str, str]]:
    """Return what a super-resolution is and how well it fits; numbers that its solver lacks are left out."""
    mean = result.posterior.mean
    # at a singular centre of a lens the width is without bound, and says nothing of the galaxy
    widths = result.resolution_arcsec[mean >= _BRIGHT * mean.max()]
    widths = widths[~np.isnan(widths)]
    psf = f'{widths.min():.2g}" to {widths.max():.2g}" where the source is bright' if widths.size else ""
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
        *(("lens", profile_in_words(part), True) for part in result.lens.components),
        *(("note", message, True) for message in result.messages),
        ("note", "the solver stopped before it converged", not result.posterior.converged),
    ]
    return [(name, text) for name, text, known in lines if known]


def lens_rows(result) -> list[tuple[str, str, None, str]]:
    """Return name, value, error and unit of each parameter of the lens; errors, not known, are None."""
    found = []
    for name, value in result.lens.parameters.items():
        number, _, unit = quoted(value, value)
        found.append((name, f"{number:.4f}", None, unit))
        if name.endswith("phi") and result.observation.grid.reference is not None:
            found.append(("  east of north", f"{east_of_north(number):.4f}", None, unit))
    return found


def _known(value):
    return not np.isnan(value)


def _pixels(grid):
    ny, nx = grid.shape
    return f'{ny} x {nx} pixels of {grid.side_arcsec:.3g}"'


def profile_in_words(part) -> str:
    """Return the name and the parameters of a lens profile, directions with their position angle."""
    return f"{type(part).__name__}({', '.join(map(_parameter, part.parameters.items()))})"


def _parameter(item):
    name, value = item
    if not (isinstance(value, u.Quantity) and value.unit.is_equivalent(u.deg) and name.startswith("phi")):
        return f"{name}={value:.4g}"
    phi = value.to_value(u.deg)
    return f"{name}={phi:.4g} deg [PA {east_of_north(phi):.4g} deg E of N]"
