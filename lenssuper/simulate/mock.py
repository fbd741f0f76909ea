"""Mock lenses: a lens, a source and an instrument give an observation, and the truth behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper._utils.checks import check_choice, check_count, check_kind, check_number, check_rng
from lenssuper.lens import LensModel
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators import BlurAndBin
from lenssuper.simulate.instruments import Instrument
from lenssuper.simulate.render import pixel_averages
from lenssuper.simulate.sources import Source

__all__ = ["MockLens", "mock_lens"]

_RATE = u.electron / u.s
_COSMOS = SkyCoord(150.1193 * u.deg, 2.2058 * u.deg)  # the default position of the mocks


@dataclass(frozen=True, eq=False)
class MockLens:
    """
    A simulated observation together with the truth.

    All images are surface brightness in ``observation.unit`` per observed pixel, whatever their pixel scale.

    Attributes
    ----------
    observation : `~astropy.nddata.CCDData`
        Data, true standard deviation, mask, effective PSF and celestial WCS (north up).
    lens : LensModel
    source : Source
        As lensed: scaled to the peak S/N asked for.
    instrument : Instrument
    grid : PixelGrid
        Of the observation; its offsets are the lens's coordinates.
    factor : int
        The refinement `image` uses by default.
    noiseless : ndarray, shape ``grid.shape``
        The observation without noise: lensed, blurred and averaged over the observed pixels.
    lens_light : Source or None
        Light of the lens galaxy, part of ``noiseless`` but not of `image`.
    """

    observation: CCDData
    lens: LensModel
    source: Source
    instrument: Instrument
    grid: PixelGrid
    factor: int
    noiseless: np.ndarray
    lens_light: Source | None = None
    _images: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __repr__(self) -> str:
        return (
            f"<MockLens: {self.grid.shape} pixels of {self.grid.side_arcsec:.3g} arcsec, {self.lens!r}, "
            f"{type(self.source).__name__}, {self.instrument.name}>"
        )

    def image(self, factor: int | None = None) -> np.ndarray:
        """
        Return the lensed source without PSF and noise, averaged over finer pixels.

        Parameters
        ----------
        factor : int, optional
            Number of them along the side of an observed pixel; by default the mock's own.

        Returns
        -------
        ndarray, shape (factor * ny, factor * nx)
        """
        factor = self.factor if factor is None else factor
        if factor not in self._images:
            grid = self.grid.refine(check_count(factor, "factor"))
            self._images[factor] = pixel_averages(_lensed(self.lens, self.source), grid)
        return self._images[factor].copy()

    def source_image(self, grid: PixelGrid) -> np.ndarray:
        """
        Return the source averaged over the pixels of a grid in the source plane.

        Parameters
        ----------
        grid : PixelGrid
            Its offsets are the source plane's coordinates.

        Returns
        -------
        ndarray, shape ``grid.shape``
        """
        return pixel_averages(self.source.surface_brightness, grid)


def mock_lens(
    lens: LensModel,
    source: Source,
    instrument: Instrument,
    *,
    shape: tuple[int, int] = (64, 64),
    peak_snr: float | None = None,
    exposure: u.Quantity | None = None,
    factor: int = 2,
    lens_light: Source | None = None,
    noise: str = "poisson",
    position: SkyCoord = _COSMOS,
    supersampling: int = 8,
    rng: np.random.Generator | int | None = None,
) -> MockLens:
    """
    Simulate the observation of a lens.

    The image is made by shooting rays (at least ``supersampling`` of them per pixel along each axis,
    more where the brightness changes), convolving with the optical PSF on the sub-pixels and averaging
    these. Light from outside the field is scattered in.

    Parameters
    ----------
    lens : LensModel
    source : Source
        Its surface brightness is in electron / s per observed pixel, unless ``peak_snr`` rescales it.
    instrument : Instrument
    shape : (int, int), optional
        Rows and columns of the observation.
    peak_snr : float, optional
        Scale the source until its brightest noise-free pixel has this ratio to its standard deviation.
    exposure : `~astropy.units.Quantity`, optional
        Total exposure time instead of the instrument's.
    factor : int, optional
        Refinement of the truth.
    lens_light : Source, optional
        Light of the lens galaxy in the image plane, in electron / s per pixel; it is not rescaled.
    noise : {"poisson", "gaussian"}, optional
        Photon noise of background and light with Gaussian read noise, or only the background's noise,
        Gaussian and the same in every pixel.
    position : `~astropy.coordinates.SkyCoord`, optional
        Where on the sky the centre of the field lies.
    supersampling : int, optional
        Sub-pixels per observed pixel and axis at which the PSF is sampled.
    rng : `~numpy.random.Generator` or int, optional
        Source of the noise.

    Returns
    -------
    MockLens

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If ``peak_snr`` is not positive, the shape is not that of an image, or no light falls in the field.
    """
    check_kind(lens, "lens", LensModel)
    check_kind(source, "source", Source)
    check_kind(instrument, "instrument", Instrument)
    check_choice(noise, "noise", ("poisson", "gaussian"))
    if exposure is not None:
        instrument = replace(instrument, exposure=exposure)
    rng = check_rng(rng)
    factor, supersampling = check_count(factor, "factor"), check_count(supersampling, "supersampling")
    grid = PixelGrid(shape, instrument.pixel_scale, reference=position)

    arcs = _observe(_lensed(lens, source), grid, instrument, supersampling)
    light = 0.0
    if lens_light is not None:
        check_kind(lens_light, "lens_light", Source)
        light = _observe(lens_light.surface_brightness, grid, instrument, supersampling)
    if peak_snr is not None:
        gain = _gain(arcs, light, instrument, check_number(peak_snr, "peak_snr", above=0), noise)
        arcs, source = gain * arcs, gain * source
    noiseless = arcs + light
    data, sigma = _expose(noiseless, instrument, noise, rng)
    return MockLens(
        observation=_ccd(data, sigma, grid, instrument),
        lens=lens,
        source=source,
        instrument=instrument,
        grid=grid,
        factor=factor,
        noiseless=noiseless,
        lens_light=lens_light,
    )


def _lensed(lens, source):
    def brightness(x, y):
        return source.surface_brightness(*lens.rays_arcsec(x, y))

    return brightness


def _observe(brightness, grid, instrument, supersampling):
    """
    Blur by the optical PSF and average over the pixels of ``grid``.

    The brightness is averaged over sub-pixels, convolved with samples of the PSF one sub-pixel apart, and
    averaged over the sub-pixels of each pixel. But for aliasing of the PSF this is exact: the box of a
    sub-pixel, convolved with the comb of the last average, is the box of the pixel.
    """
    kernel = instrument.optics.optical(instrument.pixel_scale / supersampling)
    blur = BlurAndBin(kernel, supersampling, grid.shape, oversampling=supersampling, includes_pixel=False)
    return blur.forward(pixel_averages(brightness, grid.pad(blur.pad).refine(supersampling), rays=1))


def _gain(arcs, light, instrument, peak_snr, noise):
    """Return the factor on the arcs that gives their brightest pixel the peak S/N."""
    peak = np.unravel_index(np.argmax(arcs), arcs.shape)
    brightest = arcs[peak]
    if not brightest > 0:
        raise ValueError("source must put some light into the field for peak_snr to be reached; got none")
    if noise == "gaussian":
        return peak_snr * np.sqrt(instrument.variance(0.0)) / brightest
    # (g f)^2 = S^2 (g f / t + variance without the arcs), solved for the rate g f
    s2, t = peak_snr**2, instrument.exposure.to_value(u.s)
    rest = instrument.variance(light if np.ndim(light) == 0 else light[peak])
    return (s2 / t + np.sqrt((s2 / t) ** 2 + 4 * s2 * rest)) / (2 * brightest)


def _expose(model, instrument, noise, rng):
    """Return noisy data and the true standard deviation of every pixel."""
    if noise == "gaussian":
        sigma = np.full(model.shape, np.sqrt(instrument.variance(0.0)))
        return model + sigma * rng.standard_normal(model.shape), sigma
    sigma = np.sqrt(instrument.variance(model))
    if not (sigma > 0).all():
        raise ValueError(
            "instrument must have background or read noise; got neither, so that dark pixels have no noise"
        )
    t, background = instrument.exposure.to_value(u.s), instrument.background.to_value(_RATE)
    counts = rng.poisson(np.maximum((np.maximum(model, 0.0) + background) * t, 0.0))
    read = np.sqrt(instrument.read_variance) * rng.standard_normal(model.shape)
    # a source made of a noisy image may be negative somewhere: that part has no photons, and is added
    return counts / t - background + np.minimum(model, 0.0) + read, sigma


def _ccd(data, sigma, grid, instrument):
    header = {"INSTRUME": instrument.name, "EXPTIME": instrument.exposure.to_value(u.s)}
    return CCDData(
        data,
        unit=_RATE,
        uncertainty=StdDevUncertainty(sigma),
        mask=np.zeros(data.shape, dtype=bool),
        wcs=grid.wcs,
        psf=instrument.psf.copy(),
        meta=header,
    )
