"""Images of real galaxies as sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from astropy.stats import sigma_clipped_stats
from scipy import ndimage

from lenssuper._utils.checks import check_interval, check_length, check_number, check_rng
from lenssuper._utils.units import arcsec
from lenssuper.simulate.sources import ImageSource

__all__ = ["ImageSources"]

# Pixels that are this many times brighter than the noise of the smoothed image belong to a galaxy.
_THRESHOLD = 2.0
_SMOOTHING = 1.5  # pixels, sigma
# Images drawn before giving up: large sets have a few with nothing in the middle.
_TRIES = 10
# Width of the border used as sky, as a share of the side of the image.
_BORDER = 0.1


class ImageSources:
    """
    Draw sources from images of real galaxies, which are cut out of their sky, shrunk, moved and turned.

    ``ImageSources(images)(rng)`` is a source. It can be the argument ``sources`` of
    `~lenssuper.datasets.write_dataset`.

    Parameters
    ----------
    images : sequence
        Two-dimensional arrays, `~astropy.nddata.NDData`, or sets such as `lenssuper.datasets.Galaxy10` and
        `lenssuper.datasets.CutoutFolder`, with the galaxy in the middle; images without one are skipped. Each
        is read when it is drawn. Several ``workers`` get copies, so prefer a set that reads its files one at
        a time to a list.
    R_e : (2,) `~astropy.units.Quantity`, optional
        Range of the half-light radius that a galaxy is shrunk to; uniform.
    offset : (2,) `~astropy.units.Quantity`, optional
        Range of its distance from the optical axis; uniform.
    smoothing : float, optional
        Sigma of the Gaussian that a galaxy is smoothed with, in units of its half-light radius.

    Notes
    -----
    The sky is the clipped median of the border. The galaxy is the connected region around the middle that is
    more than 2 sigma above the noise of the image smoothed by 1.5 pixels; the rest of the image, with its
    stars and neighbours, fades to zero over a few pixels. Negative values after smoothing are noise, and set
    to zero. The PSF and the rest of the noise stay in the galaxy, so it should be bright and large in its
    image: shrinking then makes both smaller than the resolution of the lens.
    """

    def __init__(
        self,
        images: Sequence,
        *,
        R_e: u.Quantity = (0.15, 0.45) * u.arcsec,
        offset: u.Quantity = (0.03, 0.3) * u.arcsec,
        smoothing: float = 0.05,
    ) -> None:
        if not hasattr(images, "__getitem__") or not hasattr(images, "__len__"):
            raise TypeError(f"images must be a sequence of images; got {images!r:.80}")
        if not len(images):
            raise ValueError("images must hold at least one; got none")
        self._images = images
        self._R_e = check_interval(R_e, "R_e", check_length)
        self._offset = check_interval(offset, "offset", check_length)
        self._smoothing = check_number(smoothing, "smoothing", least=0)

    def __repr__(self) -> str:
        what = repr(self._images)
        if isinstance(self._images, list | tuple | np.ndarray):
            what = f"{len(self._images)} images"
        return (
            f"ImageSources({what}, R_e={self._R_e} arcsec, offset={self._offset} arcsec, "
            f"smoothing={self._smoothing})"
        )

    def __call__(self, rng: np.random.Generator | int | None = None) -> ImageSource:
        """
        Draw a source.

        Parameters
        ----------
        rng : `~numpy.random.Generator` or int, optional

        Returns
        -------
        ImageSource
            With a surface brightness of order 1.

        Raises
        ------
        ValueError
            If ten images drawn in a row have no galaxy in the middle, or one is not an image.
        """
        rng = check_rng(rng)
        galaxy, radius = self._draw(rng)
        size, distance = rng.uniform(*self._R_e), rng.uniform(*self._offset)
        angle, phi = rng.uniform(0, 2 * np.pi, 2)
        mirrored = rng.uniform() < 0.5
        return ImageSource(
            galaxy[:, ::-1] if mirrored else galaxy,
            arcsec(size / radius),
            x=arcsec(distance * np.cos(angle)),
            y=arcsec(distance * np.sin(angle)),
            phi=phi * u.rad,
        )

    def _draw(self, rng):
        for last in (False,) * (_TRIES - 1) + (True,):
            number = int(rng.integers(len(self._images)))
            try:
                return cut_out(self._images[number], self._smoothing)
            except NoGalaxyError as error:
                if last:
                    raise ValueError(
                        f"image {number} of {self!r}, and {_TRIES - 1} others: {error}"
                    ) from error


class NoGalaxyError(ValueError):
    """There is nothing in the middle of an image."""


def cut_out(image, smoothing: float = 0.0) -> tuple[np.ndarray, float]:
    """Return the galaxy in the middle of an image, smoothed and without sky, and its half-light radius."""
    data = np.array(image.data if isinstance(image, NDData) else image, dtype=float)
    if data.ndim != 2 or min(data.shape) < 8:
        raise ValueError(f"an image must have 8 rows and columns at least; got shape {data.shape}")
    bad = ~np.isfinite(data)
    if isinstance(image, NDData) and image.mask is not None:
        bad |= np.asarray(image.mask, dtype=bool)
    edge = max(1, round(_BORDER * min(data.shape)))
    border = np.ones(data.shape, dtype=bool)
    border[edge:-edge, edge:-edge] = False
    _, sky, _ = sigma_clipped_stats(data[border & ~bad], sigma=3.0) if (border & ~bad).any() else (0, 0, 0)
    data = np.where(bad, 0.0, data - sky)
    smooth = ndimage.gaussian_filter(data, _SMOOTHING)
    noise = sigma_clipped_stats(smooth[border], sigma=3.0)[2]
    belongs = _segment(smooth > max(_THRESHOLD * noise, 0.01 * smooth.max()))
    if not smooth.max() > 0 or belongs is None:
        raise NoGalaxyError("there is no galaxy in its middle")
    # grown by the smoothing, with a soft edge inside the image, so that nothing is cut off sharply
    grown = ndimage.binary_dilation(belongs, iterations=3)
    rows, columns = np.indices(data.shape)
    light = np.where(grown, np.maximum(smooth, 0), 0.0)
    cy, cx = ((light * c).sum() / light.sum() for c in (rows, columns))
    r = np.hypot(rows - cy, columns - cx).ravel()
    order = np.argsort(r)
    growth = np.cumsum(light.ravel()[order])
    radius = float(r[order][np.searchsorted(growth, 0.5 * growth[-1])])
    if not radius > 0:
        raise NoGalaxyError("its galaxy is not larger than a pixel")
    window = ndimage.gaussian_filter(grown.astype(float), _SMOOTHING) * _taper(data.shape)
    galaxy = np.maximum(ndimage.gaussian_filter(data, smoothing * radius), 0.0) * window
    return galaxy / galaxy.max(), radius


def _segment(bright):
    """Return the connected region nearest to the middle, None if it is further than a quarter of the side."""
    labels, _ = ndimage.label(bright)
    rows, columns = np.indices(bright.shape)
    ny, nx = bright.shape
    distance = np.where(labels > 0, np.hypot(rows - (ny - 1) / 2, columns - (nx - 1) / 2), np.inf)
    nearest = np.unravel_index(distance.argmin(), bright.shape)
    if not distance[nearest] < min(ny, nx) / 4:
        return None
    return labels == labels[nearest]


def _taper(shape):
    """Return a window of 1 that falls to 0 over the outermost twentieth of the image."""
    falls = []
    for side in shape:
        width = max(2.0, side / 20)
        to_edge = np.minimum(np.arange(side), np.arange(side)[::-1])
        falls.append(np.sin(0.5 * np.pi * np.clip(to_edge / width, 0, 1)) ** 2)
    return falls[0][:, None] * falls[1]
