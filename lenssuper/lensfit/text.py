"""A fit of a lens as rows of text."""

from __future__ import annotations

from astropy import units as u

from lenssuper._utils.text import decimals, with_error
from lenssuper._utils.units import quoted
from lenssuper.lens.angles import east_of_north

__all__ = ["parameter_rows", "rows"]

# Of a parameter without an error, in a table.
_DECIMALS = 4


def rows(fit) -> list[tuple[str, str]]:
    """Return the lines of the summary of a `LensFit`, each as a name and a text, without its verdict."""
    lines = [
        ("chi2", _chi2(fit)),
        ("modes", f"{fit.effective_modes:.1f} of the source measured"),
        ("evidence", f"ln Z = {fit.log_evidence:.2f}"),
    ]
    for name, value in fit.lens.parameters.items():
        number, error, unit = quoted(value, fit.errors[name])
        text = with_error(number, error) if name in fit.names else f"{number:.5g}"
        text = f"{text} {unit}".rstrip() + ("" if name in fit.names else " (fixed)")
        if name.rpartition(".")[2].startswith("phi"):
            text += f", PA {east_of_north(number):.4g} deg E of N"
        lines.append(("lens", f"{name:<22} {text}"))
    for k, part in enumerate(fit.parts if len(fit.parts) > 1 else ()):
        lines.append((f"image {k + 1}", f"chi2 {_chi2(part)}"))
        if k > 0:
            shift, errors = (q[k].to_value(u.arcsec) for q in (fit.offsets, fit.offset_errors))
            x, y = (
                f"{value:.4f} ± {error:.4f}" if error > 0 else f"{value:.4f}"
                for value, error in zip(shift, errors, strict=True)
            )
            lines.append(("", f"shifted by x = {x}, y = {y} arcsec to align with the first"))
    return lines + [("note", message) for message in fit.messages]


def _chi2(fit):
    return f"{fit.chi2:.6g} in {fit.n_pixels} pixels, reduced {fit.reduced_chi2:.3f}"


def parameter_rows(fit) -> list[tuple[str, str, str, str]]:
    """
    Return name, value, error and unit of each parameter of the lens; no error of a fixed one.

    On the sky a direction has a second row, as a position angle east of north.
    """
    found, errors = [], fit.errors
    for name, value in fit.lens.parameters.items():
        value, error, unit = quoted(value, errors[name])
        digits = decimals(error) if name in fit.names else None
        digits = _DECIMALS if digits is None else digits
        spread = f"{error:.{digits}f}" if name in fit.names else ""
        found.append((name, f"{value:.{digits}f}", spread, unit))
        if name.endswith("phi") and fit.observation.grid.reference is not None:
            found.append(("  east of north", f"{east_of_north(value):.{digits}f}", spread, unit))
    return found
