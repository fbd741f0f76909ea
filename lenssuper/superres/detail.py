"""How fine an image the PSF and the noise of an observation allow."""

from __future__ import annotations

import numpy as np

from lenssuper.observation import Observation
from lenssuper.operators import fine_kernel

__all__ = ["supported_factor"]

# The finest grid that is looked at.
_MOST = 8
# Pixels in which the transform of the PSF is computed, per sample of its side: enough to see its shape.
_PADDING = 2


def supported_factor(observation: Observation, most: int = _MOST) -> int:
    r"""
    Return the factor beyond which finer pixels show nothing more, not even of a point source.

    A point source of flux F, observed with the PSF p, has the amplitude :math:`F |\hat p(k)|` at the
    wavenumber k. In the N pixels that it covers, :math:`1 / N = \sum p^2`, noise has the amplitude
    :math:`\sigma \sqrt N`. With the peak's S/N, :math:`S = F \max p / \sigma`, detail is measured where

    .. math:: |\hat p(k)| > \frac{\max p \, \sqrt N}{S} .

    The factor is the one with two pixels for half of the shortest wave measured, four times its wavenumber in
    cycles per observed pixel. All other parts of an image are fainter. What a lens adds by magnifying is not
    counted.

    Without a PSF, or with no light, it is ``most``.
    """
    snr = _peak_snr(observation)
    if observation.psf is None or not snr > 0:
        return most
    kernel = fine_kernel(
        observation.psf,
        most,
        oversampling=observation.psf_oversampling,
        includes_pixel=observation.psf_includes_pixel,
    )
    kernel = kernel / kernel.sum()
    # the sums of the kernel over observed pixels, of a source in the middle of one
    peak, spread = kernel.max() * most**2, np.sum(kernel**2) * most**2
    threshold = peak / np.sqrt(spread) / snr
    side = _PADDING * max(kernel.shape)
    transfer = np.abs(np.fft.rfft2(kernel, s=(side, side)))
    wave = most * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    measured = wave[transfer > threshold]
    finest = float(measured.max()) if measured.size else 0.0
    return int(np.clip(np.ceil(4 * finest), 1, most))


def _peak_snr(observation):
    """Return the S/N of the brightest pixels, of which the brightest few may be hot."""
    snr = (observation.data * np.sqrt(observation.weights))[observation.bright]
    return float(np.percentile(snr, 99)) if snr.size else 0.0
