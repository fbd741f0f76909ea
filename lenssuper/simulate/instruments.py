"""
Instruments: a pixel scale, a PSF and the sources of noise.

The presets are representative, not calibrations: PSFs are circular and analytic (no spikes), and
backgrounds are typical. Sources of the numbers are given beside each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import astropy.units as u
import numpy as np

from lenssuper._utils.checks import check_kind, check_length, check_number, check_quantity
from lenssuper._utils.units import arcsec
from lenssuper.simulate.psfs import AiryPSF, GaussianPSF, MoffatPSF, OpticalPSF

__all__ = [
    "BENCHMARK",
    "EUCLID_VIS",
    "HST_ACS_F814W",
    "HST_WFC3_F160W",
    "JWST_NIRCAM_F150W",
    "JWST_NIRCAM_F444W",
    "LSST_I",
    "Instrument",
]

_RATE = u.electron / u.s


@dataclass(frozen=True, eq=False)
class Instrument:
    """
    Pixels, PSF and noise of a telescope's camera.

    Parameters
    ----------
    name : str
        For messages and headers.
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel, an angle.
    optics : OpticalPSF
        The PSF without the pixel.
    background : `~astropy.units.Quantity`
        Sky and dark current in electron / s per pixel.
    read_noise : `~astropy.units.Quantity`
        In electron per exposure and pixel.
    exposure : `~astropy.units.Quantity`
        Total exposure time.
    n_exposures : int
        How many exposures it is split into.

    Notes
    -----
    Data are in electron / s per pixel with the background subtracted. Their variance is
    ``(model + background) / exposure + n_exposures (read_noise / exposure)^2``.
    """

    name: str
    pixel_scale: u.Quantity
    optics: OpticalPSF
    background: u.Quantity = 0.1 * _RATE
    read_noise: u.Quantity = 4.0 * u.electron
    exposure: u.Quantity = 2000.0 * u.s
    n_exposures: int = 4

    def __post_init__(self) -> None:
        check_length(self.pixel_scale, "pixel_scale", above=0)
        check_kind(self.optics, "optics", OpticalPSF, "an OpticalPSF, e.g. GaussianPSF(0.1 * u.arcsec)")
        check_quantity(self.background, "background", _RATE, "0.1 * u.electron / u.s", least=0)
        check_quantity(self.read_noise, "read_noise", u.electron, "4 * u.electron", least=0)
        check_quantity(self.exposure, "exposure", u.s, "2000 * u.s", above=0)
        check_number(self.n_exposures, "n_exposures", least=1)

    @classmethod
    def gaussian(
        cls, pixel_scale: u.Quantity, fwhm: u.Quantity, *, name: str = "Gaussian", **noise
    ) -> Instrument:
        """
        Return an instrument with a Gaussian optical PSF.

        Parameters
        ----------
        pixel_scale, fwhm : `~astropy.units.Quantity`
            Side of a pixel, and full width at half maximum of the PSF before the pixel blurs it.
        name : str, optional
        **noise
            ``background``, ``read_noise``, ``exposure`` and ``n_exposures``.
        """
        return cls(name, pixel_scale, GaussianPSF(fwhm), **noise)

    @cached_property
    def psf(self) -> np.ndarray:
        """The effective PSF on the pixels: odd-sized, pixel included, sum 1, read-only."""
        kernel = self.optics.effective(self.pixel_scale)
        kernel.flags.writeable = False
        return kernel

    @cached_property
    def psf_fwhm(self) -> u.Quantity:
        """FWHM of the effective PSF along a row through its centre (the PSF blurred by the pixel)."""
        oversampling = 25
        scale = check_length(self.pixel_scale, "pixel_scale", above=0)
        fine = self.optics.optical(self.pixel_scale / oversampling)
        width = fine.shape[0]
        box = np.ones(oversampling) / oversampling
        row = np.convolve(fine[width // 2 - oversampling // 2 :][:oversampling].sum(axis=0), box)
        half = 0.5 * row.max()
        inside = np.flatnonzero(row >= half)
        first, last = inside[0], inside[-1]
        left = first - (row[first] - half) / (row[first] - row[first - 1])
        right = last + (row[last] - half) / (row[last] - row[last + 1])
        return arcsec((right - left) * scale / oversampling)

    def variance(self, model: np.ndarray | float) -> np.ndarray | float:
        """Return the variance in (electron/s)^2 of pixels whose noise-free value is ``model`` electron/s."""
        t = self.exposure.to_value(u.s)
        return (np.maximum(model, 0.0) + self.background.to_value(_RATE)) / t + self.read_variance

    @property
    def read_variance(self) -> float:
        """Variance of the read noise in (electron/s)^2."""
        rms = self.read_noise.to_value(u.electron) / self.exposure.to_value(u.s)
        return self.n_exposures * rms**2


# The instrument of the project's benchmark set. Its background is bright enough for it and the photons of the
# arcs to matter alike at a peak S/N of 20 to 60.
BENCHMARK = Instrument.gaussian(
    0.08 * u.arcsec,
    0.16 * u.arcsec,
    name="benchmark",
    background=0.7 * u.electron / u.s,
    read_noise=5.0 * u.electron,
    exposure=2000.0 * u.s,
    n_exposures=4,
)

# PSFs: 2.4 m, central obscuration 0.33 (HST Primer); the blur stands for charge diffusion and jitter, and
# brings the effective FWHM to the 0.10-0.11" of ACS/WFC in F814W (ACS Instrument Handbook, sections 5.6 and
# 9.3: sky 0.10 electron/s/pixel, read noise 4 electron). Exposure of one COSMOS orbit (Scoville et al.
# 2007).
HST_ACS_F814W = Instrument(
    "HST/ACS F814W",
    0.05 * u.arcsec,
    AiryPSF(0.81 * u.um, 2.4 * u.m, obscuration=0.33, blur=0.072 * u.arcsec),
    background=0.11 * _RATE,
    read_noise=4.0 * u.electron,
    exposure=2028.0 * u.s,
    n_exposures=4,
)

# WFC3/IR dithered and drizzled from 0.128" to 0.08" pixels (WFC3 Instrument Handbook, table 7.5: FWHM 0.15"
# at 1.6 um; sky about 0.9 electron/s in a native pixel; read noise 12 electron per ramp, both scaled to
# 0.08").
HST_WFC3_F160W = Instrument(
    "HST/WFC3 F160W",
    0.08 * u.arcsec,
    AiryPSF(1.54 * u.um, 2.4 * u.m, obscuration=0.36, blur=0.06 * u.arcsec),
    background=0.35 * _RATE,
    read_noise=7.5 * u.electron,
    exposure=2400.0 * u.s,
    n_exposures=4,
)

# NIRCam (JWST User Documentation, NIRCam point spread functions: FWHM 0.050" and 0.145"; 6.5 m). The
# background is 0.2 and 0.3 MJy/sr at a zero point of about 27.8 mag (AB, 1 electron/s). Exposures as in
# COSMOS-Web (Casey et al. 2023), drizzled to 0.03" and 0.06" as in the public mosaics.
JWST_NIRCAM_F150W = Instrument(
    "JWST/NIRCam F150W",
    0.03 * u.arcsec,
    AiryPSF(1.50 * u.um, 6.5 * u.m, obscuration=0.2, blur=0.015 * u.arcsec),
    background=0.16 * _RATE,
    read_noise=9.0 * u.electron,
    exposure=1030.0 * u.s,
    n_exposures=4,
)
JWST_NIRCAM_F444W = Instrument(
    "JWST/NIRCam F444W",
    0.06 * u.arcsec,
    AiryPSF(4.40 * u.um, 6.5 * u.m, obscuration=0.2, blur=0.03 * u.arcsec),
    background=1.0 * _RATE,
    read_noise=9.0 * u.electron,
    exposure=1030.0 * u.s,
    n_exposures=4,
)

# VIS: 1.2 m, 0.55-0.9 um, 0.1" pixels, effective FWHM about 0.16", four exposures of 560 s (Euclid
# Collaboration: Cropper et al. 2025; Euclid Collaboration: Mellier et al. 2025). Sky 22.3 mag/arcsec^2 at
# zero point 25.5 mag.
EUCLID_VIS = Instrument(
    "Euclid/VIS",
    0.10 * u.arcsec,
    AiryPSF(0.72 * u.um, 1.2 * u.m, obscuration=0.33, blur=0.09 * u.arcsec),
    background=0.19 * _RATE,
    read_noise=4.0 * u.electron,
    exposure=2240.0 * u.s,
    n_exposures=4,
)

# LSST i after part of the survey: median delivered FWHM 0.7", sky 20.5 mag/arcsec^2 at zero point 27.85 mag,
# read noise 9 electron, 30 s visits (Ivezic et al. 2019, ApJ 873, 111, tables 1 and 2).
LSST_I = Instrument(
    "LSST i",
    0.20 * u.arcsec,
    MoffatPSF(0.68 * u.arcsec),
    background=35.0 * _RATE,
    read_noise=9.0 * u.electron,
    exposure=6000.0 * u.s,
    n_exposures=200,
)
