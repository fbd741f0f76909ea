"""What an image consists of, read window by window: data, noise, mask, coverage, PSF and WCS."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance
from astropy.wcs import WCS
from scipy import ndimage

from lenssuper._utils.files import reading
from lenssuper._utils.warn import warn
from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.layouts import Part
from lenssuper.observation.nddata import noise_card_of

__all__ = ["Layers", "overlap", "side_of"]

# Side of a square of exact zeros, or of one value that no sky has throughout, from which it is a hole.
_HOLE = 5
# Shares of the bright pixels, and so many of them, that a mask may hide before it is spoken of.
_HIDDEN, _FEW = 0.5, 20


@dataclass(frozen=True)
class Layers:
    """
    What an image consists of; of a file, what is read when it is cut out.

    Attributes
    ----------
    shape : (int, int)
    name : str
        Of the file; empty for an image in memory.
    data : array or Part
    unit : `~astropy.units.UnitBase`
    noise : tuple or None
        Kind of the uncertainty, the map, and what to multiply it with to get the unit of the data.
    unfit : tuple of callables
        Each gives the pixels of a window that are not to be used.
    empty : array, Part or None
        Map of exposure: where it is 0 nothing was observed.
    wcs : WCS or None
    meta : mapping
    psf : array or None
    cards : dict
        Those of `OWN_CARDS`.
    found : tuple of str
        What was taken for what, and what was not used.
    """

    shape: tuple[int, int]
    data: np.ndarray | Part
    unit: u.UnitBase
    wcs: WCS | None
    meta: fits.Header | dict
    name: str = ""
    noise: tuple | None = None
    unfit: tuple[Callable, ...] = ()
    empty: np.ndarray | Part | None = None
    psf: np.ndarray | None = None
    cards: dict = field(default_factory=dict)
    found: tuple[str, ...] = ()

    def cut(self, rows: slice, columns: slice, wcs: WCS | None = None) -> tuple[CCDData, tuple[str, ...]]:
        """
        Read a window, which may reach beyond the image: what lies there is masked.

        Returns
        -------
        ccd : CCDData
            The WCS is the one given, and meta is that of the image.
        found : tuple of str
            What was found in the pixels.
        """
        within, at, shape = overlap((rows, columns), self.shape)

        def filled(values, outside, kind):
            part = np.full(shape, outside, dtype=kind)
            part[at] = np.asarray(values).astype(kind)
            return part

        with reading(self.name, "a FITS image") if self.name else nullcontext():
            data = filled(self.data[within], np.nan, float)
            flagged = np.zeros(shape, dtype=bool)
            for unfit in self.unfit:
                flagged |= filled(unfit(within), False, bool)
            empty = _holes(data)
            if self.empty is not None:
                empty |= filled(np.nan_to_num(self.empty[within]) <= 0, True, bool)
            uncertainty = None
            if self.noise is not None:
                kind, values, factor = self.noise
                values = filled(values[within], np.nan, float) * factor
                empty |= (values == 0) | (np.isinf(values) & (kind is not InverseVariance))
                uncertainty = kind(values)
        found = []
        if count := np.count_nonzero(empty & np.isfinite(data) & ~flagged):
            found.append(f"masked {count} pixels without data: no exposure, no weight, or all of them 0")
        _warn_of_hidden_light(data, flagged, empty)
        mask = flagged | empty | ~np.isfinite(data)
        ccd = CCDData(
            np.where(np.isfinite(data), data, np.nan),
            unit=self.unit,
            uncertainty=uncertainty,
            mask=mask,
            wcs=wcs,
            meta=copy.deepcopy(self.meta),
            psf=None if self.psf is None else self.psf.copy(),
        )
        if "NOISECOV" in self.cards and self.noise is not None and uncertainty is not None:
            ccd.meta.update(noise_card_of(self.cards, self.noise[1][:, :], uncertainty.array))
        return ccd, tuple(found)

    def pixel_scale(self) -> u.Quantity:
        """Give the side of a pixel."""
        if self.wcs is None:
            raise ObservationError("image has no WCS to tell how large its pixels are; give pixel_scale=")
        return side_of(self.wcs, self.shape) * u.arcsec

    def whole(self) -> tuple[CCDData, tuple[str, ...]]:
        """Read all of the image."""
        ny, nx = self.shape
        return self.cut(slice(0, ny), slice(0, nx), wcs=self.wcs)


def overlap(window: tuple[slice, slice], shape: tuple[int, int]) -> tuple:
    """Give the slices of an image and of a window where they overlap, and the shape of the window."""
    within = tuple(
        slice(max(0, part.start), min(n, part.stop)) for part, n in zip(window, shape, strict=True)
    )
    at = tuple(
        slice(inner.start - part.start, inner.stop - part.start)
        for inner, part in zip(within, window, strict=True)
    )
    return within, at, tuple(part.stop - part.start for part in window)


def _holes(data):
    """Pixels without coverage that are filled with 0: in no sky are 5 x 5 pixels exactly 0."""
    zero = data == 0
    if zero.all() or not zero.any():
        return np.zeros_like(zero)
    return ndimage.binary_opening(zero, np.ones((_HOLE, _HOLE), dtype=bool))


def _warn_of_hidden_light(data, flagged, empty):
    """Say when a mask hides most of the light, as one does that is meant the other way round."""
    known = np.isfinite(data) & ~empty
    if not (flagged & known).any() or np.count_nonzero(known) < _FEW:
        return
    level = np.median(data[known])
    spread = 1.4826 * np.median(np.abs(data[known] - level))
    bright = known & (data > level + 5 * spread)
    hidden = np.count_nonzero(bright & flagged)
    if np.count_nonzero(bright) >= _FEW and hidden > _HIDDEN * np.count_nonzero(bright):
        warn(
            f"the mask hides {hidden / np.count_nonzero(bright):.0%} of the bright pixels: is it 1 where "
            "pixels are good, or are its flags of another kind? mask_bits= says which flags make a pixel "
            "unfit"
        )


def side_of(wcs, shape):
    """Side of a pixel in arcsec."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)  # of the whole of a mosaic, which is bent
        return PixelGrid.from_wcs(wcs, shape).side_arcsec
