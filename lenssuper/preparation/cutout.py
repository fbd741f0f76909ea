"""A cutout around a lens, with everything that belongs to it, from an image in memory or a mosaic on disk."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, NDData
from astropy.wcs import WCS

from lenssuper._utils.units import to_arcsec
from lenssuper._utils.warn import warn
from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.reader import Reading, open_image

__all__ = ["Window", "cut_out", "cut_with_surroundings"]

# Around a cutout, the sky is measured in a box of so many times its side, at least of so many arcsec and
# pixels, and, unless the cutout is larger, of so many pixels at most.
_TIMES, _ARCSEC, _LEAST, _MOST = 3, 20.0, 201, 801
# A cutout has a side of so many times that of the image at most.
_TOO_LARGE = 2
# Part of a pixel by which a size may exceed whole pixels, for the rounding of numbers.
_SLACK = 1e-6


def cut_out(
    image: NDData | str | os.PathLike,
    center: SkyCoord | tuple[float, float] | None = None,
    size: u.Quantity | None = None,
    **reading,
) -> CCDData:
    """
    Cut a square out of an image, with its uncertainty, mask, PSF and WCS.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or path
        An image, or a FITS file in the layout of `~astropy.nddata.CCDData` or of a survey: what the
        extensions hold is known by their names. Of a file, only what is cut out is read.
    center : `~astropy.coordinates.SkyCoord` or tuple of float, optional
        Where the lens is, on the sky or as column and row (from 0). By default the whole image is taken.
    size : `~astropy.units.Quantity`, optional
        Side of the square, an angle. The number of pixels is rounded up to an odd one, so that the centre is
        within half a pixel of the middle.
    **reading
        What the file does not say of itself, or says wrong: ``ext``, ``unit``, ``noise``, ``weight``,
        ``mask``, ``mask_bits``, ``pixel_scale``, as in `~lenssuper.observation.reader.Reading`.

    Returns
    -------
    CCDData
        With the pixels beyond the edge of the image masked. What was read as what is in the HISTORY of its
        header.

    Raises
    ------
    ObservationError
        If the square does not overlap the image, is more than twice as large, or the image has no WCS to tell
        how large it is.
    FileFormatError
        If the file cannot be read as a FITS image, or holds several and none is chosen.

    Warns
    -----
    LensSuperWarning
        If the square reaches beyond the image.
    """
    ccd, _ = cut_with_surroundings(image, center, size, Reading(**reading), surroundings=False)
    return ccd


@dataclass(frozen=True)
class Window:
    """
    Where a cutout is.

    Attributes
    ----------
    inner : tuple of slice
        Rows and columns of the cutout in the box around it.
    box : tuple of slice
        Rows and columns of that box in the image.
    whole : (int, int)
        Shape of the image.
    grid : PixelGrid or None
        Its pixels; None without a WCS.
    middle : (float, float)
        Column and row of its centre in the image.
    found : tuple of str
        What was taken for what in the file.
    """

    inner: tuple[slice, ...]
    box: tuple[slice, ...]
    whole: tuple[int, int]
    grid: PixelGrid | None
    middle: tuple[float, float]
    found: tuple[str, ...]


def cut_with_surroundings(
    image: NDData | str | os.PathLike,
    center: SkyCoord | tuple[float, float] | None,
    size: u.Quantity | None,
    reading: Reading,
    *,
    surroundings: bool = True,
) -> tuple[CCDData, Window]:
    """Cut out a square and what is around it, as far as the image reaches; parameters as in `cut_out`."""
    if (center is None) != (size is None):
        raise ValueError("center and size must be given together; got only one of them")
    on_sky = isinstance(center, SkyCoord)
    with open_image(image, reading, center if on_sky else None) as layers:
        place = _place(layers, center)
        if not np.all(np.isfinite(place)):  # on the other side of the sky
            raise _outside(center, layers)
        sides = layers.shape if center is None else (_pixels(size, layers, place),) * 2
        _refuse_much_larger(size, sides, layers, place)
        window = tuple(
            slice(start := int(np.ceil(at - n / 2)), start + n)
            for at, n in zip(place[::-1], sides, strict=True)
        )
        if not all(part.stop > 0 and part.start < n for part, n in zip(window, layers.shape, strict=True)):
            raise _outside(center, layers)
        _warn_of_edges(window, layers.shape)
        box = _around(window, layers, place) if surroundings and center is not None else window
        wcs = _moved(layers.wcs, box)
        ccd, said = layers.cut(box[0], box[1], wcs=wcs)
    if center is not None:  # offsets are counted from there
        ccd.meta.pop("LSGRID", None)
    for key, value in layers.cards.items():
        if key != "LSNEXT" and (key != "LSGRID" or center is None):
            ccd.meta.setdefault(key, value)
    found = (*layers.found, *said)
    if layers.name and "LSNEXT" not in layers.cards:
        for sentence in found:
            ccd.meta.add_history(f"lenssuper read: {sentence}")
    inner = tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(window, box, strict=True)
    )
    shape = tuple(part.stop - part.start for part in window)
    grid = None
    if layers.wcs is not None:
        own = _moved(layers.wcs, window)
        if ccd.meta.get("LSGRID"):
            grid = PixelGrid.from_own_wcs(own, shape)
        else:
            grid = PixelGrid.from_wcs(own, shape, reference=center if on_sky else None)
    return ccd, Window(inner, box, layers.shape, grid, place, found)


def _place(layers, center):
    """Column and row of the centre."""
    if center is None:
        return tuple((n - 1) / 2 for n in layers.shape[::-1])
    if isinstance(center, SkyCoord):
        wcs = layers.wcs
        if wcs is None or (isinstance(wcs, WCS) and not wcs.has_celestial):
            raise ObservationError("image has no celestial WCS: give center as column and row")
        place = tuple(float(c) for c in wcs.world_to_pixel(center))
    else:
        place = tuple(float(c) for c in center)
        if len(place) != 2 or not np.all(np.isfinite(place)):
            raise ValueError(f"center must be a SkyCoord, or column and row; got {center}")
    return place


def _outside(center, layers):
    """Return the error that says where the image is instead."""
    place, where = f"{center!r:.100}", ""
    if isinstance(center, SkyCoord):
        middle = layers.wcs.pixel_to_world(*((n - 1) / 2 for n in layers.shape[::-1]))
        place, middle = (f"{each.icrs.to_string(precision=5)} deg" for each in (center, middle))
        where = f", whose middle is at {middle}"
    return ObservationError(
        f"center, {place}, is outside of the image of {layers.shape} pixels{where}: nothing of it is cut out"
    )


def _refuse_much_larger(size, sides, layers, place):
    """Raise an error for a square of which the image can fill a quarter at most."""
    if max(sides) > _TOO_LARGE * max(layers.shape):
        side = _side(layers.wcs, place)
        ny, nx = (n * side for n in layers.shape)
        raise ObservationError(
            f"size, {size}, is more than {_TOO_LARGE} times as large as the image of {nx:.4g} x {ny:.4g} "
            f"arcsec ({layers.shape[1]} x {layers.shape[0]} pixels of {side:.3g} arcsec): "
            "give it in arcsec, no larger than the image"
        )


def _warn_of_edges(window, shape):
    """Say how much of a cutout is not in the image."""
    inside = math.prod(min(part.stop, n) - max(part.start, 0) for part, n in zip(window, shape, strict=True))
    sides = [part.stop - part.start for part in window]
    if inside < math.prod(sides):
        warn(
            f"the cutout of {sides[1]} x {sides[0]} pixels reaches beyond the image of {shape[1]} x "
            f"{shape[0]}: {max(1 - inside / math.prod(sides), 0.01):.0%} of it is masked"
        )


def _pixels(size, layers, place):
    """The number of pixels along the side of the square."""
    if layers.wcs is None:
        raise ObservationError(
            "image must have a WCS, so that size is known in pixels; else give pixel_scale="
        )
    side = to_arcsec(size, "size")
    if not side > 0:
        raise ValueError(f"size must be positive; got {size}")
    return 2 * int(np.ceil(side / _side(layers.wcs, place) / 2 - 0.5 - _SLACK)) + 1


def _side(wcs, place):
    """Side of the pixel at a position, in arcsec."""
    if isinstance(wcs, WCS) and not wcs.has_distortion and not wcs.wcs.get_pv():
        flat = wcs.celestial if wcs.has_celestial else wcs
        area = abs(np.linalg.det(flat.pixel_scale_matrix))
        return float(np.sqrt(area)) * u.Unit(flat.wcs.cunit[0]).to(u.arcsec)
    near = tuple(slice(int(at) - 1, int(at) + 2) for at in place[::-1])
    return PixelGrid.from_wcs(_Moved(wcs, near), (3, 3)).side_arcsec


def _around(window, layers, place):
    """The box around a cutout in which its sky is measured, no larger than the image."""
    box = []
    least = max(_LEAST, int(_ARCSEC / _side(layers.wcs, place))) if layers.wcs is not None else _LEAST
    for part, n in zip(window, layers.shape, strict=True):
        side = part.stop - part.start
        wanted = max(side, min(max(_TIMES * side, least), _MOST))
        margin = (wanted - side + 1) // 2
        box.append(
            slice(min(part.start, max(0, part.start - margin)), max(part.stop, min(n, part.stop + margin)))
        )
    return tuple(box)


class _Moved:
    """A WCS of any kind whose pixels are counted from another one."""

    pixel_n_dim = world_n_dim = 2

    def __init__(self, wcs, window):
        self._wcs, self._first = wcs, [part.start for part in window[::-1]]

    def pixel_to_world(self, px, py):
        return self._wcs.pixel_to_world(px + self._first[0], py + self._first[1])


def _moved(wcs, window):
    """The WCS of a window; one that is distorted, or not of FITS, is made straight there."""
    if wcs is None:
        return None
    rows, columns = window
    if isinstance(wcs, WCS) and not wcs.has_distortion:
        moved = wcs.deepcopy()
        moved.wcs.crpix -= (columns.start, rows.start)
        moved.array_shape = (rows.stop - rows.start, columns.stop - columns.start)
        return moved
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)  # of the whole of a mosaic, which is bent
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return PixelGrid.from_wcs(_Moved(wcs, window), shape).wcs
