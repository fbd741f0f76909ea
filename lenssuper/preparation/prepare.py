"""From an image as it comes from an archive to an observation that can be super-resolved."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from scipy import ndimage

from lenssuper._utils.checks import check_number
from lenssuper._utils.units import to_arcsec
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError
from lenssuper.forward.arcs import arc_region
from lenssuper.forward.resolved import check_resolved
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.layers import overlap
from lenssuper.observation.nddata import OWN_CARDS
from lenssuper.observation.objects import excess_light, find_objects, neighbor_mask
from lenssuper.observation.psffile import PsfOptions, read_psf
from lenssuper.observation.reader import Reading
from lenssuper.preparation.cutout import cut_with_surroundings
from lenssuper.preparation.halo import sky_under_halo
from lenssuper.preparation.noise import lacks_photons, measure_sky, noise_map, rescale_noise

__all__ = ["prepare"]

# Einstein radii around the lens within which nothing is taken for a neighbour; and where the radius is a
# rough one, which may be a fifth too small.
_ARCS_WITHIN, _ROUGHLY_WITHIN = 1.6, 2.0
# Share of an object's squared brightness that has to lie beyond, or it is taken for a piece of the arcs: 0.02
# to 0.26 of arcs with tails (COSJ100028, J0935, J1032, J1142, J1251), and 0.62 of a companion at the limit
_OUTSIDE = 0.5
# Share of the distance of the arcs to which such an object is masked: its rim is not left.
_INWARD = 0.75
# Noise, in units of the median, that no pixel has: some maps say 1e16 where there is a neighbour.
_USELESS = 1e4
# A galaxy fills an image if the sky, measured away from all that is seen, exceeds what its profile falls
# to by so many times the noise of a pixel and the error of the latter; and how well the profile must fit.
_FILLS, _SURE, _FITS = 1.0, 5.0, 3.0


def prepare(
    image: NDData | str | os.PathLike,
    *,
    center: SkyCoord | tuple[float, float] | None = None,
    size: u.Quantity | None = None,
    psf: np.ndarray | str | os.PathLike | None = None,
    mask: np.ndarray | str | os.PathLike | None = None,
    rms: float | u.Quantity | np.ndarray | None = None,
    exposure_time: u.Quantity | None = None,
    gain: u.Quantity | None = None,
    rescale: bool = True,
    subtract_sky: bool = True,
    foreground: np.ndarray | Callable[[CCDData], CCDData] | None = None,
    lens: LensModel | None = None,
    einstein_radius: u.Quantity | None = None,
    arc_radius: u.Quantity | None = None,
    arcs_only: bool = False,
    psf_options: PsfOptions | None = None,
    **reading,
) -> CCDData:
    """
    Prepare an image for everything else: cut out, with sky and lens light off, noise, mask and PSF.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or path
        An image, or a FITS file, see `~lenssuper.preparation.cut_out`.
    center, size : optional
        What to cut out: a `~astropy.coordinates.SkyCoord` (or column and row), and an angle. By default the
        whole image. Offsets are counted from a position on the sky, else from the middle. Sky and noise are
        measured in a box around, as far as the image reaches.
    psf : array, shape (odd, odd), or path, optional
        Instead of that of ``image``. An array has one sample to a pixel, and the pixel in it, unless
        ``psf_options`` says otherwise; a file of STPSF, PSFEx, or with the side of its samples (PIXELSCL)
        in its header says it itself. See `~lenssuper.preparation.star_psf` and
        `~lenssuper.preparation.gaussian_psf`.
    mask : array or path, optional
        Pixels not to use, besides those masked in ``image``: an array of the shape of what is cut out or of
        the image, or a map of flags, see `~lenssuper.observation.reader.Reading`.
    rms : float, array or Quantity, optional
        Standard deviation of the sky, instead of an uncertainty of ``image``. By default, if there is
        neither, it is measured.
    exposure_time, gain : `~astropy.units.Quantity`, optional
        With ``rms``, or where it is measured: add the noise of the light, see
        `~lenssuper.preparation.noise_map`. Where the noise is measured, they are by default those of the
        header.
    rescale : bool, optional
        Whether to compare the noise map with the sky and to correct it.
    subtract_sky : bool, optional
        Whether to subtract the level of the sky.
    foreground : array or callable, optional
        The light of the lens galaxy: an image to subtract, of the shape of what is cut out, or what takes the
        observation and gives it without that light, such as ``subtract_foreground``.
    lens : LensModel, optional
        Tells where arcs can be.
    einstein_radius : `~astropy.units.Quantity`, optional
        In place of ``lens``, a rough Einstein radius, which may be 20% off.
    arc_radius : `~astropy.units.Quantity`, optional
        Distance from the middle (or the centre of ``lens``) beyond which other objects are masked, and of
        those that lie beyond for the most part also what is within, down to 3/4 of it; by default 1.6
        Einstein radii of ``lens``, or 2 of ``einstein_radius``. All arcs must lie within, and so it is larger
        than the Einstein radius. Without any of the three, no object is masked.
    arcs_only : bool, optional
        Whether to mask all but the arcs within that distance, and the counter-images that ``lens`` makes of
        them.
    psf_options : `~lenssuper.observation.psffile.PsfOptions`, optional
        What the file of the PSF does not say: its extension, how fine it is, whether it contains the pixel.
    **reading
        What a file does not say of itself: ``ext``, ``unit``, ``noise``, ``weight``, ``mask_bits``,
        ``pixel_scale``, as in `~lenssuper.observation.reader.Reading`.

    Returns
    -------
    CCDData
        With uncertainty, mask, WCS and PSF; what was done is in the HISTORY of its header. The PSF of a file
        of `~lenssuper.write_observation` stays what it is, oversampled or not, as cards of the header say.

    Raises
    ------
    ObservationError
        If the image cannot be used; the message says what to do.
    FileFormatError
        If a file cannot be read, or holds several images and none is chosen.
    TypeError, ValueError
        If an argument makes no sense.

    Warns
    -----
    LensSuperWarning
        If a galaxy fills the image, the photon noise is not known or seems not to be in the noise map, or the
        mask hides most of the light.

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
    radius = _arcs_within(lens, einstein_radius, arc_radius)
    done: list[str] = []
    if isinstance(mask, (str, os.PathLike)):
        reading["mask"], mask = mask, None
    options = psf_options or PsfOptions()
    ccd, window = cut_with_surroundings(image, center, size, Reading(psf=options, **reading))
    if lens is not None and window.grid is not None:
        check_resolved(lens, [window.grid])
    if center is not None:
        done.append(f"cut out {size} around {center if isinstance(center, tuple) else center.to_string()}")
    if psf is not None:
        _give_psf(ccd, psf, window, options, done)
    if mask is not None:
        ccd.mask = _mask_of(ccd) | _in_box(mask, ccd.shape, window, "mask")
    if isinstance(rms, np.ndarray) and rms.ndim:
        rms = _in_box(rms, ccd.shape, window, "rms", np.nan)
    exposure_time = _without_zeros(ccd, exposure_time, window, done)
    _give_noise(ccd, rms, exposure_time, gain, subtract_sky, window, done)
    _mask_useless(ccd, done)
    box = Observation.from_nddata(ccd, grid=_box_grid(ccd, window))
    if rescale:  # with the lens galaxy, whose photons are noise too
        box = _rescaled(box, done)
    if box.noise_correlation > 1:
        done.append(
            f"the noise is correlated: sums of many pixels have {box.noise_correlation:.2f} times the "
            "variance"
        )
    # what the box shows of the noise is kept with the cutout, which may hold too little sky to tell
    observation = replace(box[window.inner], noise_given=box.given_or_measured)
    if foreground is not None:
        ready = _without_foreground(observation.to_nddata(), foreground, done)
        observation = Observation.from_nddata(
            ready, grid=observation.grid, noise_correlation=box.given_or_measured
        )
    observation = _masked(observation, lens, radius, arcs_only, done)
    ready = observation.to_nddata()
    header = ready.meta if isinstance(ready.meta, fits.Header) else fits.Header()
    if not isinstance(ready.meta, fits.Header):
        header.update({key: ready.meta[key] for key in OWN_CARDS if key in ready.meta})
    for sentence in done:
        header.add_history(f"lenssuper prepare: {sentence}")
    ready.meta = header
    return ready


def _box_grid(ccd, window):
    """The grid of the box whose part is that of the window."""
    if window.grid is None:
        return None  # for the error that says what to do
    rows, columns = window.inner
    return window.grid.part_of(ccd.shape, (columns.start, rows.start))


def _give_psf(ccd, psf, window, options, done):
    """Take a PSF from a file or an array, in the place of the image's own."""
    side = None if window.grid is None else window.grid.side_arcsec
    options = replace(options, position=options.position or window.middle)
    found = read_psf(psf, side, options)
    for key in OWN_CARDS:
        if key.startswith("PSF"):
            ccd.meta.pop(key, None)
    ccd.psf = found.values
    ccd.meta["PSFOVERS"], ccd.meta["PSFPIXEL"] = found.oversampling, found.includes_pixel
    done += found.found


def _in_box(values, shape, window, name, outside=False):
    """An array of the shape of the cutout or of the image, in that of the box around the cutout."""
    values, found = np.asarray(values), np.full(shape, outside, dtype=type(outside))
    inner = found[window.inner].shape
    if values.shape == window.whole:
        within, at, _ = overlap(window.box, window.whole)
        found[at] = values[within]
    elif values.shape == inner:
        found[window.inner] = values
    else:
        raise ValueError(
            f"{name} must have the shape of what is cut out, {inner}, or of the image, {window.whole}; "
            f"got {values.shape}"
        )
    return found


def _mask_of(ccd):
    given = False if ccd.mask is None else np.asarray(ccd.mask, dtype=bool)
    return np.broadcast_to(given, ccd.shape) | ~np.isfinite(ccd.data)


def _shaped(values, shape, name):
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must have the shape of the image, {shape}; got {values.shape}")
    return values


def _without_zeros(ccd, exposure_time, window, done):
    """Mask the pixels that were not exposed, and give the map of exposure without its zeros."""
    if not isinstance(exposure_time, u.Quantity) or exposure_time.isscalar:
        return exposure_time
    times = _in_box(exposure_time.value, ccd.shape, window, "exposure_time", np.nan)
    unexposed = ~np.isfinite(times) | (times == 0)
    if unexposed.all():
        raise ValueError("exposure_time must be positive somewhere")
    if unexposed.any():
        ccd.mask = _mask_of(ccd) | unexposed
        done.append(f"masked {np.count_nonzero(unexposed)} pixels without exposure time")
    return np.where(unexposed, np.median(times[~unexposed]), times) * exposure_time.unit


def _give_noise(ccd, rms, exposure_time, gain, subtract_sky, window, done):
    """Subtract the sky, and make a noise map where there is none."""
    try:
        sky = measure_sky(ccd.data, _mask_of(ccd))
    except ObservationError:
        if rms is None and ccd.uncertainty is None:
            raise
        sky = None
        done.append("there is too little blank sky to measure its level and noise")
    else:
        sky = _less_galaxy(sky, ccd, window, done)
    if subtract_sky and sky is not None:
        ccd.data = ccd.data - sky.level
        done.append(f"subtracted a sky of {sky.level:.4g} {ccd.unit}")
    if rms is None and ccd.uncertainty is not None:
        if exposure_time is not None or gain is not None:
            raise ValueError(
                "exposure_time and gain make a noise map from rms, and the image has one: give rms= too, "
                "or leave the noise map of the image out",
            )
        if sky is not None:
            _look_for_photons(ccd, sky, subtract_sky, done)
        return
    if rms is None:
        rms = sky.rms
        done.append(f"measured the noise of the sky: {rms:.4g} {ccd.unit}")
        if exposure_time is None and gain is None:
            exposure_time, gain = _exposure_of(ccd, done)
    elif isinstance(rms, u.Quantity):
        rms = rms.to_value(ccd.unit)
    light = np.where(_mask_of(ccd), np.nan, ccd.data)  # what is masked is not light
    sigma = noise_map(light, rms, unit=ccd.unit, exposure_time=exposure_time, gain=gain)
    ccd.uncertainty = StdDevUncertainty(sigma)
    if exposure_time is not None or gain is not None:
        done.append("added the photon noise of the light to it")


def _look_for_photons(ccd, sky, subtracted, done):
    """Warn if the noise map does not hold the noise of the light."""
    light = np.where(_mask_of(ccd), np.nan, ccd.data - (0.0 if subtracted else sky.level))
    if lacks_photons(light, ccd.uncertainty.represent_as(StdDevUncertainty).array, sky.rms):
        text = (
            "the photon noise of the light seems not to be in the noise map, which is no larger where the "
            "image is bright: do without the map (noise=none), and give exposure_time= or gain="
        )
        done.append(text.split(":")[0])
        warn(text)


def _less_galaxy(sky, ccd, window, done):
    """The sky, or what the profile of a galaxy falls to that fills the image."""
    center = [part.start + (part.stop - part.start - 1) / 2 for part in window.inner[::-1]]
    under = sky_under_halo(ccd.data, ~_mask_of(ccd), center)
    if under is None or sky.level - under.level < _FILLS * sky.rms:
        return sky
    excess = sky.level - under.level
    if excess < _SURE * under.error or under.reduced_chi2 > _FITS:
        text = (
            f"light of a galaxy fills what there is of the image: the sky, {sky.level:.4g}, may be too "
            f"high by up to {excess:.2g}"
        )
    else:
        sky = replace(sky, level=under.level)
        text = (
            "light of a galaxy fills what there is of the image: the sky is what its profile falls to, "
            f"{under.level:.4g} +- {under.error:.2g}"
        )
    done.append(text)
    warn(text)
    return sky


# Cards of the exposure time in seconds, and of the gain in electrons per unit of the data.
_TIME_CARDS, _GAIN_CARDS = ("TEXPTIME", "EXPTIME", "XPOSURE"), ("GAIN", "EGAIN", "ATODGAIN", "CCDGAIN")


def _exposure_of(ccd, done):
    """Exposure time and gain as the header gives them, if with the unit they make electrons."""
    values = {}
    for name, cards in (("exposure_time", _TIME_CARDS), ("gain", _GAIN_CARDS)):
        for card in cards:
            value = ccd.meta.get(card)
            if name not in values and isinstance(value, (int, float)) and 0 < value < np.inf:
                values[name] = (card, float(value))
    per_second = ccd.unit * u.s
    time, gain = values.get("exposure_time"), values.get("gain")
    for unit, needed in ((ccd.unit, ()), (per_second, (time,))):
        if unit == u.electron and all(needed):
            found = (time[1] * u.s if needed else None, u.Quantity(1))
        elif unit in (u.adu, u.DN, u.ct) and gain is not None and all(needed):
            found, needed = (time[1] * u.s if needed else None, gain[1] * u.electron / unit), (*needed, gain)
        else:
            continue
        said = " and ".join(f"{card} = {value:g}" for card, value in needed) or "its unit"
        done.append(f"the photon noise of the light follows from {said}")
        return found
    text = (
        "the photon noise of the light is not known, and the noise map is that of the sky alone: it "
        "follows from exposure_time= and gain="
    )
    done.append(text.split(":")[0])
    warn(text)
    return None, None


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


def _arcs_within(lens, einstein_radius, arc_radius):
    """Return the distance within which arcs can be, in arcsec; None if nothing tells it."""
    if lens is not None and einstein_radius is not None:
        raise ValueError("give one of lens and einstein_radius")
    if arc_radius is not None:
        return to_arcsec(arc_radius, "arc_radius")
    if einstein_radius is not None:
        radius = to_arcsec(einstein_radius, "einstein_radius")
        return _ROUGHLY_WITHIN * check_number(radius, "einstein_radius", above=0)
    return None if lens is None else _ARCS_WITHIN * lens.einstein_radius().to_value(u.arcsec)


def _masked(observation, lens, radius, arcs_only, done):
    """Mask the neighbours beyond a radius, or all but the arcs within it; nothing without a radius."""
    if arcs_only and lens is None:
        raise ValueError("arcs_only needs lens=, which tells where the counter-image is")
    if radius is None:
        return observation
    x0, y0 = _middle(lens)
    x, y = observation.grid.centers_arcsec()
    distance = np.hypot(x - x0, y - y0)
    if arcs_only:
        unused = ~arc_region(observation, lens, light=observation.bright & (distance <= radius))
        done.append("masked all but the arcs and their counter-images")
    else:
        unused = _beyond(observation, (x0, y0), distance, radius)
        nearest = f", the nearest {distance[unused].min():.2f} arcsec from the middle" if unused.any() else ""
        done.append(f"masked {np.count_nonzero(unused)} pixels of other objects{nearest}")
    return observation.masked(unused)


def _beyond(observation, at, distance, radius):
    """The pixels of objects that lie beyond a radius for the most part: pieces of a ring do not."""
    objects = find_objects(observation)
    labels, square = objects[0], excess_light(observation, at, objects) ** 2
    beyond, whole = (np.bincount(labels.flat, part.flat) for part in (square * (distance > radius), square))
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    # around an object, what is masked belongs to the nearest one
    owner = labels[tuple(nearest)]
    others = neighbor_mask(observation, at=at, objects=objects) & (beyond > _OUTSIDE * whole)[owner]
    return others & (distance > _INWARD * radius)


def _middle(lens):
    centers = [] if lens is None else lens.centers_arcsec()
    return np.mean(centers, axis=0) if centers else (0.0, 0.0)
