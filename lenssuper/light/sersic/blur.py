"""
Blurring a Sersic profile by the PSF: the observed pixels everywhere, finer ones where the profile is cuspy.

The image of means over observed pixels is convolved with the PSF. This neglects that the light within a pixel
is not uniform. The correction comes from a square of finer pixels around the centre: the difference of two
convolutions of the same light, whose kernel is narrow. The light of still finer pixels in smaller squares is
moved to these fine ones, so that it needs no convolution of its own.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from lenssuper.operators import BlurAndBin, fine_kernel
from lenssuper.operators.convolution import interleaved
from lenssuper.operators.psf import averaged_over

__all__ = ["CuspBlur"]

# The squares, for narrow and for wide PSFs: pixels along the side of an observed one, and the radius in
# observed pixels. Chosen by experiment, for n up to 8 and PSFs of FWHM from 1.2 to 6 pixels.
_NARROW, _WIDE = ((5, 8.5), (25, 0.9), (125, 0.18)), ((3, 8.5), (15, 1.5), (75, 0.3))
# Area in observed pixels within which a wide PSF is above half of its peak: FWHM of 3.3 pixels
_WIDE_AREA = 8.5
# Turns values at points into averages over a pixel, to sixth order: in Fourier space 1 - k^2/24 + k^4/1920,
# with k^2 and k^4 written as second and fourth differences.
_POINT_TO_AVERAGE = np.array([-17, 308, 5178, 308, -17]) / 5760
# Share of the light that may be lost by truncating a kernel
_NEGLIGIBLE = 1e-5


class CuspBlur:
    """
    The PSF, and the mean over a pixel, for profiles that are smooth except at their centres.

    Without a PSF there is no blur; ``out_shape`` is that of the observed image, and ``oversampling`` and
    ``includes_pixel`` are as in `~lenssuper.operators.BlurAndBin`. Without ``fine`` pixels the blur is
    faster, and wrong by some percent at a cusp.
    """

    def __init__(self, psf, out_shape, *, oversampling=1, includes_pixel=True, fine=True):
        self._out_shape = tuple(out_shape)
        self._native = self._cusp = None
        if psf is not None:
            options = {"oversampling": oversampling, "includes_pixel": includes_pixel}
            self._native = BlurAndBin(psf, 1, self._out_shape, **options)
            self._cusp = _Cusp(psf, **options) if fine else None

    def __call__(self, profile, center):
        """
        Return the images (k, *out_shape) of a profile with its cusp at ``center`` (column, row), as observed.

        All but the first are derivatives, which are blurred in single precision.

        ``profile(first, factor, shape, border=0)`` gives means (k, ny, nx) over a lattice of pixels
        ``factor`` times finer than the observed ones; ``first`` (column, row) is the outer corner, in
        observed pixels, of its first one.
        """
        if self._native is None:
            return profile((-0.5, -0.5), 1, self._out_shape)
        pad = self._native.pad
        images = profile((-0.5 - pad, -0.5 - pad), 1, self._native.in_shape, pad)
        center = np.clip(center, -1e6, 1e6)
        middle = np.round(center).astype(int)
        overlap = self._cusp and _overlap(middle, self._cusp.far, self._out_shape)
        if overlap is None:
            return self._blurred(images)
        stamp, moved = self._cusp.light(profile, center, middle)
        # light that is moved between observed pixels is moved in their image, too
        where = _overlap(middle + pad, moved.shape[-1] // 2, images.shape[1:])
        if where is not None:
            images[:, *where[0]] += moved[:, *where[1]]
        blurred = self._blurred(images)
        blurred[:, *overlap[0]] += self._cusp.blur(stamp)[:, *overlap[1]]
        return blurred

    def _blurred(self, images):
        """Blur images of the observed pixels, all but the first in single precision."""
        found = np.empty((len(images), *self._out_shape))
        found[:1] = self._native.forward(images[:1])
        if len(images) > 1:
            found[1:] = self._native.forward(images[1:].astype(np.float32))
        return found


def _overlap(middle, far, shape):
    """Return the slices of an image and of a square around ``middle`` that overlap; None if none do."""
    low = np.maximum(middle - far, 0)
    high = np.minimum(middle + far + 1, shape[::-1])
    if np.any(high <= low):
        return None
    image = [slice(i, j) for i, j in zip(low[::-1], high[::-1], strict=True)]
    low, high = low - middle + far, high - middle + far
    return image, [slice(i, j) for i, j in zip(low[::-1], high[::-1], strict=True)]


class _Cusp:
    """The correction of an image by finer pixels around the centre."""

    def __init__(self, psf, **options):
        area = np.count_nonzero(psf > 0.5 * psf.max()) / options["oversampling"] ** 2
        self._squares = _WIDE if area > _WIDE_AREA else _NARROW
        (factor, radius), *inner = self._squares
        difference = _difference(
            _binned_kernel(psf, factor, **options), _binned_kernel(psf, 1, **options), factor
        )
        side = round(2 * radius)
        self.far = side // 2 + (len(difference) // factor - 1) // 2
        self.blur = _FromFine(difference, factor, side)
        self._tapers = [_taper(factor, radius) for factor, radius in self._squares]
        self._moves = [_Move(*outer, *square) for outer, square in zip(self._squares, inner, strict=False)]

    def light(self, profile, center, middle):
        """Return the light in the fine pixels, and how much of it was moved to each observed one."""
        factor, radius = self._squares[0]
        stamp, moved = self._gather(profile, center, 0, middle - radius)
        n = stamp.shape[-1] // factor
        return stamp, moved.reshape(-1, n, factor, n, factor).mean((2, 4))

    def _gather(self, profile, center, level, first):
        """Return the light in a square with outer corner ``first``, and that moved between its pixels."""
        factor, _ = self._squares[level]
        taper = self._tapers[level]
        stamp = profile(tuple(first), factor, taper.shape) * taper
        moved = np.zeros_like(stamp)
        if level < len(self._moves):
            move = self._moves[level]
            offset = np.round((center - first) * factor - 0.5).astype(int) - move.radius
            inner, _ = self._gather(profile, center, level + 1, first + offset / factor)
            (x, y), n = offset - move.margin, move.size
            moved[:, y : y + n, x : x + n] = move(inner)
        return stamp + moved, moved


class _Move:
    """
    Moves light from the pixels of a small square to the coarser ones around it.

    The light at a point is divided among six coarse pixels in each direction such that its product with a
    smooth kernel is that of a polynomial through six points of the kernel. The means of the light over the
    coarse pixels, which are there already, are subtracted. The kernel for the coarse pixels has their average
    taken out, which is therefore put in here.
    """

    margin = 5  # coarse pixels around the square that receive light

    def __init__(self, coarse_factor, coarse_radius, factor, radius):
        ratio = factor // coarse_factor
        self.radius = round(radius * coarse_factor - 0.5)
        inside = 2 * self.radius + 1
        self.size = inside + 2 * self.margin
        position = (np.arange(inside * ratio) + 0.5) / ratio - 0.5 + self.margin
        shares = np.zeros((self.size, position.size))
        first = np.floor(position).astype(int) - 2
        for k in range(6):
            others = np.array([m for m in range(6) if m != k])
            weight = np.prod((position[:, None] - first[:, None] - others) / (k - others), axis=1)
            shares[first + k, np.arange(position.size)] = weight
        average = np.zeros((self.size, self.size))
        for shift, weight in zip((-2, -1, 0, 1, 2), _POINT_TO_AVERAGE, strict=True):
            average += np.diag(np.full(self.size - abs(shift), weight), shift)
        self._shares = average @ shares / ratio
        self._means = np.kron(np.eye(inside), np.full(ratio, 1 / ratio))
        self._means = np.pad(self._means, ((self.margin, self.margin), (0, 0)))

    def __call__(self, light):
        """Return the images (k, n, n) on the coarse pixels of images on the fine ones."""
        return self._shares @ light @ self._shares.T - self._means @ light @ self._means.T


def _taper(factor, radius):
    """Return 1 in the inner half of a square of fine pixels, falling smoothly to 0 at its edge."""
    n = round(2 * radius * factor)
    offset = (np.arange(n) - (n - 1) / 2) / factor
    distance = np.hypot(offset, offset[:, None]) / radius
    return np.cos(0.5 * np.pi * np.clip(2 * distance - 1, 0, 1)) ** 2


def _binned_kernel(psf, factor, *, oversampling, includes_pixel):
    """Return the weights from fine pixels to observed ones, an odd number of observed pixels wide."""
    kernel = fine_kernel(psf, factor, oversampling=oversampling, includes_pixel=includes_pixel)
    if not includes_pixel:
        kernel = averaged_over(kernel, factor)
    pad = max(-(-(n - factor) // (2 * factor)) for n in kernel.shape)
    full = factor * (2 * pad + 1)
    return np.pad(kernel, [((full - n) // 2,) * 2 for n in kernel.shape])


def _difference(kernel, coarse, factor):
    """Return a kernel on fine pixels less one on observed pixels, truncated where it is negligible."""
    spread = np.kron(coarse, np.full((factor, factor), factor**-2.0))
    side = max(*kernel.shape, *spread.shape)
    kernel, spread = (np.pad(k, [((side - n) // 2,) * 2 for n in k.shape]) for k in (kernel, spread))
    difference = kernel - spread
    total = np.abs(difference).sum()
    while len(difference) > factor:
        inner = difference[factor:-factor, factor:-factor]
        if total - np.abs(inner).sum() > _NEGLIGIBLE:
            break
        difference = inner
    return difference


class _FromFine:
    """
    Convolution of a square of fine pixels with a kernel on fine pixels, evaluated on the observed ones.

    The square is of ``side`` observed pixels, with nothing around it, and the result is wider by the reach of
    the kernel. As in `~lenssuper.operators.convolution.StridedConvolution`, the fine pixels are split into
    interleaved images, which are convolved by FFT and summed; here the FFT is no longer than the result.
    """

    def __init__(self, kernel, factor, side):
        self._factor, self._n = factor, side + len(kernel) // factor - 1
        self._size = fft.next_fast_len(self._n, real=True)
        # the first fine pixel of an observed one meets the kernel's last
        self._weights = self._transform(interleaved(kernel, factor)[::-1, ::-1])

    def __call__(self, stamp):
        """Return the images (k, n, n) on observed pixels of images on fine ones."""
        spectrum = (self._transform(interleaved(stamp, self._factor)) * self._weights).sum((-4, -3))
        return fft.irfft2(spectrum, s=(self._size, self._size))[..., : self._n, : self._n]

    def _transform(self, images):
        # the rows beyond the images are zero, and need no transform
        return fft.fft(fft.rfft(images, self._size), self._size, axis=-2)
