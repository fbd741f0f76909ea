"""How noisy an image is: from its sky, its exposure time, or a noise map that is held against the sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.modeling.fitting import FittingWithOutlierRemoval, LinearLSQFitter
from astropy.modeling.polynomial import Polynomial2D
from astropy.stats import sigma_clip, sigma_clipped_stats
from scipy.ndimage import uniform_filter

from lenssuper.exceptions import ObservationError
from lenssuper.observation import Observation
from lenssuper.observation.noise import sky_level, sky_pixels

__all__ = ["Sky", "lacks_photons", "measure_sky", "noise_map", "rescale_noise"]

# Pixels of sky below which its scatter is not trusted: it is then known to 1 / sqrt(2 n), 5 per cent.
_FEW = 200
# Side of the square over which the image is averaged to follow the sky of a large field. Degree of the
# polynomial that follows it, and the outskirts of a galaxy, in a small one.
_GRADIENT, _DEGREE = 25, 6
# Pixels that the polynomial is fitted to where there are more than twice as many.
_PLENTY = 50_000
# Standard deviation of what is left of Gaussian noise when it is clipped at three of its own standard
# deviations until nothing changes, relative to what it was.
_CLIPPED = 0.9848
# A pixel is at the floor of a noise map if it is within this of the smallest value; how far above it has to
# be for its own noise to be seen, and how many pixels of either kind are enough to tell.
_FLOOR_WIDTH, _ABOVE, _ENOUGH = 1e-3, 1.2, 20
# Photon noise, relative to the floor's variance, that cannot be missing in a map without a floor.
_MISSING = 0.3
# Brightness, in standard deviations of the sky, at which photon noise is looked for in a noise map, in how
# many pixels, and the variance, relative to that of the map's median, by which it is seen
_SEEN_AT, _SEEN_IN, _SEEN = 200.0, 4, 1.1
# A noise map is left alone when the sky agrees with it to this, or to so many standard errors.
_AGREES, _ERRORS = 0.03, 3.0


@dataclass(frozen=True)
class Sky:
    """
    The blank part of an image.

    Attributes
    ----------
    level : float
        Its brightness, in the unit of the data.
    rms : float
        Standard deviation of a pixel around it.
    pixels : ndarray of bool, shape (ny, nx)
        Where it was measured.
    """

    level: float
    rms: float
    pixels: np.ndarray


def measure_sky(data: np.ndarray, mask: np.ndarray | None = None) -> Sky:
    """
    Measure the level and the noise of the sky.

    Parameters
    ----------
    data : array, shape (ny, nx)
        An image whose noise is much the same in all of its sky.
    mask : array of bool, optional
        Pixels that are not used; those that are not finite are not either.

    Returns
    -------
    Sky

    Raises
    ------
    ObservationError
        If there are fewer than 200 pixels of sky.

    Notes
    -----
    Pixels near any light are left out: those around which the mean of 5 x 5 pixels stands out of its own
    scatter around the commonest value, and their neighbours. What is left is clipped at three standard
    deviations. The scatter is that around a polynomial of degree 6, fitted to it, and around the mean of
    25 x 25 pixels of what remains, so that the outskirts of a galaxy do not count as noise.
    """
    data = np.asarray(data, dtype=np.float64)
    used = np.isfinite(data) if mask is None else np.isfinite(data) & ~np.asarray(mask, dtype=bool)
    if np.count_nonzero(used) < _FEW:
        pixels = np.zeros_like(used)
    else:
        pixels = sky_pixels(np.where(used, data - sky_level(data, used), 0.0), used)
    if np.count_nonzero(pixels) < _FEW:
        raise ObservationError(
            f"the image has {np.count_nonzero(pixels)} pixels of blank sky, and at least {_FEW} are needed "
            "to measure its noise: cut out a larger field, or give the noise as rms="
        )
    level, _, _ = sigma_clipped_stats(data[pixels])
    smooth, terms = _polynomial(data, pixels)
    flat = data - smooth
    flat -= _local_mean(flat, pixels, _GRADIENT)
    _, _, rms = sigma_clipped_stats(flat[pixels])
    followed = (1 - terms / np.count_nonzero(pixels)) * (1 - _GRADIENT**-2)
    return Sky(float(level), float(rms / (_CLIPPED * np.sqrt(followed))), pixels)


def _polynomial(data, where):
    """A polynomial that follows some pixels, and the number of its terms."""
    y, x = (axis / max(n - 1, 1) * 2 - 1 for axis, n in zip(np.indices(data.shape), data.shape, strict=True))
    seen = np.flatnonzero(where)
    seen = seen[:: max(1, len(seen) // _PLENTY)]
    fitter = FittingWithOutlierRemoval(LinearLSQFitter(), sigma_clip, niter=3, sigma=3)
    fitted, _ = fitter(Polynomial2D(_DEGREE), *(values.ravel()[seen] for values in (x, y, data)))
    return fitted(x, y), len(fitted.parameters)


def _local_mean(data, where, side):
    total = uniform_filter(np.where(where, data, 0.0), side, mode="constant")
    return total / np.maximum(uniform_filter(where.astype(float), side, mode="constant"), side**-2)


def noise_map(
    data: np.ndarray,
    rms: float | np.ndarray,
    *,
    unit: u.UnitBase = u.dimensionless_unscaled,
    exposure_time: u.Quantity | None = None,
    gain: u.Quantity | None = None,
) -> np.ndarray:
    """
    Give the standard deviation of every pixel: the noise of the sky, and that of the light.

    Parameters
    ----------
    data : array, shape (ny, nx)
        The image, less the sky.
    rms : float or array
        Standard deviation of the sky, in the unit of the data.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the data, such as electron / s.
    exposure_time : `~astropy.units.Quantity`, optional
        Total exposure time, one for all or one a pixel.
    gain : `~astropy.units.Quantity`, optional
        What to multiply the data with to get electrons (electron / adu) or, with ``exposure_time``, electrons
        per second (for instance electron / s per MJy / sr).

    Returns
    -------
    ndarray, shape (ny, nx)

    Raises
    ------
    ValueError
        If unit, gain and exposure time do not make electrons together, or a value is not positive.

    Notes
    -----
    N electrons have variance N, so that in the data's unit, of k electrons each, the light adds data / k to
    the variance of the sky (Howell 1989, PASP 101, 616, eq. 1). The light is averaged over 3 x 3 pixels
    first: else a pixel that noise makes brighter would count for less than one that it makes darker, and
    every sum would come out too faint.
    """
    data = np.asarray(data, dtype=np.float64)
    rms = np.asarray(rms, dtype=np.float64)
    if rms.ndim and rms.shape != data.shape:
        raise ValueError(f"rms must be a number or have the shape of the data, {data.shape}; got {rms.shape}")
    if np.any(rms[np.isfinite(rms)] <= 0):
        raise ValueError(f"rms must be positive; got {rms.min()}")
    variance = np.broadcast_to(rms**2, data.shape)
    if exposure_time is None and gain is None:
        return np.sqrt(variance)
    return np.sqrt(variance + _light(data) / _electrons(unit, exposure_time, gain))


def lacks_photons(data: np.ndarray, sigma: np.ndarray, rms: float) -> bool:
    """
    Return whether a noise map seems to be that of the sky alone, without the noise of the light.

    Parameters
    ----------
    data : array, shape (ny, nx)
        The image, less the sky, with nan where it is not used.
    sigma : array, shape (ny, nx)
        The noise map, in any unit.
    rms : float
        Standard deviation of the sky, in the unit of the data.

    Returns
    -------
    bool

    Notes
    -----
    With B electrons of sky in a pixel, light of k standard deviations of it, k sqrt(B) electrons, raises the
    variance by k / sqrt(B): by a fifth or more at 200 for all skies up to a million electrons.
    """
    used = np.isfinite(data) & np.isfinite(sigma) & (sigma > 0)
    bright = used & (np.where(used, data, 0.0) > _SEEN_AT * rms)
    if np.count_nonzero(bright) < _SEEN_IN:
        return False
    return bool(np.median(sigma[bright]) ** 2 < _SEEN * np.median(sigma[used]) ** 2)


def _light(data):
    """The light around each pixel, nowhere negative."""
    return np.maximum(_local_mean(data, np.isfinite(data), 3), 0.0)


def _electrons(unit, exposure_time, gain):
    """Number of electrons that one unit of the data stands for."""
    product = 1.0 * u.Unit(unit)
    for name, value in (("exposure_time", exposure_time), ("gain", gain)):
        if value is None:
            continue
        if not isinstance(value, u.Quantity):
            raise TypeError(f"{name} must be a Quantity, e.g. 2000 * u.s; got {value!r:.80}")
        if not np.all(np.isfinite(value.value) & (value.value > 0)):
            raise ValueError(f"{name} must be positive; got {value}")
        product = product * value
    try:
        return product.to_value(u.electron)
    except u.UnitConversionError:
        raise ValueError(
            f"the data, in {str(unit) or 'no unit'}, times exposure_time and gain must be electrons; it is "
            f"{product.unit}: gain is in electron per unit of the data, or in electron / s per unit, "
            "with exposure_time"
        ) from None


def rescale_noise(observation: Observation) -> tuple[Observation, str]:
    """
    Hold a noise map against the sky, and put it right where they differ.

    Parameters
    ----------
    observation : Observation

    Returns
    -------
    observation : Observation
        With its weights corrected; the one given if the sky agrees with them, to 3 per cent or three standard
        errors.
    finding : str
        What was found and done, in a sentence.

    Raises
    ------
    ObservationError
        If there is too little sky to tell.

    Notes
    -----
    Drizzled images have less scatter from pixel to pixel than their noise maps say, as the noise is spread
    over neighbours (`~lenssuper.Observation.noise_correlation`); then all standard deviations are
    multiplied by the same number. Other maps have a floor: pixels share the smallest value though they hold
    so much light that their photon noise could not be overlooked. There the variance is that of the sky plus
    k times the light,
    with k from the pixels whose noise is above the floor. Photon noise is spread over neighbours like that of
    the sky, but the map does not know it: its variances there are divided by the correlation of the sky's
    noise, which is what drizzling takes off the variance of a pixel (Casertano et al. 2000, AJ 120, 2747,
    appendix A).
    """
    sigma = observation.sigma
    used = ~observation.mask
    scaled = observation.data * np.sqrt(observation.weights)
    sky = measure_sky(scaled, observation.mask)
    # the scatter of n pixels is known to 1 / sqrt(2 n)
    if abs(sky.rms - 1) < max(_AGREES, _ERRORS / np.sqrt(2 * np.count_nonzero(sky.pixels))):
        return observation, f"the noise map agrees with the sky (scatter over sigma {sky.rms:.2f})"
    floor = sigma[used].min()
    light = _light(np.where(used, observation.data, np.nan))
    rms = sky.rms * float(np.median(sigma[sky.pixels]))
    bright = used & (sigma > _ABOVE * floor) & (light > 3 * rms)
    if not _has_floor(sigma, light, used, bright):
        weights = observation.weights / sky.rms**2
        finding = f"the noise map is multiplied by {sky.rms:.3f}, the scatter of the sky in units of it"
        return observation.with_weights(weights), finding
    flat = np.where(used, rms**-2.0, 0.0)
    correlation = observation.with_weights(flat).noise_correlation
    slope = max(0.0, float(np.median((sigma[bright] ** 2 / correlation - rms**2) / light[bright])))
    weights = np.where(used, 1 / (rms**2 + slope * light), 0.0)
    finding = (
        f"the noise map stays at {floor:.4g} where there is light, and the sky has a scatter of {rms:.4g}: "
        f"it is replaced by variance = {rms:.4g}^2 + {slope:.4g} x light, as brighter pixels have it"
    )
    if correlation > 1:
        finding += f" (their variance over {correlation:.2f}, the correlation of the noise)"
    return observation.with_weights(weights), finding


def _has_floor(sigma, light, used, bright):
    """Whether pixels share the smallest value though their photons make noise, as brighter ones show."""
    if np.count_nonzero(bright) < _ENOUGH:
        return False
    floor = sigma[used].min()
    slope = np.median((sigma[bright] ** 2 - floor**2) / light[bright])
    silent = used & (sigma < floor * (1 + _FLOOR_WIDTH)) & (slope * light > _MISSING * floor**2)
    return np.count_nonzero(silent) >= _ENOUGH
