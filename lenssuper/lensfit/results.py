"""From the lens of the largest evidence to the `LensFit` that a user gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lenssuper._utils.units import arcsec
from lenssuper.lens import LensModel
from lenssuper.lensfit.evidence import Inversion
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.fit import FitImages, LensFit
from lenssuper.lensfit.lighterrors import amplitude_spread, light_errors
from lenssuper.lensfit.refine import Refined
from lenssuper.lensfit.registration import Registration
from lenssuper.lensfit.search import POOR, SCATTERED
from lenssuper.lensfit.sourceplane import upright
from lenssuper.operators.splines import spline_image

__all__ = ["lens_fit", "log_evidence", "optima"]

# Pixels of the source image between two nodes of the splines
_SHOWN = 4
# Axis ratio below which, and shear above which, the user is warned
_FLAT, _SHEARED = 0.35, 0.25
# Standard deviations, in the root mean square of the parameters, from which a lens is another one
_DISTINCT = 3.0


def lens_fit(
    exposures: Sequence[Exposure],
    registration: Registration,
    refined: Refined,
    covariance: np.ndarray,
    given: np.ndarray,
) -> LensFit:
    """
    Return the result of a fit to all exposures, also those without light of the source.

    ``covariance`` is that of the refined vector, ``given`` (n, 2) the offsets in arcsec by which the
    observations were moved before the fit.
    """
    n, vector = len(registration.parameters), refined.vector
    lens, shifts = registration.lens(vector), registration.offsets(vector)
    common: dict[str, Any] = {
        "lens": lens,
        "names": registration.parameters.names,
        "vector_covariance": covariance[:n, :n].copy(),
        "converged": refined.converged,
    }
    parts: list[Any] = [None] * len(exposures)  # each a LensFit in the end
    for inversion in refined.inversions:
        finer = upright(inversion.grid, _SHOWN)
        source = spline_image(inversion.source, inversion.grid, finer), finer
        for exposure, k, model, amplitudes, spread in _of_each(inversion):
            numbers = {
                "log_evidence": -float(inversion.cost),
                "effective_modes": float(inversion.modes) * len(model) / len(inversion.residuals),
            }
            errors = light_errors(exposure, spread)
            parts[k] = _fit_of(exposure, model, amplitudes, errors, source, shifts[k], common | numbers)
    for k, exposure in enumerate(exposures):
        if parts[k] is None:  # without light it did not enter the fit
            parts[k] = _fit_without_light(exposure, finer, shifts[k], common)
    of_lens = _lens_messages(lens, refined)
    evidence = log_evidence(registration, refined)
    if len(parts) == 1:
        return replace(parts[0], log_evidence=evidence, messages=(*parts[0].messages, *of_lens))
    of_data = [f"observation {k}: {each}" for k, part in enumerate(parts, 1) for each in part.messages]
    return LensFit(
        **common,
        log_evidence=evidence,
        chi2=sum(part.chi2 for part in parts),
        n_pixels=sum(part.n_pixels for part in parts),
        effective_modes=sum(part.effective_modes for part in parts),
        messages=(*of_data, *of_lens),
        of_each=tuple(parts),
        offsets=arcsec(given + shifts),
        offset_errors=arcsec(registration.offsets(np.sqrt(np.diag(covariance)))),
    )


def optima(registration: Registration, found: Sequence[Refined]) -> tuple[tuple[LensModel, float], ...]:
    """Return the lenses of a search that differ, the best first, and ln Z of each; () if all agree."""
    best = found[0]
    each = [best]
    for other in found[1:]:
        moved = other.vector - best.vector
        if moved @ best.information @ moved > _DISTINCT**2 * len(moved):
            each.append(other)
    if len(each) == 1:
        return ()
    return tuple((registration.lens(one.vector), log_evidence(registration, one)) for one in each)


def log_evidence(registration, refined):
    """Evidence of sources and parameters, the latter by Laplace's approximation (MacKay 2003, ch. 27)."""
    _, log_det = np.linalg.slogdet(refined.information / (2 * np.pi))
    return float(-refined.cost - 0.5 * log_det - registration.log_prior_norm)


def _of_each(inversion: Inversion):
    """
    Yield each exposure, its position, and its model over the noise.

    Then, of the parts of its foreground, the amplitudes, and their spread as `amplitude_spread` has it.
    """
    source = inversion.plane.source
    models = source.of_each(source.data - inversion.residuals)
    models = [camera.unwhitened(model) for camera, model in zip(source.cameras, models, strict=True)]
    counts = [camera.others.shape[1] for camera in source.cameras]
    ends = np.cumsum(counts)[:-1]
    amplitudes = np.split(inversion.others, ends)
    spreads = np.split(amplitude_spread(inversion), ends, axis=1)
    return zip(source.exposures, source.positions, models, amplitudes, spreads, strict=True)


def _fit_without_light(exposure, source_grid, shift, common):
    """Return the fit of no source to one observation."""
    used = exposure.weights > 0
    weights, data = exposure.weights[used], exposure.part.data[used]
    log_evidence = 0.5 * float(np.sum(np.log(weights / (2 * np.pi)) - weights * data**2))
    amplitudes = np.zeros(0 if exposure.others is None else len(exposure.others))
    dark = np.zeros(source_grid.shape), source_grid
    numbers = {"log_evidence": log_evidence, "effective_modes": 0.0}
    fit = _fit_of(exposure, np.zeros(len(data)), amplitudes, None, dark, shift, common | numbers)
    message = "no pixel is significantly above the noise, and the observation does not enter the fit"
    return replace(fit, messages=(message, *fit.messages))


def _fit_of(exposure, modelled, amplitudes, errors, source, shift, fields):
    """Return the fit to one observation; the model is over the noise, in the pixels that are used."""
    observation, foreground = exposure.observation, exposure.foreground
    model, front, used = np.zeros(observation.shape), np.zeros(observation.shape), exposure.weights > 0
    part = np.zeros(used.shape)
    part[used] = modelled / np.sqrt(exposure.pixel_weights[used])
    model[exposure.cut] = part
    if foreground is not None:
        front = foreground.with_amplitudes(amplitudes)
        model = np.where(~exposure.field, front, model + foreground.expected)
    scale = np.sqrt(observation.weights)
    residuals = np.where(~exposure.field, np.nan, (observation.data - model) * scale)
    if shift.any():
        observation = observation.moved_by(arcsec(shift))
    chi2, n_pixels = float(np.nansum(residuals**2)), len(modelled)
    return LensFit(
        **fields,
        chi2=chi2,
        n_pixels=n_pixels,
        messages=tuple(_data_messages(exposure, chi2, n_pixels - fields["effective_modes"])),
        images=FitImages(observation, model, residuals, *source, front, errors),
    )


def _data_messages(exposure, chi2, freedom):
    """Return messages on one observation and its residuals."""
    messages = []
    if exposure.observation.noise_given is None and exposure.covariance is not None:
        messages.append(
            "the noise of neighbouring pixels is correlated, as in drizzled images: the lens is fitted with "
            f"their covariance, which raises the variance of structures larger than a pixel by "
            f"{exposure.raised:.2f}; Observation.from_nddata(..., noise_correlation=1) ignores it"
        )
    if exposure.observation.psf is None:
        messages.append(
            "the observation has no psf and is taken as not blurred: "
            "add one with nddata.psf = array (odd sides, its centre in the middle)"
        )
    if freedom <= 0:
        messages.append(
            f"there are {-freedom:.4g} more effective modes than pixels, and reduced_chi2 is nan: too few "
            "pixels, or pixels with far too small a noise, can cause this"
        )
    elif chi2 / max(1.0, freedom) > POOR:
        messages.append(
            f"the residuals are larger than the noise, reduced chi-square {chi2 / freedom:.2f}: look at "
            "them; the noise map, the PSF, light of the lens galaxy or the kind of lens may be wrong, and "
            "the errors are too small"
        )
    return messages


def _lens_messages(lens: LensModel, refined: Refined) -> list[str]:
    """Return messages on the unusual parameters of a fitted lens."""
    messages = []
    if not refined.converged:
        messages.append("the fit stopped before it converged: continue from its lens, LensFitter(fit.lens)")
    if refined.gathering > SCATTERED:
        messages.append(
            "the lens does not map the arcs to one region of the source plane: the source may be a copy of "
            "the image; start from another Einstein radius, and mask all that is no arc"
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
