"""From a lens at its best to the fit that a user gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lenssuper._utils.units import arcsec
from lenssuper.lensfit import concerns
from lenssuper.lensfit.contents import FitImages, Numbers, Offsets
from lenssuper.lensfit.evidence import Inversion
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.refine import Refined
from lenssuper.lensfit.registration import Registration
from lenssuper.lensfit.sourceplane import upright
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators.splines import spline_image

__all__ = ["packed"]

# Pixels of the source that comes out along the distance of two splines
_SHOWN = 4


def packed(
    exposures: Sequence[Exposure],
    registration: Registration,
    refined: Refined,
    covariance: np.ndarray,
    given: np.ndarray,
    messages: Sequence[list[str]],
) -> LensFit:
    """
    Put together what is known after a fit.

    Parameters
    ----------
    exposures : sequence of Exposure
        All that was to be fitted, also what has no light.
    registration : Registration
    refined : Refined
    covariance : ndarray
        Of its vector.
    given : ndarray, shape (n, 2)
        Offsets, in arcsec, by which the observations had been moved before.
    messages : sequence of list of str
        What to know of each observation.
    """
    lens, names = registration.lens(refined.vector), registration.parameters.names
    n = len(registration.parameters)
    of_lens = concerns.of_lens(lens, refined)
    shifts = registration.offsets(refined.vector)
    contents = _contents(exposures, refined, shifts)
    messages = [
        [*said, *concerns.of_residuals(numbers)]
        for said, (numbers, _) in zip(messages, contents, strict=True)
    ]

    def fit(numbers, messages, **rest):
        return LensFit(lens, names, covariance[:n, :n], numbers, messages=messages, **rest)

    if len(exposures) == 1:
        numbers, images = contents[0]
        numbers = replace(numbers, log_evidence=_log_evidence(registration, refined))
        return fit(numbers, [*messages[0], *of_lens], images=images)
    parts = [
        fit(numbers, said, images=images) for said, (numbers, images) in zip(messages, contents, strict=True)
    ]
    numbers = Numbers(
        log_evidence=_log_evidence(registration, refined),
        chi2=sum(part.chi2 for part in parts),
        n_pixels=sum(part.n_pixels for part in parts),
        effective_modes=sum(part.effective_modes for part in parts),
        converged=refined.converged,
    )
    of_data = [f"observation {k}: {each}" for k, said in enumerate(messages, 1) for each in said]
    errors = registration.offsets(np.sqrt(np.diag(covariance)))
    return fit(numbers, [*of_data, *of_lens], parts=parts, offsets=Offsets(given + shifts, errors))


def _log_evidence(registration, refined):
    """Of sources and parameters, the latter by Laplace's approximation (MacKay 2003, ch. 27)."""
    _, log_det = np.linalg.slogdet(refined.information / (2 * np.pi))
    return float(-refined.cost - 0.5 * log_det - registration.log_prior_norm)


def _contents(exposures, refined, shifts):
    """Numbers and images of each observation."""
    found = [None] * len(exposures)
    for inversion in refined.inversions:
        source = _shown(inversion)
        n_pixels = len(inversion.residuals)
        for exposure, place, modelled, amplitudes in _pieces(inversion):
            numbers = Numbers(
                log_evidence=-float(inversion.cost),
                chi2=0.0,
                n_pixels=len(modelled),
                effective_modes=float(inversion.modes) * len(modelled) / n_pixels,
                converged=refined.converged,
            )
            found[place] = _seen(exposure, modelled, amplitudes, numbers, source, shifts[place])
    for place, exposure in enumerate(exposures):
        if found[place] is None:  # without light it had no part in the fit
            grid = source[1]
            nothing = np.zeros(grid.shape), grid
            weights = exposure.weights[exposure.weights > 0]
            data = exposure.part.data[exposure.weights > 0]
            log_evidence = 0.5 * float(np.sum(np.log(weights / (2 * np.pi)) - weights * data**2))
            numbers = Numbers(log_evidence, 0.0, len(weights), 0.0, refined.converged)
            amplitudes = np.zeros(0 if exposure.others is None else len(exposure.others))
            found[place] = _seen(
                exposure, np.zeros(len(weights)), amplitudes, numbers, nothing, shifts[place]
            )
    return found


def _shown(inversion: Inversion) -> tuple[np.ndarray, PixelGrid]:
    """Return the source on square pixels, and these."""
    finer = upright(inversion.grid, _SHOWN)
    return spline_image(inversion.source, inversion.grid, finer), finer


def _pieces(inversion):
    """Yield exposure, its position, its model over the noise, and amplitudes of its foreground."""
    source = inversion.plane.source
    models = [
        camera.unwhitened(model)
        for camera, model in zip(
            source.cameras, source.of_each(source.data - inversion.residuals), strict=True
        )
    ]
    counts = [camera.others.shape[1] for camera in source.cameras]
    amplitudes = np.split(inversion.others, np.cumsum(counts)[:-1])
    return zip(source.exposures, source.positions, models, amplitudes, strict=True)


def _seen(exposure, modelled, amplitudes, numbers, source, shift):
    """Numbers and images of one observation."""
    observation, foreground = exposure.observation, exposure.foreground
    model, front = np.zeros(observation.shape), None
    used = exposure.weights > 0
    part = np.zeros(used.shape)
    part[used] = modelled / np.sqrt(exposure.pixel_weights[used])
    model[exposure.cut] = part
    if foreground is not None:
        front = foreground.with_amplitudes(amplitudes)
        model = np.where(observation.mask, front, model + foreground.expected)
    residuals = np.where(observation.mask, np.nan, (observation.data - model) * np.sqrt(observation.weights))
    if shift.any():
        observation = observation.moved_by(arcsec(shift))
    images = FitImages(observation, model, residuals, *source, front)
    return replace(numbers, chi2=float(np.nansum(residuals**2))), images
