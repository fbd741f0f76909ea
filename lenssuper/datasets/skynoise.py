"""Noise measured from the sky, for images that have no uncertainty."""

from __future__ import annotations

import numpy as np
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.stats import sigma_clipped_stats
from scipy import ndimage

from lenssuper._utils.checks import check_kind
from lenssuper.exceptions import ObservationError

__all__ = ["with_noise"]

# Side, in pixels, of the square whose mean is subtracted, so that gradients do not count as scatter.
_LOCAL = 9


def with_noise(image: NDData) -> CCDData:
    """
    Return a copy of an image with the scatter of its sky as uncertainty.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`, shape (ny, nx)
        Image of a galaxy with some sky around it. Masked, NaN and infinite pixels are left out. It is not
        changed.

    Returns
    -------
    `~astropy.nddata.CCDData`
        A copy with a `~astropy.nddata.StdDevUncertainty`, the same in all pixels, in place of any other.

    Raises
    ------
    ObservationError
        If no pixel can be used, or the sky is constant.

    Notes
    -----
    Sigma-clipped scatter, about the mean of 9 x 9 pixels, of the darker half of the image. It lacks the
    photon noise of the galaxy, as the gain is not known: bright galaxies have a chi-square above one whatever
    the model. In drizzled and resampled images, whose pixels share noise, it is too small. Integers are taken
    to scatter by at least their rounding, 1/sqrt(12).
    """
    check_kind(image, "image", NDData, "an astropy NDData, e.g. a CCDData")
    data = np.asarray(image.data)
    if data.ndim != 2 or data.dtype.kind not in "iuf":
        raise ObservationError(
            f"image must be a two-dimensional array of numbers; got shape {data.shape}, {data.dtype}"
        )
    bad = ~np.isfinite(data)
    if image.mask is not None:
        bad |= np.asarray(image.mask, dtype=bool)
    if bad.all():
        raise ObservationError("no pixel of the image can be used: its noise cannot be measured")
    sigma = _sky_scatter(np.where(bad, 0.0, data), bad)
    if data.dtype.kind in "iu":
        sigma = max(sigma, 12**-0.5)
    if not sigma > 0:
        raise ObservationError(
            "the noise cannot be measured, as the sky of the image is constant: "
            "add it with image.uncertainty = astropy.nddata.StdDevUncertainty(sigma)"
        )
    return CCDData(
        data.copy(),
        unit="" if image.unit is None else image.unit,
        uncertainty=StdDevUncertainty(np.full(data.shape, sigma)),
        mask=None if image.mask is None else np.array(image.mask),
        wcs=image.wcs,
        psf=None if image.psf is None else np.array(image.psf),
        meta=image.meta.copy(),
    )


def _sky_scatter(data, bad):
    used = ~bad
    count = ndimage.uniform_filter(used.astype(float), _LOCAL, mode="constant") * _LOCAL**2
    local = ndimage.uniform_filter(data, _LOCAL, mode="constant") * _LOCAL**2 / np.maximum(count, 1.0)
    dark = used & (local <= np.median(local[used]))
    # a pixel scatters about the mean of N pixels, itself included, with the variance 1 - 1/N
    scatter = (data - local)[dark] / np.sqrt(1 - 1 / np.maximum(count[dark], 2.0))
    return float(sigma_clipped_stats(scatter, sigma=3.0, maxiters=10)[2])
