"""The point-spread function of an image: a Gaussian, or its stars."""

from __future__ import annotations

import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from astropy.table import Table

from lenssuper._utils.checks import check_count, check_kind
from lenssuper._utils.progress import is_shown
from lenssuper._utils.units import to_arcsec
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError
from lenssuper.preparation.noise import measure_sky

__all__ = ["find_stars", "gaussian_psf", "star_psf"]

_FWHM = 2 * np.sqrt(2 * np.log(2))
# A Gaussian is cut off where it has fallen to 3e-4 of its peak.
_WIDTHS = 4.0
# Points along the side of a pixel over which a Gaussian is averaged, by the rule of Gauss and Legendre.
_POINTS = 8
# A PSF is built with so many samples a pixel, or the next multiple of those asked for; their smoothing
# is small: the error is below 0.5 per cent of the peak, where one sample a pixel loses 7 of the peak itself.
_SAMPLES = 4
_ITERATIONS = 10
# Shares of light within one width that differ by less are alike: those of a star depend on where in its
# pixel it is.
_ALIKE = 0.06


def gaussian_psf(fwhm: u.Quantity, pixel_scale: u.Quantity) -> np.ndarray:
    """
    Give a Gaussian PSF as the pixels see it, for want of a better one.

    Parameters
    ----------
    fwhm : `~astropy.units.Quantity`
        Full width at half maximum of the blur, before the pixel.
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel.

    Returns
    -------
    ndarray, shape (odd, odd)
        Averaged over the pixels (effective), of sum one.

    Raises
    ------
    ValueError
        If a value is not positive.
    """
    widths = {"fwhm": to_arcsec(fwhm, "fwhm"), "pixel_scale": to_arcsec(pixel_scale, "pixel_scale")}
    for name, value in widths.items():
        if not (np.ndim(value) == 0 and value > 0):
            raise ValueError(f"{name} must be one positive angle; got {value} arcsec")
    sigma = widths["fwhm"] / widths["pixel_scale"] / _FWHM
    half = max(1, int(np.ceil(_WIDTHS * sigma)))
    nodes, shares = np.polynomial.legendre.leggauss(_POINTS)
    offsets = np.arange(-half, half + 1)[:, None] + nodes / 2
    profile = np.exp(-0.5 * (offsets / sigma) ** 2) @ (shares / 2)
    psf = np.outer(profile, profile)
    return psf / psf.sum()


def find_stars(
    image: NDData, fwhm: u.Quantity, *, n: int = 20, saturation: float | None = None
) -> np.ndarray:
    """
    Find bright, isolated point sources.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        A field with stars, and a WCS.
    fwhm : `~astropy.units.Quantity`
        Roughly their full width at half maximum.
    n : int, optional
        How many at most, the brightest first.
    saturation : float, optional
        Stars with a pixel above this are left out.

    Returns
    -------
    ndarray, shape (n, 2)
        Column and row of each, from 0.

    Raises
    ------
    ObservationError
        If there is none.

    Notes
    -----
    Found with photutils' implementation of DAOFIND (Stetson 1987, PASP 99, 191). Nothing on the sky is more
    concentrated than a star: those are kept that have as large a share of their light within one width as the
    most concentrated objects that agree with each other, and that are ten widths or more from any other.
    """
    from photutils.detection import DAOStarFinder

    data, mask, scale = _image(image)
    width = to_arcsec(fwhm, "fwhm") / scale
    sky = measure_sky(data, mask)
    finder = DAOStarFinder(threshold=10 * sky.rms, fwhm=width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no sources found" is said below, with what to do
        found = finder(np.where(mask, 0.0, data - sky.level), mask=mask)
    if found is None or not len(found):
        raise ObservationError(
            "image has no star ten times brighter than its noise: give psf= from elsewhere"
        )
    names = ("x_centroid", "y_centroid") if "x_centroid" in found.colnames else ("xcentroid", "ycentroid")
    places = np.c_[found[names[0]], found[names[1]]]
    apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    light, share, error = np.array(
        [_light(data - sky.level, mask, sky.rms, place, width) for place in places]
    ).T
    good = (apart.min(axis=1) > 10 * width) & _concentrated(share, error)
    if saturation is not None:
        good &= np.asarray(found["peak"]) + sky.level < saturation
    good = np.flatnonzero(good)
    if not good.size:
        raise ObservationError(
            f"none of the {len(found)} point sources found is isolated, round and below saturation: "
            "give the positions of the stars"
        )
    return places[good[np.argsort(-light[good])][: check_count(n, "n", 1)]]


def _concentrated(share, error):
    """Which objects have as much of their light within one width as stars do, from those shares."""
    allowed = _ALIKE + 3 * error
    # what is narrower than a star, such as a cosmic ray, has no like
    alike = np.abs(share[:, None] - share) < np.minimum(allowed[:, None], allowed)
    shared = alike.sum(axis=1) > 1
    stars = np.max(share[shared] if shared.any() else share, initial=-np.inf)
    return (np.abs(share - stars) < allowed) & (share > 0)


def _light(data, mask, rms, place, width):
    """
    Return the light within three widths of a place, the share of it within one, and the error of the share.

    The last two are 0 if there is too little light.
    """
    reach = int(np.ceil(3 * width)) + 1
    column, row = np.rint(place).astype(int)
    window = np.s_[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    y, x = np.mgrid[window]
    distance = np.hypot(x - place[0], y - place[1])
    used = ~mask[window] & (distance < 3 * width)
    total = data[window][used].sum()
    error = rms * np.sqrt(np.count_nonzero(used))
    if not total > 5 * error:
        return total, 0.0, 0.0
    return total, data[window][used & (distance < width)].sum() / total, error / total


def star_psf(
    image: NDData,
    stars: SkyCoord | np.ndarray,
    *,
    size: int = 25,
    oversampling: int = 1,
    progress: bool | None = None,
) -> np.ndarray:
    """
    Build the effective PSF from the stars of an image.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        The field the stars are in; its sky is subtracted.
    stars : `~astropy.coordinates.SkyCoord` or array, shape (n, 2)
        Where they are, on the sky or as columns and rows (from 0), good to a pixel.
    size : int, optional
        Side of the PSF in pixels of the image, odd.
    oversampling : int, optional
        Samples per pixel. More than 1 takes many stars, at different places within their pixels; give the
        same number as ``psf_oversampling`` to `~lenssuper.Observation.from_nddata`.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal.

    Returns
    -------
    ndarray, shape (odd, odd)
        A star as the pixels see it (effective), of sum one.

    Raises
    ------
    ObservationError
        If no star can be used.

    Warns
    -----
    LensSuperWarning
        If stars are left out.

    Notes
    -----
    Built with photutils' EPSFBuilder (Anderson & King 2000, PASP 112, 1360).
    """
    from photutils.psf import EPSFBuilder, extract_stars

    size, oversampling = check_count(size, "size", 3), check_count(oversampling, "oversampling", 1)
    if size % 2 == 0:
        raise ValueError(f"size must be odd; got {size}")
    data, mask, _ = _image(image)
    places = _places(image, stars)
    sky = measure_sky(data, mask)
    field = NDData(np.where(mask, 0.0, data - sky.level), mask=mask)
    with warnings.catch_warnings(record=True):  # what photutils says of single stars is summed up below
        warnings.simplefilter("always")
        table = Table({"x": places[:, 0], "y": places[:, 1]})
        cut = extract_stars(
            field, table, size=(size + 2, size + 2)
        )  # a star's centre moves by a pixel at most
    if not len(cut):
        raise ObservationError(
            f"none of the {len(places)} stars has {size + 2} x {size + 2} pixels within the image: "
            "give others, or a smaller size"
        )
    if len(cut) < len(places):
        message = f"{len(places) - len(cut)} of {len(places)} stars are too near the edge and are left out"
        warn(message)
    step = -(-_SAMPLES // oversampling)
    builder = EPSFBuilder(
        oversampling=oversampling * step,
        smoothing_kernel="quadratic",
        maxiters=_ITERATIONS,
        progress_bar=is_shown(progress),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fine = np.array(builder(cut)[0].data, dtype=np.float64)
    middle, reach = fine.shape[0] // 2, size // 2 * oversampling * step
    psf = fine[middle - reach : middle + reach + 1 : step, middle - reach : middle + reach + 1 : step]
    if not (np.isfinite(psf).all() and psf.sum() > 0):
        raise ObservationError(
            "the stars do not make a PSF: are they stars, and is the image not saturated there?"
        )
    return psf / psf.sum()


def _places(image, stars):
    if isinstance(stars, SkyCoord):
        if image.wcs is None or not image.wcs.has_celestial:
            raise ObservationError("image has no celestial WCS: give stars as columns and rows")
        stars = np.c_[image.wcs.world_to_pixel(np.atleast_1d(stars))]
    places = np.atleast_2d(np.asarray(stars, dtype=np.float64))
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise ValueError(
            f"stars must be a SkyCoord, or column and row of each, (n, 2); got shape {places.shape}"
        )
    return places


def _image(image):
    """Data, mask and pixel scale in arcsec of an image."""
    from lenssuper.observation.grid import PixelGrid

    check_kind(image, "image", NDData, "an NDData, such as a CCDData")
    data = np.asarray(image.data, dtype=np.float64)
    mask = ~np.isfinite(data)
    if image.mask is not None:
        mask |= np.asarray(image.mask, dtype=bool)
    scale = 1.0 if image.wcs is None else PixelGrid.from_nddata(image).pixel_scale.to_value(u.arcsec)
    return data, mask, scale
