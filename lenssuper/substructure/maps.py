"""Maps of the gain by a perturber at each position, and of the mass that could be seen there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import ndtr, ndtri

from lenssuper.observation.grid import PixelGrid
from lenssuper.substructure.columns import Columns
from lenssuper.substructure.fitted import Fitted
from lenssuper.substructure.templates import Perturber

__all__ = ["Levels", "Maps", "Peak", "scan"]

# Largest number of positions along a side, and margin around the light, in arcsec
_SIDE, _MARGIN = 44, 0.3
# Masses of perturbers between which maps are interpolated, and those that find peaks
_MASSES, _FEW = tuple(10.0**k for k in (7, 8, 9, 10, 11)), (1e8, 1e10)
# Distance within which there is one peak, in arcsec, and the significance from which on it is one
_APART, _LEAST = 0.25, 3.5
# Draws of the noise, and the chance that a level allows for: that of 5 sigma
_DRAWS, _CHANCE = 400, ndtr(-5.0)


@dataclass(frozen=True)
class Peak:
    """A position at which a perturber improves the fit."""

    x: float  # arcsec
    y: float
    mass: float  # that the scan finds there, or a multiple of a fixed shape
    significance: float


@dataclass(frozen=True, eq=False)
class Levels:
    """Significances that a map without any perturber reaches somewhere."""

    noise: float  # by noise alone, with the chance of 5 sigma
    trials: float  # how many independent positions the map has, by the draws of the noise
    negative: float  # of the most significant negative mass, which no perturber has


@dataclass(frozen=True, eq=False)
class Maps:
    """
    What a scan finds at the pixels of ``grid``, each (ny, nx).

    ``significance``, ``amplitude`` and its error ``sigma`` are of the perturber of ``reference``; ``masses``
    (n,) are those of all perturbers, with their ``numerators`` and ``informations`` (n, ny, nx).
    """

    grid: PixelGrid
    reference: int  # index of the perturber of the first maps
    masses: np.ndarray
    numerators: np.ndarray
    informations: np.ndarray
    levels: Levels

    @property
    def amplitude(self) -> np.ndarray:
        """Amplitudes in units of the perturber."""
        return self.numerators[self.reference] / self.informations[self.reference]

    @property
    def sigma(self) -> np.ndarray:
        """Errors of the amplitudes."""
        return self.informations[self.reference] ** -0.5

    @property
    def significance(self) -> np.ndarray:
        """Amplitudes over their errors."""
        return self.amplitude / self.sigma

    @property
    def mass(self) -> np.ndarray:
        """Mass of the perturber whose amplitude is one; NaN where negative or out of range."""
        return _crossing(self.masses, self.numerators / self.informations, 1.0, falling=True)

    def sensitivity(self, sigmas: float) -> np.ndarray:
        """Return the mass that would be seen with a significance; NaN where none of the masses would."""
        return _crossing(self.masses, np.sqrt(self.informations), sigmas, falling=False)

    def peaks(self, n: int) -> list[Peak]:
        """
        Return at most n positive peaks, the most significant first.

        Those of all masses of perturbers: the wide peak of a heavy one hides the narrow one of a light one
        beside it. Of peaks that are close to each other only the most significant is returned.
        """
        found = []
        size = 2 * int(np.ceil(_APART / self.grid.side_arcsec)) + 1
        maps = zip(self.masses, self.numerators, self.informations, strict=True)
        for mass, numerators, informations in maps:
            significance = numerators / np.sqrt(informations)
            is_peak = ndimage.maximum_filter(significance, size, mode="nearest") == significance
            for j, i in zip(*np.nonzero(is_peak & (significance > _LEAST)), strict=True):
                x, y = self.grid.to_offset(float(i), float(j))
                fitted = float(mass * numerators[j, i] / informations[j, i])
                found.append(Peak(x, y, fitted, float(significance[j, i])))
        found.sort(key=lambda each: -each.significance)
        peaks: list[Peak] = []
        for peak in found:
            if all(math.hypot(peak.x - other.x, peak.y - other.y) > _APART for other in peaks):
                peaks.append(peak)
        return peaks[:n]


def scan(
    fitted: Fitted, perturber: Perturber, mass: float, rng: np.random.Generator, *, finely: bool = False
) -> Maps:
    """
    Scan the field around the light for a kind of perturber, with maps of that of a mass.

    With ``finely`` there are as many other masses as the map of the sensitivity needs.
    """
    scanned = fitted.copy()
    columns, marginal = scanned.columns, scanned.marginal
    corners, shape, grid = _positions(columns, fitted.source.clearest.light[:2])
    masses = sorted({*(_MASSES if finely else _FEW), mass}) if perturber.has_mass else [1.0]
    numerators, informations = [], []
    for each in masses:
        deflection = perturber.lens(each).deflection_arcsec
        derivatives, determinant = columns.at(deflection, corners)
        informations.append(marginal.information(derivatives)[0])
        numerators.append(marginal.numerator(derivatives, determinant))
        if each == mass or not perturber.has_mass:
            significances = marginal.noise(derivatives, _DRAWS, rng) / np.sqrt(informations[-1])
            levels = _levels(numerators[-1] / np.sqrt(informations[-1]), significances)
        del derivatives  # before the next ones, which are as large
    reference = masses.index(mass) if perturber.has_mass else 0
    gains, errors = (np.array(v, dtype=np.float64).reshape(-1, *shape) for v in (numerators, informations))
    return Maps(grid, reference, np.array(masses), gains, errors, levels)


def _positions(columns: Columns, light):
    """Return corners (n, 2) of the lattice around the light, the shape of their map, and its grid."""
    pixels = np.array(columns.cells.to_pixel(*light)) + 0.5
    margin = _MARGIN / columns.cells.side_arcsec
    low, high = pixels.min(axis=1) - margin, pixels.max(axis=1) + margin
    ny, nx = columns.cells.shape
    low, high = np.maximum(low, 1), np.minimum(high, [nx - 1, ny - 1])
    step = int(np.ceil((high - low).max() / _SIDE))
    low, high = np.ceil(low).astype(int), np.floor(high).astype(int)
    i, j = (np.arange(a, b + 1, step) for a, b in zip(low, high, strict=True))
    corners = np.stack([v.ravel() for v in np.meshgrid(i, j)], axis=1)
    matrix, origin = columns.cells.matrix * step, columns.offsets(corners[:1])[0]
    grid = PixelGrid.from_affine((len(j), len(i)), matrix, origin, columns.cells._reference)
    return corners, grid.shape, grid


def _levels(found, noise):
    """Return the levels of a map, from draws (n, positions) of the significance without a perturber."""
    # the chance of the maximum of n independent positions is close to n times that of each
    trials = max(1.0, float(np.log(2) / ndtr(-np.median(noise.max(axis=1)))))
    return Levels(float(-ndtri(_CHANCE / trials)), trials, float(max(0.0, -found.min())))


def _crossing(masses, values, level, *, falling):
    """Return the mass at which values (n, ny, nx) first cross a level, by their logarithms; or NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(values / level) * (-1 if falling else 1)
        below, above = logs[:-1], logs[1:]
        share = np.where((below < 0) & (above >= 0), -below / (above - below), np.nan)
    steps = np.diff(np.log(masses))[:, None, None]
    crossings = np.log(masses[:-1])[:, None, None] + share * steps
    first = np.isfinite(share).argmax(axis=0) if len(share) else None
    if first is None:
        return np.full(values.shape[1:], np.nan)
    return np.exp(np.take_along_axis(crossings, first[None], 0)[0])
