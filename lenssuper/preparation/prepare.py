"""From an image as it comes from an archive to an observation that can be super-resolved."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from scipy import ndimage

from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.forward.arcs import arc_region
from lenssuper.lens import LensModel
from lenssuper.observation.files import observation_as
from lenssuper.observation.objects import find_objects, neighbor_mask
from lenssuper.preparation.cutout import cut_out
from lenssuper.preparation.noise import measure_sky, noise_map, rescale_noise

__all__ = ["prepare"]

# Einstein radii around the lens within which nothing is taken for a neighbour.
_ARCS_WITHIN = 1.6
# Share of an object's pixels that has to lie beyond, or it is taken for a piece of the arcs.
_OUTSIDE = 0.75
# Noise, in units of the median, that no pixel has: some maps say 1e16 where there is a neighbour.
_USELESS = 1e4
# Cards of lenssuper's own files that do not hold with another PSF, and for a cutout.
_OF_PSF, _OF_PLACE = ("PSFOVERS", "PSFPIXEL"), ("LSGRID",)


def prepare(
    image: NDData | str | os.PathLike,
    *,
    center: SkyCoord | tuple[float, float] | None = None,
    size: u.Quantity | None = None,
    unit: u.UnitBase | None = None,
    psf: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    rms: float | u.Quantity | np.ndarray | None = None,
    exposure_time: u.Quantity | None = None,
    gain: u.Quantity | None = None,
    rescale: bool = True,
    subtract_sky: bool = True,
    foreground: np.ndarray | Callable[[CCDData], CCDData] | None = None,
    lens: LensModel | None = None,
    arc_radius: u.Quantity | None = None,
    arcs_only: bool = False,
) -> CCDData:
    """
    Make an observation fit for everything else: cut out, with sky and lens light off, noise, mask and PSF.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or path
        An image, or a FITS file, see `~lenssuper.preparation.cut_out`.
    center, size : optional
        What to cut out: a `~astropy.coordinates.SkyCoord` (or column and row), and an angle. By default the
        whole image.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the data of a file, instead of what BUNIT says.
    psf : array, shape (odd, odd), optional
        Instead of that of ``image``; one sample to a pixel, and the pixel in it. See
        `~lenssuper.preparation.star_psf` and `~lenssuper.preparation.gaussian_psf`.
    mask : array of bool, optional
        Pixels not to use, besides those masked in ``image``; of the shape of what is cut out.
    rms : float, array or Quantity, optional
        Standard deviation of the sky, instead of an uncertainty of ``image``. By default, if there is
        neither, it is measured.
    exposure_time, gain : `~astropy.units.Quantity`, optional
        With ``rms``, or where it is measured: add the noise of the light, see
        `~lenssuper.preparation.noise_map`.
    rescale : bool, optional
        Whether to hold the noise map against the sky and to correct it.
    subtract_sky : bool, optional
        Whether to subtract the level of the sky.
    foreground : array or callable, optional
        The light of the lens galaxy: an image to subtract, of the shape of what is cut out, or what takes the
        observation and gives it without that light, such as ``subtract_foreground``.
    lens : LensModel, optional
        Tells where arcs can be.
    arc_radius : `~astropy.units.Quantity`, optional
        Distance from the middle (or the centre of ``lens``) beyond which other objects are masked; by default
        1.6 Einstein radii of ``lens``. Without either, no object is masked.
    arcs_only : bool, optional
        Whether to mask all but the arcs within that distance, and the counter-images that ``lens`` makes of
        them.

    Returns
    -------
    CCDData
        With uncertainty, mask, WCS and PSF; what was done is in the HISTORY of its header. The PSF of a file
        of `~lenssuper.write_observation` stays what it is, oversampled or not, as cards of the header say.

    Raises
    ------
    ObservationError
        If the image cannot be used; the message says what to do.
    TypeError, ValueError
        If an argument makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper import prepare
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(1)
    >>> image = mock.observation.copy()
    >>> image.uncertainty = None  # what a cutout service hands out
    >>> ready = prepare(image, psf=mock.observation.psf)
    >>> bool(np.median(ready.uncertainty.array) > 0)
    True
    """
    done: list[str] = []
    ccd = cut_out(image, center, size, unit=unit)
    if center is not None:
        done.append(f"cut out {size} around {center if isinstance(center, tuple) else center.to_string()}")
    if psf is not None:
        ccd.psf = np.asarray(psf, dtype=np.float64)
    for key in (*(_OF_PSF if psf is not None else ()), *(_OF_PLACE if center is not None else ())):
        ccd.meta.pop(key, None)
    cards = ccd.meta
    if mask is not None:
        ccd.mask = _mask_of(ccd) | _shaped(mask, ccd.shape, "mask").astype(bool)
    _give_noise(ccd, rms, exposure_time, gain, subtract_sky, done)
    _mask_useless(ccd, done)
    if rescale:  # with the lens galaxy, whose photons are noise too
        ccd = _rescaled(observation_as(ccd, cards), done).to_nddata()
    if foreground is not None:
        ccd = _without_foreground(ccd, foreground, done)
    observation = observation_as(ccd, cards)
    observation = _masked(observation, lens, arc_radius, arcs_only, done)
    correlation = observation.noise_correlation
    if correlation > 1:
        done.append(f"the noise is correlated: sums of many pixels have {correlation:.2f} times the variance")
    ready = observation.to_nddata()
    header = ready.meta if isinstance(ready.meta, fits.Header) else fits.Header()
    for sentence in done:
        header.add_history(f"lenssuper prepare: {sentence}")
    ready.meta = header
    return ready


def _mask_of(ccd):
    given = False if ccd.mask is None else np.asarray(ccd.mask, dtype=bool)
    return np.broadcast_to(given, ccd.shape) | ~np.isfinite(ccd.data)


def _shaped(values, shape, name):
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must have the shape of the image, {shape}; got {values.shape}")
    return values


def _give_noise(ccd, rms, exposure_time, gain, subtract_sky, done):
    """Subtract the sky, and see to it that there is a noise map."""
    try:
        sky = measure_sky(ccd.data, _mask_of(ccd))
    except ObservationError:
        if rms is None and ccd.uncertainty is None:
            raise
        sky = None
        done.append("there is too little blank sky to measure its level and noise")
    if subtract_sky and sky is not None:
        ccd.data = ccd.data - sky.level
        done.append(f"subtracted a sky of {sky.level:.4g} {ccd.unit}")
    if rms is None and ccd.uncertainty is not None:
        if exposure_time is not None or gain is not None:
            raise ValueError(
                "exposure_time and gain make a noise map from rms, and the image has one: give rms too, or "
                "remove the uncertainty of the image"
            )
        return
    if rms is None:
        rms = sky.rms
        done.append(f"measured the noise of the sky: {rms:.4g} {ccd.unit}")
    elif isinstance(rms, u.Quantity):
        rms = rms.to_value(ccd.unit)
    sigma = noise_map(ccd.data, rms, unit=ccd.unit, exposure_time=exposure_time, gain=gain)
    ccd.uncertainty = StdDevUncertainty(sigma)
    if exposure_time is not None or gain is not None:
        done.append("added the photon noise of the light to it")


def _mask_useless(ccd, done):
    """Mask the pixels that a noise map marks as not to be used, with a value that is no noise."""
    sigma = ccd.uncertainty.represent_as(StdDevUncertainty).array
    used = ~_mask_of(ccd) & np.isfinite(sigma)
    if not used.any():
        return
    useless = used & (sigma > _USELESS * np.median(sigma[used]))
    if useless.any():
        ccd.mask = ~used | useless
        done.append(f"masked {np.count_nonzero(useless)} pixels whose noise is {_USELESS:g} times the usual")


def _without_foreground(ccd, foreground, done):
    if callable(foreground):
        subtracted = foreground(ccd)
        if not isinstance(subtracted, NDData):
            raise TypeError(f"foreground must give an NDData of what it is given; got {subtracted!r:.80}")
        done.append(f"subtracted the light of the lens galaxy with {_name(foreground)}")
        return subtracted
    ccd.data = ccd.data - _shaped(foreground, ccd.shape, "foreground")
    done.append("subtracted an image of the light of the lens galaxy")
    return ccd


def _name(function):
    return getattr(function, "__name__", type(function).__name__)


def _rescaled(observation, done):
    try:
        observation, finding = rescale_noise(observation)
    except ObservationError:
        finding = "there is too little blank sky to hold the noise map against"
    done.append(finding)
    return observation


def _masked(observation, lens, arc_radius, arcs_only, done):
    """Mask the neighbours, or all but the arcs."""
    if arcs_only and lens is None:
        raise ValueError("arcs_only needs lens=, which tells where the counter-image is")
    if arc_radius is not None:
        radius = to_arcsec(arc_radius, "arc_radius")
    elif lens is not None:
        radius = _ARCS_WITHIN * lens.einstein_radius().to_value(u.arcsec)
    else:
        return observation
    x0, y0 = _middle(lens)
    x, y = observation.grid.centers_arcsec()
    outside = np.hypot(x - x0, y - y0) > radius
    if arcs_only:
        unused = ~arc_region(observation, lens, light=observation.bright & ~outside)
        done.append("masked all but the arcs and their counter-images")
    else:
        unused = _beyond(observation, (x0, y0), outside)
        done.append(f"masked {np.count_nonzero(unused)} pixels of other objects")
    return observation.masked(unused)


def _beyond(observation, at, outside):
    """The pixels of objects that lie outside for the most part: pieces of a ring do not."""
    objects = find_objects(observation)
    labels = objects[0]
    share = ndimage.mean(outside, labels, np.arange(labels.max() + 1))
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    # around an object, what is masked belongs to the nearest one
    owner = labels[tuple(nearest)]
    return neighbor_mask(observation, at=at, objects=objects) & (share > _OUTSIDE)[owner] & outside


def _middle(lens):
    centers = [] if lens is None else lens.centers_arcsec()
    return np.mean(centers, axis=0) if centers else (0.0, 0.0)
