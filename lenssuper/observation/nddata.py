"""What an NDData holds, checked, and what it says of lenssuper's own in its metadata."""

from __future__ import annotations

import copy
import zlib
from typing import Any

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError
from lenssuper.observation._tangent import is_own_wcs

__all__ = [
    "OWN_CARDS",
    "noise_card_of",
    "noise_of",
    "own_cards",
    "read_data",
    "read_mask",
    "read_weights",
    "split_meta",
    "warn_of_a_mask_of_all",
]

# Share of the pixels that no mask hides unless it is meant the other way round.
_MASKED = 0.975

# Cards that a file or an NDData of lenssuper's own has beside those of the CCDData layout.
OWN_CARDS = {
    "LSNEXT": "number of extensions of this file",
    "LSGRID": "offsets are counted from CRVAL",
    "PSFOVERS": "PSF samples per pixel",
    "PSFPIXEL": "whether the PSF contains the pixel",
    "PSFCRC": "CRC-32 of the PSF that these two are of",
    "NOISECOV": "",  # covariance of the noise of neighbours: rows, columns and the second half; often long
    "NOISECRC": "CRC-32 of the standard deviations it is of",
}


def split_meta(nddata: NDData) -> tuple[dict, dict]:
    """Metadata without the cards of lenssuper's own, and those of them that hold for this image."""
    meta = copy.deepcopy(nddata.meta)
    cards = {key: meta.pop(key) for key in OWN_CARDS if key in meta}
    for key in ("CHECKSUM", "DATASUM") if "LSNEXT" in cards else ():
        meta.pop(key, None)
    if nddata.psf is not None and "PSFCRC" in cards and cards["PSFCRC"] != _digest(nddata.psf):
        cards = {key: value for key, value in cards.items() if not key.startswith("PSF")}
    if "NOISECOV" in cards and cards.get("NOISECRC") != _digest(getattr(nddata.uncertainty, "array", None)):
        del cards["NOISECOV"]
    if not is_own_wcs(nddata.wcs):
        cards.pop("LSGRID", None)
    return meta, cards


def own_cards(
    psf: np.ndarray | None,
    oversampling: int,
    includes_pixel: bool,
    sigma: np.ndarray,
    noise: float | np.ndarray | None,
) -> dict:
    """Give the cards that say what an NDData of lenssuper's own cannot."""
    cards: dict[str, Any] = {"LSGRID": True, "PSFOVERS": oversampling, "PSFPIXEL": includes_pixel}
    if psf is not None:
        cards["PSFCRC"] = _digest(psf)
    if noise is not None:
        noise = np.atleast_2d(noise)
        half = noise.ravel()[noise.size // 2 :]  # the other half is its mirror image
        numbers = (*map(str, noise.shape), *(f"{value:.9g}" for value in half))
        cards |= {"NOISECOV": " ".join(numbers), "NOISECRC": _digest(sigma)}
    return cards


def noise_of(cards: dict) -> float | np.ndarray | None:
    """Give the correlation of the noise that cards of `own_cards` say; None if they do not."""
    try:
        rows, columns, *half = (float(number) for number in str(cards["NOISECOV"]).split())
        noise = np.array([*half[:0:-1], *half]).reshape(int(rows), int(columns))
    except (KeyError, ValueError):
        return None
    return noise if noise.size > 1 else noise.item()


def noise_card_of(cards: dict, whole: np.ndarray, part: np.ndarray) -> dict:
    """Give the card NOISECRC of a part of an image, whose noise neighbours share as in the whole."""
    return {"NOISECRC": _digest(part)} if cards.get("NOISECRC") == _digest(whole) else {}


def _digest(psf):
    if np.asarray(psf).dtype.kind not in "iuf":
        return None  # the check of the PSF says what is wrong
    return zlib.crc32(np.ascontiguousarray(psf, dtype="<f8"))


def warn_of_a_mask_of_all(masked: np.ndarray, data: np.ndarray) -> None:
    """Say when a mask leaves next to nothing, as one does that is 1 where pixels are good."""
    hidden = masked & np.isfinite(data) & (data != 0)
    if np.count_nonzero(hidden) > _MASKED * data.size:
        warn(
            f"the mask hides {hidden.mean():.1%} of the pixels, and what is not 0 in it means: do not "
            "use. Is it 1 where pixels are good?"
        )


def read_data(nddata: NDData) -> tuple[np.ndarray, u.UnitBase]:
    """Check the data and give them as float64, with their unit."""
    data = np.asarray(nddata.data)
    if data.ndim != 2:
        raise ObservationError(f"an observation must be a two-dimensional image; got shape {data.shape}")
    if data.size == 0 or data.dtype.kind not in "iuf":
        raise ObservationError(f"an observation must hold real numbers; got shape {data.shape}, {data.dtype}")
    unit = u.dimensionless_unscaled if nddata.unit is None else nddata.unit
    if isinstance(unit, u.function.FunctionUnitBase) or unit.is_equivalent(u.mag):
        raise ObservationError(f"an observation must be linear in the flux; got the unit {str(unit)!r}")
    return data.astype(np.float64), unit


def read_mask(mask, shape: tuple[int, int]) -> np.ndarray:
    """Check a mask and give it in the shape of the data."""
    mask = np.asarray(False if mask is None else mask)
    if mask.dtype.kind not in "biu":
        raise ObservationError(f"the mask must be boolean (True = do not use); got {mask.dtype}")
    if mask.shape not in ((), shape):
        raise ObservationError(f"the mask must have the shape of the data, {shape}; got {mask.shape}")
    return np.broadcast_to(mask != 0, shape)


# Of what an uncertainty holds: its unit as a power of that of the data, and the power that makes it a weight.
_KINDS = {"std": (1, -2), "var": (2, -1), "ivar": (-2, 1)}


def read_weights(uncertainty, unit, shape, unused) -> np.ndarray:
    """Give one over the variance, 0 where it is not known or ``unused`` says so."""
    if uncertainty is None or uncertainty.array is None:
        what = "the observation has no uncertainty, and every pixel needs its noise: "
        raise ObservationError(
            f"{what}add one with nddata.uncertainty = astropy.nddata.StdDevUncertainty(sigma), where "
            "sigma is an array like the data",
            shell=f"{what}lenssuper prepare measures it, and --noise or --weight names a map of it",
        )
    if uncertainty.uncertainty_type not in _KINDS:
        raise ObservationError(
            "the uncertainty must be a StdDevUncertainty, VarianceUncertainty or InverseVariance; "
            f"got {type(uncertainty).__name__}"
        )
    power, to_weight = _KINDS[uncertainty.uncertainty_type]
    values = np.ma.filled(np.ma.array(uncertainty.array, dtype=np.float64), np.nan)
    if values.shape not in ((), shape):
        raise ObservationError(
            f"the uncertainty must have the shape of the data, {shape}; got {values.shape}"
        )
    if uncertainty.unit is not None:
        values = values * uncertainty.unit.to(unit**power)  # astropy has checked that they agree
    values = np.broadcast_to(values, shape)
    unused = unused | np.isnan(values)
    _refuse_values(values < 0, unused, "negative", "<= 0")
    # An infinite sigma is a pixel without weight, and so is an inverse variance of zero.
    with np.errstate(all="ignore"):
        weights = values**to_weight
    if to_weight > 0:
        _refuse_values(weights == np.inf, unused, "infinite", "== numpy.inf")
    else:
        _refuse_values(weights == np.inf, unused, "zero", "<= 0")
    return np.where(unused, 0.0, weights)


def _refuse_values(bad, unused, what, condition):
    count = np.count_nonzero(bad & ~unused)
    if count:
        found = f"the uncertainty is {what} in {count} pixels that are not masked; if they are bad, mask them"
        raise ObservationError(
            f"{found}: bad = nddata.uncertainty.array {condition}; "
            "nddata.mask = bad if nddata.mask is None else nddata.mask | bad",
            shell=f"{found} with --mask",
        )
