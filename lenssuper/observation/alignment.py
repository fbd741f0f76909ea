"""Several observations of one lens, brought into one frame on the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData

from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["aligned", "correlation_of_each", "correlation_of_one", "one_each", "opened"]

# Reference points that differ by less are the same one, written in other digits.
_SAME_PLACE = 1e-6 * u.arcsec


def opened(
    observation: NDData | Observation,
    reference: SkyCoord | None = None,
    *,
    grid: PixelGrid | None = None,
    psf_oversampling: int = 1,
    psf_includes_pixel: bool = True,
) -> Observation:
    """
    Check and unpack an observation.

    Parameters
    ----------
    observation : `~astropy.nddata.NDData` or Observation
        One that is unpacked already stays as it is.
    reference : `~astropy.coordinates.SkyCoord`, optional
        Where offsets are counted from; by default the centre of the image.
    grid : PixelGrid, optional
        Where the pixels are, instead of what the WCS says.
    psf_oversampling : int, optional
        Number of PSF samples per pixel of the image, along each axis.
    psf_includes_pixel : bool, optional
        Whether the PSF is effective (contains the pixel) or optical.

    Returns
    -------
    Observation

    Raises
    ------
    ObservationError
        If the observation cannot be used; the message says what to do.
    """
    if isinstance(observation, Observation):
        return observation
    if grid is None and reference is not None and isinstance(observation, NDData):
        grid = PixelGrid.from_nddata(observation, reference=reference)
    return Observation.from_nddata(
        observation, grid=grid, psf_oversampling=psf_oversampling, psf_includes_pixel=psf_includes_pixel
    )


def aligned(
    observations: Sequence[NDData | Observation],
    offsets: u.Quantity | None = None,
    reference: SkyCoord | None = None,
    **options,
) -> list[Observation]:
    """
    Check and unpack observations whose offsets are to be counted from one point of the sky.

    Parameters
    ----------
    observations : sequence of `~astropy.nddata.NDData` or Observation
    offsets : `~astropy.units.Quantity`, shape (n, 2), optional
        By how much each has to be moved (x, y) to lie where the first one is.
    reference : `~astropy.coordinates.SkyCoord`, optional
        Where offsets are counted from; by default the centre of the first.
    **options
        As for `opened`.

    Returns
    -------
    list of Observation

    Raises
    ------
    ObservationError
        If an observation cannot be used, its place on the sky is not known, or its offsets are counted from
        elsewhere.
    TypeError, ValueError
        If there are none, or ``offsets`` is not one pair of angles for each.
    """
    if not observations:
        raise ValueError("observations must hold at least one; got none")
    shifts = np.zeros((len(observations), 2))
    if offsets is not None:
        shifts = np.asarray(to_arcsec(offsets, "offsets"))
        if shifts.shape != (len(observations), 2):
            raise ValueError(
                f"offsets must be (x, y) for each of {len(observations)} observations; got {shifts.shape}"
            )
    together = []
    for observation, shift in zip(observations, shifts, strict=True):
        observation = opened(observation, reference, **options)
        found = observation.grid.reference
        if found is None:
            raise ObservationError(
                "the place of an observation on the sky is not known: each needs a celestial WCS"
            )
        reference = found if reference is None else reference
        if found.separation(reference) > _SAME_PLACE:
            raise ObservationError(
                f"the offsets of an observation are counted from {found.to_string('hmsdms')}, and not "
                f"from {reference.to_string('hmsdms')}: give it as an NDData, or with such a grid"
            )
        if np.any(shift):
            observation = replace(observation, grid=observation.grid.moved_by(shift))
        together.append(observation)
    return together


def one_each(name: str, given, n: int) -> list:
    """
    Give what an argument has for each of n observations.

    Raises
    ------
    TypeError, ValueError
        If it is neither None nor a list of that length.
    """
    if given is None:
        return [None] * n
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{name} must be a list with one for each of {n} observations; got {given!r:.80}")
    if len(given) != n:
        raise ValueError(f"{name} must hold one for each of {n} observations; got {len(given)}")
    return list(given)


def correlation_of_each(given: float | np.ndarray | list | None, n: int) -> list:
    """Give how the noise of each of n observations is correlated; what is no list is for all."""
    return one_each("noise_correlation", given if isinstance(given, list) else [given] * n, n)


def correlation_of_one(given: float | np.ndarray | list | None) -> float | np.ndarray | None:
    """Give how the noise of a single observation is correlated; a list is refused."""
    if isinstance(given, list):
        raise ValueError("noise_correlation must be a number or an array for one observation; got a list")
    return given
