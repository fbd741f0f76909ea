"""What can be resolved in an image with a given lens and noise, before any source is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from scipy.linalg import cho_factor, cho_solve

from lenssuper._utils.checks import check_count, check_number, check_rng
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning, ObservationError
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.solvers.field import MAX_CG, FieldProblem
from lenssuper.solvers.numerics import brightness_unit
from lenssuper.superres.interpolation import interpolated

__all__ = ["ExpectedResolution", "coherence", "expected_resolution"]

# Width of the rings in which spectra are averaged, in units of the data's Nyquist frequency
_RING = 0.1
# Share, by area, of the images of a source pixel that must be bright for it to count in full
_BRIGHT = 0.35
# Sum of the weights, relative to the largest, from which on the data see a source pixel
_SEEN = 1e-6
# Error of the solutions, squared, relative to the noise of all data
_EXACT = 1e-4
# The most pixels for which the curvature is written out as a matrix, how many of its columns are computed at
# a time, and the steps of conjugate gradients that are tried beyond that
_DENSE, _COLUMNS, _STEPS = 6000, 64, 1000


@dataclass(frozen=True, eq=False)
class ExpectedResolution:
    """
    How fine a super-resolved image is expected to be.

    Attributes
    ----------
    frequencies : `~astropy.units.Quantity`, shape (n,)
        Spatial frequencies in cycles per arcsec, up to half a cycle per fine pixel.
    coherence : ndarray, shape (n,)
        Expected correlation of super-resolved image and truth at each: 1 for all, and 0 for nothing known.
    nyquist : `~astropy.units.Quantity`
        That of the data, half a cycle per observed pixel.
    gain : float
        Expected mean squared error of cubic interpolation over that of the super-resolved image, in dB.
    """

    frequencies: u.Quantity
    coherence: np.ndarray
    nyquist: u.Quantity
    gain: float

    @property
    def limit(self) -> float:
        """Frequency at which the coherence falls to one half, in units of `nyquist`."""
        return half_coherence((self.frequencies / self.nyquist).to_value(u.one), self.coherence)

    @property
    def scale(self) -> u.Quantity:
        """Half of the wave of that frequency, in arcsec: what a pixel is for the Nyquist frequency."""
        return (0.5 / (self.limit * self.nyquist)).to(u.arcsec)

    def __repr__(self) -> str:
        return f"<ExpectedResolution: {self.limit:.2f} Nyquist, {self.scale:.3g}, gain {self.gain:.1f} dB>"


def coherence(found: np.ndarray, truth: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    r"""
    Measure how well images agree at each spatial frequency.

    Parameters
    ----------
    found, truth : ndarray, shape (..., ny, nx)
        On pixels ``factor`` times finer than those of the data; several are averaged over.
    factor : int

    Returns
    -------
    frequencies : ndarray
        Middles of rings, in units of the data's Nyquist frequency.
    coherence : ndarray
        :math:`\mathrm{Re} \sum \hat a \hat b^* / \sqrt{\sum |\hat a|^2 \sum |\hat b|^2}` over each ring.
    """
    a, b = np.fft.rfft2(found), np.fft.rfft2(truth)
    ny, nx = np.shape(truth)[-2:]
    wave = 2 * factor * np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx))
    ring = np.minimum((wave / _RING).astype(int), round(factor / _RING))

    def over_rings(values):
        summed = values.reshape(-1, *ring.shape).sum(axis=0)
        return np.bincount(ring.ravel(), weights=summed.ravel())[: round(factor / _RING)]

    cross, power = over_rings((a * b.conj()).real), over_rings(np.abs(a) ** 2) * over_rings(np.abs(b) ** 2)
    known = np.divide(cross, np.sqrt(power), out=np.zeros_like(cross), where=power > 0)
    return (np.arange(len(known)) + 0.5) * _RING, known


def half_coherence(frequencies: np.ndarray, known: np.ndarray) -> float:
    """Return the frequency at which a coherence first falls to one half; the last if it never does."""
    below = np.flatnonzero(known < 0.5)
    if not below.size:
        return float(frequencies[-1])
    k = below[0]
    if k == 0:
        return float(frequencies[0])
    return float(np.interp(-0.5, -known[k - 1 : k + 1], frequencies[k - 1 : k + 1]))


def expected_resolution(
    observation: NDData | Observation,
    lens: LensModel,
    *,
    factor: int = 2,
    std: float = 2.5,
    slope: float = 3.0,
    n: int = 8,
    rng: np.random.Generator | int | None = 0,
) -> ExpectedResolution:
    r"""
    Predict how fine an image a super-resolution of these data will give, and its gain over interpolation.

    Parameters
    ----------
    observation : `~astropy.nddata.NDData` or Observation
        The data, with noise and PSF. Of the source only the rough distribution of the light is taken from it.
    lens : LensModel
    factor : int, optional
        Number of fine pixels along the side of an observed one.
    std, slope : float, optional
        Of the prior of the source: standard deviation of the logarithm of the brightness, and slope of its
        spectrum, as in ``result.hyperparameters`` of the default solver.
    n : int, optional
        Number of sources that are simulated; the more, the smoother the curve.
    rng : `~numpy.random.Generator` or int, optional

    Returns
    -------
    ExpectedResolution

    Raises
    ------
    ObservationError
        If no light is seen, or the observation cannot be used.

    Warns
    -----
    ConvergenceWarning
        If the S/N is too high for the number of pixels, above a hundred in more than 6000.

    Notes
    -----
    The source is s (1 + G x): s is the image averaged over all positions that see a source pixel, G x a
    Gaussian field. For white noise x the Fisher matrix is :math:`J^T J` with :math:`J = A s G / \sigma`, and
    that of the posterior has 1 added. Sources and data are drawn from this linear problem, and each x is
    estimated by the mean of its posterior, :math:`(1 + J^T J)^{-1} J^T d`. This is the Wiener filter, which
    has the least mean squared error for such sources.

    Examples
    --------
    >>> from lenssuper import expected_resolution
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(1, shape=(32, 32))
    >>> bool(0.5 < expected_resolution(mock.observation, mock.lens).limit < 2)
    True
    """
    observation = Observation.of(observation)
    factor, n, rng = check_count(factor, "factor", 1), check_count(n, "n"), check_rng(rng)
    std, slope = check_number(std, "std", above=0), check_number(slope, "slope", above=0)
    model = ForwardModel(observation, lens, factor=factor, order=1)
    model = model.with_noise_covariance(observation.noise_covariance)
    return predicted(model, _brightness(model), std, slope, n, rng)


def predicted(
    model: ForwardModel, brightness: np.ndarray, std: float, slope: float, n: int, rng: np.random.Generator
) -> ExpectedResolution:
    """Return what is expected of sources that are as bright as ``brightness`` (ny, nx), times 1 + G x."""
    unit = brightness_unit(model)
    problem, brightness = FieldProblem(model, unit, None), brightness / unit
    field = problem.field([np.log(std), slope])
    forward, _ = problem.jacobian(field, brightness)
    white = rng.standard_normal((n, *problem.shape)).astype(np.float32)
    noise = np.stack([problem.noise(rng) for _ in range(n)]).astype(np.float32)
    estimated = _estimated(problem, problem.curvature(field, brightness), forward(white) + noise)
    sources = _source(field, brightness, white)
    truth, found = (
        model.lensed_image(sources),
        model.lensed_image(_source(field, brightness, estimated)),
    )
    frequencies, known = coherence(found, truth, model.factor)
    nyquist = (0.5 / model.observation.grid.side_arcsec) / u.arcsec
    cubic = _interpolated(model, unit, sources, rng)
    gain = 10 * np.log10(np.mean((cubic - truth) ** 2) / np.mean((found - truth) ** 2))
    return ExpectedResolution(frequencies * nyquist, known, nyquist, float(gain))


def _estimated(problem, curvature, data):
    """Return (1 + J'J)^-1 J'd for data d (n, ny, nx), by conjugate gradients where they get there."""
    size = np.count_nonzero(problem.used)
    found, steps = curvature.solve(curvature.adjoint(data), least=_EXACT * size, steps=MAX_CG)
    if steps < MAX_CG:
        return found
    # at a high S/N the eigenvalues of H differ too much for a few steps, and for single precision
    data = data.astype(float)
    if size <= _DENSE:
        # = J' (1 + J J')^-1 d (Rasmussen & Williams 2006, eq. A.9)
        solved = np.zeros_like(data)
        factor = cho_factor(_matrix(curvature, problem.used), overwrite_a=True)
        solved[:, problem.used] = cho_solve(factor, data[:, problem.used].T).T
        return curvature.adjoint(solved)
    found, steps = curvature.solve(curvature.adjoint(data), least=_EXACT * size, steps=_STEPS)
    if steps == _STEPS:
        warn(
            "the expected resolution is not accurate, as the S/N is too high for so many pixels: "
            "cut out the part that has the arcs",
            ConvergenceWarning,
        )
    return found


def _matrix(curvature, used):
    """Write out a curvature for the pixels that are used."""
    places = np.flatnonzero(used)
    matrix = np.eye(len(places))
    for start in range(0, len(places), _COLUMNS):
        columns = places[start : start + _COLUMNS]
        units = np.zeros((len(columns), used.size))
        units[np.arange(len(columns)), columns] = 1
        images = curvature.forward(curvature.adjoint(units.reshape(-1, *used.shape)))
        matrix[start : start + len(columns)] += images[:, used]
    return matrix


def _source(field, brightness, white):
    return brightness * (1 + field.apply(white))


def _brightness(model):
    """Return the source as the data show it, averaged over its images; fainter where some are dark."""
    bright = model.observation.bright & (model.weights > 0)
    if not bright.any():
        raise ObservationError(
            "no pixel of the observation is significantly above the noise: there is no source to resolve"
        )
    seen = model.adjoint((model.weights > 0).astype(float))
    # beyond the field only rounding errors are left
    seen = np.where(seen > _SEEN * seen.max(), seen, np.inf)
    average = np.maximum(model.adjoint(np.where(model.weights > 0, model.data, 0.0)) / seen, 0.0)
    # without an edge, which would be detail
    return average * np.clip(model.adjoint(bright.astype(float)) / (_BRIGHT * seen), 0.0, 1.0)


def _interpolated(model, unit, sources, rng):
    """Return cubic interpolations of noisy data of sources, in units of ``unit``."""
    observation = model.observation
    images, sigma = [], np.where(observation.mask, 0.0, observation.sigma)
    for clean in model.forward(unit * sources.astype(float)):
        data = clean + sigma * rng.standard_normal(clean.shape)
        images.append(interpolated(observation.with_data(data), model.factor) / unit)
    return np.stack(images)
