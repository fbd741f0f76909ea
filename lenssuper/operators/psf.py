"""The point-spread function: convolution, and the PSF resampled to a finer grid.

A pixel of the fine image holds the mean surface brightness of the sky over that pixel, and a pixel of the
observed image the mean of the blurred sky over its own. Two kinds of PSF lead from the one to the other:

* an *optical* PSF is the image of a point before it is collected in pixels. Blurring and averaging over a
  fine pixel commute: the fine image is convolved with the PSF, and averaged over each observed pixel;
* an *effective* PSF is a star as the pixels see it (Anderson & King 2000, PASP 112, 1360): already averaged
  over an observed pixel, it is evaluated at the distance of the observed pixel's centre from the fine
  pixel's. The fine image has been averaged over a fine pixel; that average is taken out of the kernel, so
  that no pixel blurs twice.

Both end as one kernel of distances between fine and observed pixels, in ``BlurAndBin``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from lenssuper._utils.checks import check_count
from lenssuper._utils.warn import warn
from lenssuper.operators.arrays import real_array
from lenssuper.operators.convolution import StridedConvolution

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BlurAndBin", "PSFConvolution", "averaged_over", "fine_kernel"]

# Takes the average over a pixel out of pixel averages, to sixth order in the pixel. In Fourier space
# averaging is a factor sin(k/2) / (k/2), and one over that is 1 + k^2/24 + 7 k^4/5760 + ...; here k^2 and
# k^4 are written as second and fourth differences. It grows to 1.24, at the Nyquist frequency.
_AVERAGE_TO_POINT = np.array([9, -116, 2134, -116, 9]) / 1920

# A cardinal quintic spline falls by 0.43 from one node to the next, to less than 1e-15 here
_REACH = 42

# Share of the flux in the PSF's outermost samples from which on its wings have been cut off
_BORDER_FLUX = 0.02


class PSFConvolution(StridedConvolution):
    """Linear convolution with a kernel, where the kernel lies inside the image.

    The input is larger than the output by the kernel's size less one, so that nothing wraps round and nothing
    has to be assumed beyond the edge. Done by FFT, in the precision of the image.

    Parameters
    ----------
    kernel : array, shape (ky, kx)
        The kernel; it is not normalised.
    out_shape : tuple of int
        Shape (ny, nx) of the output; ``in_shape`` is (ny + ky - 1, nx + kx - 1).

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.operators import PSFConvolution
    >>> blur = PSFConvolution(np.full((3, 3), 1 / 9), out_shape=(64, 64))
    >>> blur
    <PSFConvolution: (66, 66) -> (64, 64)>
    >>> bool(np.allclose(blur @ np.ones((66, 66)), 1))
    True
    """

    def __init__(self, kernel, out_shape: Sequence[int]) -> None:
        super().__init__(_kernel_array(kernel, "kernel"), 1, out_shape)


class BlurAndBin(StridedConvolution):
    """From the fine image to the observed pixels: the PSF, and the average over a pixel, in one operator.

    Parameters
    ----------
    psf, factor, oversampling, includes_pixel
        As of `fine_kernel`.
    out_shape : tuple of int
        Shape (ny, nx) of the observed image.

    See Also
    --------
    fine_kernel : the PSF on the fine grid.

    Notes
    -----
    The fine image extends beyond the observed one by ``pad`` observed pixels on each side, as far as the PSF
    reaches: ``in_shape`` is ((ny + 2 pad) factor, (nx + 2 pad) factor). Weights sum to one for each observed
    pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.operators import BlurAndBin
    >>> y, x = np.mgrid[-12:13, -12:13]
    >>> psf = np.exp(-(x**2 + y**2) / 2)
    >>> op = BlurAndBin(psf, factor=2, out_shape=(64, 64))
    >>> op
    <BlurAndBin: (180, 180) -> (64, 64)>
    >>> op.pad
    13
    """

    def __init__(
        self,
        psf,
        factor: int,
        out_shape: Sequence[int],
        *,
        oversampling: int = 1,
        includes_pixel: bool = True,
    ) -> None:
        factor = check_count(factor, "factor")
        kernel = fine_kernel(psf, factor, oversampling=oversampling, includes_pixel=includes_pixel)
        if not includes_pixel:
            kernel = averaged_over(kernel, factor)
        # An observed pixel is in the middle of its block of fine ones, and the kernel extends equally beyond
        # the block on both sides. Zeros extend it to whole observed pixels.
        self._pad = max(-(-(n - factor) // (2 * factor)) for n in kernel.shape)
        full = factor * (2 * self._pad + 1)
        kernel = np.pad(kernel, [((full - n) // 2,) * 2 for n in kernel.shape])
        super().__init__(kernel, factor, out_shape)

    @property
    def pad(self) -> int:
        """Number of observed pixels by which the fine image extends beyond the observed one on each side."""
        return self._pad


def fine_kernel(psf, factor: int, *, oversampling: int = 1, includes_pixel: bool = True) -> np.ndarray:
    """Return the PSF on a grid ``factor`` times finer than the observed pixels.

    Parameters
    ----------
    psf : array, shape (ny, nx) with both odd, or None
        The PSF, its star in the middle of the central sample; normalised here. None if there is no blur.
    factor : int
        Number of fine pixels along the side of an observed one.
    oversampling : int, optional
        Samples of the PSF along the side of an observed pixel; it need not be ``factor``.
    includes_pixel : bool, optional
        Whether the PSF contains the observed pixel (effective) or not (optical).

    Returns
    -------
    array
        Weights that sum to one. For an optical PSF, at distances of whole fine pixels (odd sides): the fine
        image is convolved with it and binned. For an effective PSF, at the distances of the observed pixels'
        centres from the fine pixels' (even sides if ``factor`` is even, as the centre is a corner of fine
        pixels then): the convolution is picked at the observed pixels' centres. Without blur (None, or a
        single sample) an effective PSF is the pixel itself: ``factor`` x ``factor`` equal weights.

    Raises
    ------
    TypeError
        If ``psf`` is not an array of real numbers.
    ValueError
        If ``psf`` has an even side, a value that is not finite, or no positive sum.

    Warns
    -----
    LensSuperWarning
        If much of the flux is at the border of the PSF.

    Notes
    -----
    The samples are joined by a cardinal quintic spline, which is zero where the next sample beyond the border
    would be. If the fine pixels are the coarser grid, the same spline gathers the samples into them, so that
    fluxes and centroids are kept and a narrow PSF cannot fall between two pixels. Against exact Gaussians
    (PSF of FWHM 2 pixels, source of sigma 1 pixel, factor 2) the worst observed pixel is wrong by 6e-4 of the
    peak, where a cubic spline leaves 5e-3 and a kernel averaged over the fine pixel 2e-2.
    """
    factor = check_count(factor, "factor")
    oversampling = check_count(oversampling, "oversampling")
    psf = np.ones((1, 1)) if psf is None else _checked_psf(psf)
    if _is_single_point(psf):
        n = factor if includes_pixel else 1
        return np.full((n, n), n**-2.0)
    half_pixel = includes_pixel and factor % 2 == 0
    rows, columns = (_resampling(n, factor, oversampling, half_pixel) for n in psf.shape)
    kernel = rows @ psf @ columns.T
    if includes_pixel:
        for axis in (0, 1):
            kernel = ndimage.convolve1d(kernel, _AVERAGE_TO_POINT, axis=axis, mode="constant")
    return kernel / kernel.sum()


def _resampling(n: int, factor: int, oversampling: int, half_pixel: bool) -> np.ndarray:
    """Return the weights (fine pixels, samples) that resample n samples to the fine pixels, on one axis."""
    if oversampling <= factor:
        return _spline_weights(n, oversampling, factor, half_pixel)
    # Every fine pixel must gather samples at the same positions within it: a whole number of them per pixel
    multiple = factor * -(-oversampling // factor)
    samples = _spline_weights(n, oversampling, multiple, half_pixel=False)
    return _spline_weights(len(samples), multiple, factor, half_pixel) @ samples


def _spline_weights(n: int, rate: int, new_rate: int, half_pixel: bool) -> np.ndarray:
    """Return the weights (new points, n points) from one rate of points per observed pixel to another.

    Both sets are centred on zero, a new point itself unless they are shifted by half their distance. The
    nodes of the spline are the points of the coarser grid.
    """
    spacing = 1 / min(rate, new_rate)
    reach = (n - 1) / 2 / rate + spacing
    # new points on each side, beside the central one if there is one, strictly within reach
    side = int(np.ceil(reach * new_rate - 1e-9)) - (not half_pixel)
    new = (np.arange(-side, side + (not half_pixel)) + 0.5 * half_pixel) / new_rate
    old = (np.arange(n) - (n - 1) / 2) / rate
    return _cardinal_spline(np.clip((new[:, None] - old) / spacing, -_REACH, _REACH))


def averaged_over(kernel: np.ndarray, n: int) -> np.ndarray:
    """Return a kernel convolved with the average over n x n samples, and larger by n - 1 on each axis."""
    return sliding_window_view(np.pad(kernel, n - 1), (n, n)).mean((-2, -1))


def _cardinal_spline(x: np.ndarray) -> np.ndarray:
    """Return the quintic spline at x (ny, nx) that is one at zero and zero at all other whole numbers."""
    coefficients = _cardinal_coefficients()
    middle = len(coefficients) // 2
    return ndimage.map_coordinates(coefficients, [x + middle], order=5, mode="mirror", prefilter=False)


@cache
def _cardinal_coefficients() -> np.ndarray:
    """Return the coefficients of its B-splines, so far beyond its reach that their end does not matter."""
    return ndimage.spline_filter1d(np.arange(4 * _REACH + 1) == 2 * _REACH, order=5, output=np.float64)


def _is_single_point(psf: np.ndarray) -> bool:
    centre = psf[psf.shape[0] // 2, psf.shape[1] // 2]
    return centre != 0 and np.count_nonzero(psf) == 1


def _kernel_array(kernel, name: str) -> np.ndarray:
    kernel = real_array(kernel, name)
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(f"{name} must be a two-dimensional array; got shape {kernel.shape}")
    if not np.isfinite(kernel).all():
        raise ValueError(f"{name} must be finite; got {np.sum(~np.isfinite(kernel))} values that are not")
    return kernel.astype(np.float64)


def _checked_psf(psf) -> np.ndarray:
    """Return a PSF that is valid, normalised."""
    psf = _kernel_array(psf, "psf")
    if psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ValueError(f"psf must have odd sides, so that a sample is its centre; got shape {psf.shape}")
    total = psf.sum()
    if not total > 0:
        raise ValueError(f"psf must have a positive sum; got {total}")
    psf /= total
    border = 1 - psf[1:-1, 1:-1].sum()
    if min(psf.shape) > 1 and border > _BORDER_FLUX:
        warn(f"the outermost samples of the PSF hold {border:.0%} of its flux: its wings are cut off")
    return psf
