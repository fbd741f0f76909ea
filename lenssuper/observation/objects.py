"""The objects of an image: the one to be studied, and its neighbours."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
from astropy.stats import sigma_clip
from scipy import ndimage

from lenssuper.exceptions import ObservationError
from lenssuper.observation.image import Observation

__all__ = ["excess_light", "find_objects", "main_object", "neighbor_mask", "smoothed"]

# An object is a group of at least so many touching pixels that exceed so many sigma of the smoothed image.
_THRESHOLD, _PIXELS = 3.0, 6
# Standard deviation, in pixels, of the Gaussian that smooths the image.
_SMOOTHING = 1.2
# Share of an object's flux from which a peak in it counts as an object of its own.
_CONTRAST = 0.005
# Number of brightness levels at which peaks are separated.
_LEVELS = 16
# A peak on the main object is another object if it is so many times as bright as the opposite side.
_LOPSIDED = 2.0
# The pixels of such a peak are masked if they are so many times as bright as the opposite ones.
_EXCESS = 1.2
# Share of its radius by which the mask of an object extends beyond its bright pixels.
_GROWTH = 0.3


def main_object(
    observation: Observation,
    *,
    peak: bool = False,
    objects: tuple[np.ndarray, float] | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """
    Find the main object of an image: the brightest, with more weight near the middle.

    With ``peak`` the peak brightness decides rather than the flux: arcs may have more light than the galaxy
    they surround, which is more concentrated. ``objects`` is the result of `find_objects`, if it is known.

    Returns
    -------
    mask : ndarray of bool, shape (ny, nx)
        Its pixels.
    moments : dict of str to float
        The centre x and y, the standard deviations a and b along the major and the minor axis, all in arcsec,
        the angle phi of the major axis in radian, counter-clockwise from +x, and the flux, all as seen,
        including the PSF.
    """
    labels, background = find_objects(observation) if objects is None else objects
    mask = labels == _main_label(observation, labels, background, peak)
    return mask, _moments(observation, mask, background)


def neighbor_mask(
    observation: Observation,
    at: tuple[float, float] | None = None,
    *,
    objects: tuple[np.ndarray, float] | None = None,
) -> np.ndarray:
    """
    Find the pixels of all objects but the one at an offset (x, y) in arcsec, by default the `main_object`.

    True (ny, nx) on the other objects and a little around them. Lumps of the object itself are not masked if
    there is similar light on the opposite side. ``objects`` is the result of `find_objects`, if it is known.
    """
    labels, background = find_objects(observation) if objects is None else objects
    if not labels.any():
        return np.zeros(observation.shape, dtype=bool)
    if at is None:
        main = _main_label(observation, labels, background)
    else:
        main = _label_at(observation, labels, at)
    mask = np.zeros(observation.shape, dtype=bool)
    islands, _ = ndimage.label(labels > 0, np.ones((3, 3)))
    light, opposite, noise = _both_sides(observation, labels == main, background)
    for label in range(1, labels.max() + 1):
        own = labels == label
        if label == main:
            continue
        if islands[own][0] in islands[labels == main]:
            brightest = np.argsort(light[own])[-2 * _PIXELS :]
            if light[own][brightest].sum() < _LOPSIDED * opposite[own][brightest].sum():
                continue
            own &= light > _EXCESS * opposite + _THRESHOLD * noise
            if not own.any():
                continue
        mask |= _grown(own, _GROWTH * np.sqrt(own.sum() / np.pi) + 1)
    return mask


def excess_light(
    observation: Observation, at: tuple[float, float], objects: tuple[np.ndarray, float]
) -> np.ndarray:
    """
    Return by how much an image (ny, nx) is brighter than the opposite side of the object at ``at``.

    The image is smoothed. The excess is 0 where it is darker or masked, and all of the light where the
    opposite side is masked. ``objects`` is the result of `find_objects`.
    """
    labels, background = objects
    if not labels.any():
        return np.zeros(observation.shape)
    main = labels == _label_at(observation, labels, at)
    light, opposite, _ = _both_sides(observation, main, background)
    excess = np.maximum(light - np.where(np.isfinite(opposite), opposite, 0.0), 0.0)
    return np.where(observation.mask, 0.0, excess)


def find_objects(observation: Observation) -> tuple[np.ndarray, float]:
    """
    Number the objects of an image: return labels (ny, nx), 0 for the sky, and the brightness of the sky.

    Notes
    -----
    An object is a group of six pixels or more in which the image, smoothed with a Gaussian of 1.2 pixels, is
    three times its noise above the sky; groups with several peaks are divided at the saddles between them
    (Bertin & Arnouts 1996, A&AS 117, 393, section 5.2), by photutils. The sky is the median after clipping at
    three sigma, in two rounds, the second one away from the objects of the first.
    """
    smooth, noise = smoothed(observation)
    used = ~observation.mask
    background = _sky(observation.data[used])
    labels = _segments(smooth - background, noise)
    away = used & ~ndimage.binary_dilation(labels > 0, iterations=3)
    if np.count_nonzero(away) > 0.1 * used.sum():
        background = _sky(observation.data[away])
        labels = _segments(smooth - background, noise)
    return _deblended(smooth - background, labels), background


def smoothed(observation: Observation) -> tuple[np.ndarray, np.ndarray]:
    """
    Smooth an image with a Gaussian of 1.2 pixels, so that its noise is small and its shapes stay.

    Return the image (ny, nx), with masked pixels filled from those around, and its standard deviation in
    every pixel, correlations included; infinite where no pixel around is used.
    """
    relative = (~observation.mask).astype(float)
    total = ndimage.gaussian_filter(relative, _SMOOTHING, mode="constant")
    known = total > 0.05
    safe = np.where(known, total, 1.0)
    smooth = ndimage.gaussian_filter(observation.data * relative, _SMOOTHING, mode="constant") / safe
    largest = observation.weights.max()
    variance = np.divide(
        1.0, observation.weights / largest, out=np.zeros(observation.shape), where=~observation.mask
    )
    # the square of a Gaussian is one narrower by sqrt(2), and its integral 1 / (4 pi sigma^2)
    squared = ndimage.gaussian_filter(variance, _SMOOTHING / np.sqrt(2), mode="constant")
    squared *= observation.noise_correlation / (4 * np.pi * _SMOOTHING**2) / safe**2
    noise = np.sqrt(np.maximum(squared, 1e-12 * squared.max()) / largest)
    return smooth, np.where(known, noise, np.inf)


def _both_sides(observation, main, background):
    """Return the smoothed light, that of the opposite side of the main object, and the noise."""
    smooth, noise = smoothed(observation)
    light = smooth - background
    return light, _opposite(np.where(observation.mask, np.inf, light), light, main), noise


def _sky(values):
    return float(np.ma.median(sigma_clip(values, sigma=3, maxiters=10)))


def _segments(smooth, noise):
    labels, n = ndimage.label(smooth > _THRESHOLD * noise, np.ones((3, 3)))
    large = np.bincount(labels.ravel(), minlength=n + 1) >= _PIXELS
    large[0] = False
    return np.cumsum(large)[labels] * large[labels]


def _deblended(smooth, labels):
    """Divide objects with several peaks."""
    if not labels.any():
        return labels
    from photutils.segmentation import SegmentationImage, deblend_sources

    parameters = inspect.signature(deblend_sources).parameters
    name = "n_levels" if "n_levels" in parameters else "nlevels"  # before photutils 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of faint objects, which are divided on a linear scale
        divided = deblend_sources(
            smooth,
            SegmentationImage(labels),
            _PIXELS,
            contrast=_CONTRAST,
            progress_bar=False,
            **{name: _LEVELS},
        )
    return np.asarray(divided.data)


def _main_label(observation, labels, background, peak=False):
    if not labels.any():
        raise ObservationError(
            "no object is significantly above the noise: there is no group of "
            f"{_PIXELS} pixels {_THRESHOLD:g} sigma above the sky"
        )
    x, y = observation.grid.centers_arcsec()
    x0, y0 = observation.grid.middle_arcsec()
    reach = 0.25 * np.sqrt(observation.grid.area_arcsec2 * labels.size)
    closeness = 1 / (1 + ((x - x0) ** 2 + (y - y0) ** 2) / reach**2)
    if peak:
        bright, _ = smoothed(observation)
        return int(labels.flat[np.argmax(np.where(labels > 0, (bright - background) * closeness, -np.inf))])
    light = np.clip(observation.data - background, 0, None) * closeness
    return int(np.argmax(np.bincount(labels.ravel(), light.ravel())[1:]) + 1)


def _label_at(observation, labels, at):
    """Return the number of the object with a pixel nearest to a point."""
    x, y = (values[labels > 0] for values in np.broadcast_arrays(*observation.grid.centers_arcsec()))
    return int(labels[labels > 0][np.argmin((x - at[0]) ** 2 + (y - at[1]) ** 2)])


def _opposite(image, light, main):
    """Rotate the image by 180 degrees around the peak of the main object; 0 outside of it."""
    rows, columns = np.nonzero(main)
    peak = np.argmax(light[main])
    y, x = np.indices(image.shape)
    y, x = 2 * rows[peak] - y, 2 * columns[peak] - x
    inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
    turned = np.zeros(image.shape)
    turned[inside] = np.clip(image[y[inside], x[inside]], 0, None)
    return turned


def _grown(mask, reach):
    """Return a mask grown by ``reach`` pixels."""
    rows, columns = np.nonzero(mask)
    margin = int(np.ceil(reach)) + 1
    near = tuple(slice(max(0, i.min() - margin), i.max() + margin + 1) for i in (rows, columns))
    grown = np.zeros_like(mask)
    grown[near] = ndimage.distance_transform_edt(~mask[near]) <= reach
    return grown


def _moments(observation, mask, background):
    x, y = (values[mask] for values in np.broadcast_arrays(*observation.grid.centers_arcsec()))
    light = np.clip(observation.data[mask] - background, 0, None)
    flux = light.sum()
    if not flux > 0:
        raise ObservationError("the pixels of the object in the middle are masked: there is nothing to fit")
    share = light / flux
    x0, y0 = float(share @ x), float(share @ y)
    dx, dy = x - x0, y - y0
    xx, yy, xy = share @ dx**2, share @ dy**2, share @ (dx * dy)
    pixel = observation.grid.area_arcsec2 / 12  # the variance of a pixel's own width, so that b is not zero
    half, split = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return {
        "x": x0,
        "y": y0,
        "a": float(np.sqrt(half + split + pixel)),
        "b": float(np.sqrt(max(half - split, 0.0) + pixel)),
        "phi": float(0.5 * np.arctan2(2 * xy, xx - yy)),
        "flux": float(flux),
    }
