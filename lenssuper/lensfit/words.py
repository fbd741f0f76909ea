"""A fit of a lens in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astropy import units as u

if TYPE_CHECKING:
    from lenssuper.lensfit.fit import LensFit

__all__ = ["quoted", "summary"]


def quoted(value: float | u.Quantity, error: float | u.Quantity) -> tuple[float, float, str]:
    """Give a parameter, its error and their unit as people quote them: directions in degrees."""
    if not isinstance(value, u.Quantity):
        return float(value), float(error), ""
    unit = u.deg if value.unit == u.rad else value.unit
    return float(value.to_value(unit)), float(error.to_value(unit)), unit.to_string()


def summary(fit: LensFit) -> str:
    """Tell what was found and how well it fits, of several observations how well each."""
    lines = [
        f"chi2     {fit.chi2:.6g} in {fit.n_pixels} pixels, reduced {fit.reduced_chi2:.3f}",
        f"modes    {fit.effective_modes:.1f} of the source measured",
        f"evidence ln Z = {fit.log_evidence:.2f}",
    ]
    errors = fit.errors
    for name, value in fit.lens.parameters.items():
        fitted = name in fit.names
        number, unit = (value.value, f" {value.unit}") if isinstance(value, u.Quantity) else (value, "")
        error = errors[name].to_value(value.unit) if unit else errors[name]
        text = f"{number:.5g} ± {error:.2g}{unit}" if fitted else f"{number:.5g}{unit} (fixed)"
        lines.append(f"lens     {name:<22} {text}")
    if len(fit.parts) > 1:
        lines += _of_each(fit)
    lines += [f"note     {message}" for message in fit.messages]
    return "\n".join(lines)


def _of_each(fit):
    """How well each observation fits, and where it lies on the first."""
    lines = []
    for k, part in enumerate(fit.parts):
        good = f"chi2 {part.chi2:.6g} in {part.n_pixels} pixels, reduced {part.reduced_chi2:.3f}"
        lines.append(f"image {k + 1:<2} {good}")
        if k > 0:
            moved, errors = (q[k].to_value(u.arcsec) for q in (fit.offsets, fit.offset_errors))
            x, y = (
                f"{value:.4f} ± {error:.4f}" if error > 0 else f"{value:.4f}"
                for value, error in zip(moved, errors, strict=True)
            )
            lines.append(f"         moved by x = {x}, y = {y} arcsec to lie on the first")
    return lines
