r"""
A free correction of the potential, for what is no single clump.

The potential is a sum of sine waves with the power of a Matern field, whose standard deviation and length are
those of the largest evidence; source and smooth lens are marginalised as in a scan. With the information I of
the waves, the numerators n, and their prior precision :math:`\Lambda / s`, the waves are
:math:`(I + \Lambda / s)^{-1} n` and the gain in log evidence

.. math:: \tfrac12 n^T (I + \Lambda / s)^{-1} n - \tfrac12 \ln\det(1 + s \Lambda^{-1/2} I \Lambda^{-1/2})

(Koopmans 2005, MNRAS 363, 1136; Vernardos & Koopmans 2022, MNRAS 516, 1347, for such priors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lenssuper.observation.grid import PixelGrid
from lenssuper.substructure.fitted import Fitted

__all__ = ["Correction", "free_correction"]

# Half waves along each side, waves worked on at once, and the width of the field over that of the map
_WAVES, _CHUNK, _WIDER = 20, 16, 1.3
# Smoothness of the field, and lengths and standard deviations of the deflection, in arcsec, that are tried
_SMOOTHNESS, _LENGTHS, _STDS = 3.0, (0.15, 0.3, 0.6, 1.2), np.geomspace(1e-5, 0.1, 41)


@dataclass(frozen=True, eq=False)
class Correction:
    """
    What a free correction of the potential adds to a smooth lens, on the pixels of the maps.

    Attributes
    ----------
    convergence : ndarray, shape (ny, nx)
        The most probable one.
    gain : float
        Gain in log evidence over the smooth lens, for the most probable length and standard deviation.
    length : float
        Of the field, in arcsec.
    std : float
        Standard deviation of the deflection by the field before the data, in arcsec; 0 if none is better.
    """

    convergence: np.ndarray
    gain: float
    length: float
    std: float


def free_correction(fitted: Fitted, grid: PixelGrid) -> Correction:
    """Return the correction of a fitted lens that has the largest evidence."""
    scanned = fitted.copy()
    columns, marginal = scanned.columns, scanned.marginal
    vertices = np.array([np.ravel(v) for v in np.broadcast_arrays(*grid.vertices_arcsec())])
    low, high = vertices.min(axis=1), vertices.max(axis=1)
    middle, size = (low + high) / 2, _WIDER * (high - low).max()
    waves = np.arange(1, _WAVES + 1) * np.pi / size
    kx, ky = (v.ravel() for v in np.meshgrid(waves, waves))
    x, y = columns.cells.centers_arcsec()
    u, v = x - middle[0] + size / 2, y - middle[1] + size / 2
    inside = (u > 0) & (u < size) & (v > 0) & (v < size)
    parts, determinant = [], []
    for first in range(0, len(kx), _CHUNK):
        a, b = (k[first : first + _CHUNK, None, None] for k in (kx, ky))
        fields = np.stack([a * np.cos(a * u) * np.sin(b * v), b * np.sin(a * u) * np.cos(b * v)], axis=1)
        fields = np.where(inside, fields, 0.0).astype(np.float32)
        of_data, of_determinant = columns.of(fields)
        parts.append(of_data)
        determinant.append(of_determinant)
    derivatives = np.concatenate(parts, axis=1)
    numerators = marginal.numerator(derivatives, np.concatenate(determinant))
    information = marginal.matrix(derivatives)
    k2 = kx**2 + ky**2
    best = max(
        (_tuned(information, numerators, k2, length) for length in _LENGTHS), key=lambda found: found[1].gain
    )
    px, py = grid.centers_arcsec()
    px, py = np.broadcast_arrays(px - middle[0] + size / 2, py - middle[1] + size / 2)
    kappa = np.zeros(grid.shape)
    for weight, a, b in zip(-0.5 * k2 * best[0], kx, ky, strict=True):
        kappa += weight * np.sin(a * px) * np.sin(b * py)
    # the Laplacian of a wave is -k^2 times the wave
    return Correction(kappa, best[1].gain, best[1].length, best[1].std)


def _tuned(information, numerators, k2, length):
    """Return the most probable waves for a length of the field, and their correction without the map."""
    power = (2 * _SMOOTHNESS / length**2 + k2) ** -(_SMOOTHNESS + 1)
    # the mean square over the field of a component of the deflection by a wave is k^2 / 8
    power /= np.sum(power * k2) / 8
    root = np.sqrt(power)
    values, vectors = np.linalg.eigh(root[:, None] * information * root)
    values, along = np.maximum(values, 0.0), vectors.T @ (root * numerators)
    gains = [
        0.5 * np.sum(s * along**2 / (1 + s * values)) - 0.5 * np.sum(np.log1p(s * values)) for s in _STDS**2
    ]
    k = int(np.argmax(gains))
    if gains[k] <= 0:
        return np.zeros(len(k2)), Correction(np.zeros(0), 0.0, length, 0.0)
    s = _STDS[k] ** 2
    waves = root * (vectors @ (s * along / (1 + s * values)))
    return waves, Correction(np.zeros(0), float(gains[k]), length, float(_STDS[k]))
