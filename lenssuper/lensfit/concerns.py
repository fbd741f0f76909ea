"""What a person should know of a fit before trusting it."""

from __future__ import annotations

from lenssuper.lens import LensModel
from lenssuper.lensfit.contents import Numbers
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.refine import Refined
from lenssuper.lensfit.search import POOR, SCATTERED

__all__ = ["of_data", "of_lens", "of_residuals"]

# Of what is a lens expected less than this, or more
_FLAT, _SHEARED = 0.35, 0.25


def of_data(exposure: Exposure, *, dark: bool) -> list[str]:
    """
    Tell what is not as it should be before the fit.

    Parameters
    ----------
    exposure : Exposure
    dark : bool
        Whether it has no part in the fit, as there is no light.
    """
    messages = []
    if dark:
        messages.append("no light stands out of the noise, and it has no part in the fit")
    if exposure.observation.noise_given is None and exposure.covariance is not None:
        messages.append(
            "the noise of neighbouring pixels is correlated, as in drizzled images: the lens is fitted with "
            f"their covariance, {exposure.raised:.2f} times the variance for what is larger than pixels; "
            "Observation.from_nddata(..., noise_correlation=1) takes it as it is given"
        )
    if exposure.observation.psf is None:
        messages.append(
            "the observation has no psf and is taken as not blurred: "
            "add one with nddata.psf = array (odd sides, its centre in the middle)"
        )
    return messages


def of_residuals(numbers: Numbers) -> list[str]:
    """Tell whether there is more in the residuals than noise."""
    reduced = numbers.chi2 / max(1.0, numbers.n_pixels - numbers.effective_modes)
    if reduced <= POOR:
        return []
    return [
        f"the residuals are larger than the noise, reduced chi-square {reduced:.2f}: look at them; the "
        "noise map, the PSF, light of the lens galaxy or the kind of lens may be wrong, and errors are "
        "too small"
    ]


def of_lens(lens: LensModel, refined: Refined) -> list[str]:
    """Tell what is not as one expects it of a lens."""
    messages = []
    if not refined.converged:
        messages.append("the fit stopped before it converged: go on from its lens, LensFitter(fit.lens)")
    if refined.gathering > SCATTERED:
        messages.append(
            "the lens does not take the arcs to one place: the fit may have taken them for what the source "
            "looks like without a lens; start from another Einstein radius, and mask what is no arc"
        )
    for name, value in lens.parameters.items():
        last = name.rpartition(".")[2]
        if last == "q" and value < _FLAT:
            messages.append(
                f"the lens is very flat, {name} = {value:.2f}: a prior or fixed parameters may help"
            )
        if last in ("gamma1", "gamma2") and abs(value) > _SHEARED:
            messages.append(f"the shear is very strong, {name} = {value:.2f}: a prior may help")
    return messages
