"""A search for substructure as rows of text."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["rows"]


def rows(result) -> list[tuple[str, str]]:
    """Return the lines of the summary of a `SubstructureResult`, each as a name and a text."""
    maps, levels = result.maps, result.maps.levels
    j, i = np.unravel_index(maps.significance.argmax(), maps.grid.shape)
    x, y = maps.grid.to_offset(float(i), float(j))
    lines = [
        ("perturber", result.profile.described()),
        ("smooth lens", f"reduced chi2 {result.reduced_chi2[0]:.3f}"),
        (
            "map",
            f'maximum {maps.significance.max():.1f} sigma at x = {x:.2f}", y = {y:.2f}"; noise alone reaches '
            f"{levels.noise:.1f} with the chance of 5 sigma ({levels.trials:.0f} independent positions), "
            f"negative masses {levels.negative:.1f}",
        ),
    ]
    if result.profile.has_mass:
        seen = maps.sensitivity(5.0)
        known = np.isfinite(seen)
        if known.any():
            text = f"10^{math.log10(np.nanmin(seen)):.2f} Msun at best, in {known.mean():.0%} of the field"
            lines.append(("5 sigma", text))
    for each in result.candidates:
        verdict = "detected" if each.detected else "not detected"
        text = (
            f'{verdict}: Delta ln Z = {each.gain:+.1f}, x = {each.x:.3f} ± {each.errors[0]:.3f}", '
            f'y = {each.y:.3f} ± {each.errors[1]:.3f}", mass 10^({math.log10(each.mass):.2f} ± '
            f"{each.errors[2] / math.log(10):.2f}) Msun"
        )
        if len(each.errors) > 3:
            text += f", concentration {each.concentration:.1f} times the mean"
        lines.append(("candidate", text))
        for rival in each.rivals:
            higher = "higher" if rival.higher > 0 else "lower"
            text = (
                f'or x = {rival.x:.3f}", y = {rival.y:.3f}", mass 10^{math.log10(rival.mass):.2f} Msun, '
                f"where ln Z is {abs(rival.higher):.1f} {higher}"
            )
            lines.append(("", text))
    if not result.candidates:
        lines.append(("candidate", "none: no peak was fitted"))
    free = result.correction
    text = f'free, ln Z {free.gain:+.1f}, length {free.length:g}", deflection {free.std:.2g}" before the data'
    lines.append(("correction", text if free.std else "free: none is better than the smooth lens"))
    if result.detections:
        lines.append(("with clumps", f"reduced chi2 {result.reduced_chi2[1]:.3f}"))
    return lines + [("note", message) for message in result.messages]
