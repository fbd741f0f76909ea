"""The PSF on a finer grid, against exact integrals of Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve1d
from scipy.signal import fftconvolve
from scipy.special import erf, j1

from lenssuper.exceptions import LensSuperWarning
from lenssuper.operators import Binning, BlurAndBin, PSFConvolution, Sampling, fine_kernel

# Gaussians (flux, x, y, sigma_x, sigma_y) in observed pixels. The PSF is lopsided, so that a mirrored or a
# shifted one is found out; its narrow part has a FWHM of 2 pixels.
PSF = [(0.7, 0.1, -0.05, 0.85, 0.85), (0.3, 0.6, 0.4, 1.3, 1.1)]
SCENE = [(5.0, 7.3, 9.1, 1.2, 1.0), (3.0, 11.6, 6.4, 0.9, 1.5), (20.0, 9.0, 12.25, 3.0, 2.5)]
SHAPE = (20, 18)


def mean_over_pixels(centre, mean, sigma, width):
    """Mean of a normalised Gaussian over pixels of some width, along one axis."""
    edges = (np.asarray(centre)[:, None] + width * np.array([-0.5, 0.5]) - mean) / (np.sqrt(2) * sigma)
    return np.diff(erf(edges), axis=1)[:, 0] / (2 * width)


def density(centre, mean, sigma):
    return np.exp(-((np.asarray(centre) - mean) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)


def image_of(gaussians, y, x, along):
    """Sum of Gaussians, each the outer product of what ``along(positions, mean, sigma)`` gives."""
    return sum(f * np.outer(along(y, my, sy), along(x, mx, sx)) for f, mx, my, sx, sy in gaussians)


def sampled_psf(oversampling, includes_pixel, half_width=12):
    n = half_width * oversampling
    at = np.arange(-n, n + 1) / oversampling
    if includes_pixel:
        return image_of(PSF, at, at, lambda c, m, s: mean_over_pixels(c, m, s, 1))
    return image_of(PSF, at, at, density)


def fine_scene(op):
    """Exact means of the scene over the fine pixels that an operator takes."""
    k = op.factor
    y, x = ((np.arange(n) + 0.5) / k - 0.5 - op.pad for n in op.in_shape)
    return image_of(SCENE, y, x, lambda c, m, s: mean_over_pixels(c, m, s, 1 / k))


def observed_scene():
    """Exact means of the blurred scene over the observed pixels."""
    blurred = [
        (f * g, x + dx, y + dy, np.hypot(sx, tx), np.hypot(sy, ty))
        for f, x, y, sx, sy in SCENE
        for g, dx, dy, tx, ty in PSF
    ]
    y, x = (np.arange(n) for n in SHAPE)
    return image_of(blurred, y, x, lambda c, m, s: mean_over_pixels(c, m, s, 1))


@pytest.mark.parametrize("includes_pixel", [True, False], ids=["effective", "optical"])
@pytest.mark.parametrize(
    ("factor", "oversampling", "tolerance"),
    [
        (1, 1, 1e-3),
        (2, 1, 3e-4),
        (3, 1, 3e-4),
        (4, 1, 3e-4),
        (1, 3, 2e-3),
        (2, 3, 3e-5),
        (3, 3, 3e-6),
        (4, 3, 1e-6),
        (2, 4, 3e-5),
        (3, 4, 3e-6),
    ],
)
def test_against_exact_integrals(factor, oversampling, tolerance, includes_pixel):
    psf = sampled_psf(oversampling, includes_pixel)
    op = BlurAndBin(psf, factor, SHAPE, oversampling=oversampling, includes_pixel=includes_pixel)
    expected = observed_scene()
    error = np.abs(op @ fine_scene(op) - expected).max() / expected.max()
    assert error < tolerance


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("includes_pixel", [True, False])
@pytest.mark.parametrize(("oversampling", "tolerance"), [(1, 3e-3), (2, 1e-3)])
def test_diffraction_pattern(factor, includes_pixel, oversampling, tolerance):
    # The truth is a brute-force sum, everything on a grid of 24 points per observed pixel.
    points, half_width, n = 24, 14, 12
    at = np.arange(-half_width * points, half_width * points + 1) / points
    radius = 1.5 * np.hypot(at, at[:, None]) + 1e-12
    optical = (2 * j1(radius) / radius) ** 2  # FWHM of 2.2 pixels
    sky_at = (np.arange((n + 2 * half_width) * points) + 0.5) / points - 0.5 - half_width
    sky = np.exp(-((sky_at - 5.2) ** 2 + (sky_at[:, None] - 6.1) ** 2) / 2)
    blurred = fftconvolve(sky, optical / optical.sum(), mode="valid")
    expected = block_mean(blurred, points)

    psf = optical
    if includes_pixel:  # the average over a pixel of 24 points and two half ones
        box = np.r_[0.5, np.ones(points - 1), 0.5] / points
        psf = convolve1d(convolve1d(psf, box, axis=0), box, axis=1)
    psf = psf[:: points // oversampling, :: points // oversampling]
    op = BlurAndBin(psf, factor, (n, n), oversampling=oversampling, includes_pixel=includes_pixel)
    fine = np.pad(block_mean(sky, points // factor), factor)
    cut = (len(fine) - op.in_shape[0]) // 2
    fine = fine[cut : len(fine) - cut, cut : len(fine) - cut]
    assert np.abs(op @ fine - expected).max() < tolerance * expected.max()


def block_mean(image, k):
    ny, nx = (n // k for n in image.shape)
    return image[: ny * k, : nx * k].reshape(ny, k, nx, k).mean((1, 3))


@pytest.mark.parametrize("includes_pixel", [True, False])
@pytest.mark.parametrize(("factor", "oversampling"), [(1, 1), (2, 1), (3, 1), (4, 1), (2, 5), (3, 2)])
class TestWhatIsConserved:
    def operator(self, factor, oversampling, includes_pixel, shape=(31, 31)):
        psf = sampled_psf(oversampling, includes_pixel)
        return BlurAndBin(psf, factor, shape, oversampling=oversampling, includes_pixel=includes_pixel)

    def test_a_constant_stays_one(self, factor, oversampling, includes_pixel):
        op = self.operator(factor, oversampling, includes_pixel, (5, 6))
        np.testing.assert_allclose(op @ np.ones(op.in_shape), 1, rtol=1e-13)

    def test_flux_wherever_in_the_pixel_it_comes_from(self, factor, oversampling, includes_pixel):
        op = self.operator(factor, oversampling, includes_pixel)
        edge = 2 * op.pad * factor
        collected = op.adjoint(np.ones(op.out_shape))[edge:-edge, edge:-edge]
        np.testing.assert_allclose(collected * factor**2, 1, rtol=1e-5)

    def test_positions(self, factor, oversampling, includes_pixel):
        op = self.operator(factor, oversampling, includes_pixel)
        centroid = [sum(g[0] * g[i] for g in PSF) for i in (1, 2)]
        first = (op.pad + 15) * factor  # of the block that belongs to observed pixel (15, 15)
        for a in range(factor):
            x = np.zeros(op.in_shape)
            x[first, first + a] = 1
            y = op @ x
            rows, columns = np.indices(y.shape)
            offset = [(a + 0.5) / factor - 0.5, 0.5 / factor - 0.5]
            assert abs((y * columns).sum() / y.sum() - 15 - offset[0] - centroid[0]) < 5e-6
            assert abs((y * rows).sum() / y.sum() - 15 - offset[1] - centroid[1]) < 5e-6


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("oversampling", [1, 3, 4])
@pytest.mark.parametrize("includes_pixel", [True, False])
def test_a_symmetric_psf_does_not_shift(factor, oversampling, includes_pixel):
    at = np.arange(-12 * oversampling, 12 * oversampling + 1) / oversampling
    psf = np.exp(-(at**2 + at[:, None] ** 2) / 2.2)
    kernel = fine_kernel(psf, factor, oversampling=oversampling, includes_pixel=includes_pixel)
    assert kernel.shape[0] % 2 == (factor % 2 if includes_pixel else 1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], rtol=0, atol=1e-16)
    op = BlurAndBin(psf, factor, (31, 31), oversampling=oversampling, includes_pixel=includes_pixel)
    columns = np.arange(31) - 15
    for a in range(factor):
        x = np.zeros(op.in_shape)
        x[:, (op.pad + 15) * factor + a] = 1
        profile = (op @ x)[15] / (op @ x)[15].sum()
        assert abs(profile @ columns - ((a + 0.5) / factor - 0.5)) < 1e-6


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_fine_pixel_is_not_counted_twice(factor):
    # Blurring with the effective PSF and averaging over a fine pixel add variances; the kernel has the former
    # without the latter.
    psf = sampled_psf(1, includes_pixel=True)
    kernel = fine_kernel(psf, factor)

    def variance(image, spacing):
        at = (np.arange(len(image)) - (len(image) - 1) / 2) * spacing
        profile = image.sum(axis=0) / image.sum()
        return profile @ at**2 - (profile @ at) ** 2

    expected = variance(psf, 1) - 1 / (12 * factor**2)
    assert variance(kernel, 1 / factor) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_samples_at_fine_pixels_are_used_as_they_are(factor):
    psf = sampled_psf(factor, includes_pixel=False)
    kernel = fine_kernel(psf, factor, oversampling=factor, includes_pixel=False)
    np.testing.assert_allclose(kernel, psf / psf.sum(), rtol=0, atol=1e-15)


def test_narrow_psf_keeps_its_place_on_coarse_pixels():
    at = np.arange(-10, 11) / 10
    psf = np.exp(-((at - 0.3) ** 2 + (at[:, None] + 0.2) ** 2) / (2 * 0.1**2))
    kernel = fine_kernel(np.pad(psf, 100), 1, oversampling=10, includes_pixel=False)
    offset = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum(axis=0) @ offset == pytest.approx(0.3, abs=2e-3)
    assert kernel.sum(axis=1) @ offset == pytest.approx(-0.2, abs=2e-3)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("includes_pixel", [True, False])
@pytest.mark.parametrize("psf", [None, [[5]], np.pad([[2.0]], 3)], ids=["none", "1x1", "single"])
def test_no_blur_is_binning(psf, includes_pixel, factor):
    op = BlurAndBin(psf, factor, (4, 5), includes_pixel=includes_pixel, oversampling=2)
    assert op.pad == 0
    x = np.random.default_rng(3).normal(size=op.in_shape)
    np.testing.assert_allclose(op @ x, Binning(op.in_shape, factor) @ x, rtol=0, atol=1e-15)


@pytest.mark.parametrize("factor", [2, 3])
def test_effective_is_a_convolution_sampled_at_pixel_centres(factor):
    psf = sampled_psf(1, includes_pixel=True)
    op = BlurAndBin(psf, factor, (6, 7))
    side = op.kernel.shape[0]
    blur = PSFConvolution(op.kernel, [n - side + 1 for n in op.in_shape])
    x = np.random.default_rng(4).normal(size=op.in_shape)
    np.testing.assert_allclose(op @ x, Sampling(blur.out_shape, factor) @ blur @ x, rtol=0, atol=1e-14)
    used = op.kernel[np.ix_(*(op.kernel.any(axis=i) for i in (1, 0)))]
    np.testing.assert_array_equal(used, fine_kernel(psf, factor))


@pytest.mark.parametrize("factor", [2, 3])
def test_optical_is_a_convolution_and_binning(factor):
    psf = sampled_psf(2, includes_pixel=False)
    op = BlurAndBin(psf, factor, (6, 7), oversampling=2, includes_pixel=False)
    kernel = fine_kernel(psf, factor, oversampling=2, includes_pixel=False)
    blur = PSFConvolution(kernel, (6 * factor, 7 * factor))
    x = np.random.default_rng(5).normal(size=op.in_shape)
    cut = [(n - m) // 2 for n, m in zip(op.in_shape, blur.in_shape, strict=True)]
    expected = (
        Binning(blur.out_shape, factor) @ blur @ x[cut[0] :, cut[1] :][: blur.in_shape[0], : blur.in_shape[1]]
    )
    np.testing.assert_allclose(op @ x, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_matrix_is_the_operator(factor):
    # a PSF larger than the image, and not square
    op = BlurAndBin(sampled_psf(1, includes_pixel=True)[:, 2:-2], factor, (5, 7))
    matrix = op.as_sparse()
    x = np.random.default_rng(6).normal(size=op.in_shape)
    assert matrix.shape == op.shape
    np.testing.assert_allclose((matrix @ x.ravel()).reshape(op.out_shape), op @ x, rtol=0, atol=1e-13)
    assert matrix.has_canonical_format
    assert matrix.nnz <= 35 * np.count_nonzero(op.kernel)


@pytest.mark.parametrize("kernel_shape", [(1, 1), (3, 3), (4, 7), (30, 31)])
def test_convolution_is_linear_convolution(kernel_shape):
    rng = np.random.default_rng(7)
    kernel = rng.normal(size=kernel_shape)
    op = PSFConvolution(kernel, (12, 15))
    x = rng.normal(size=op.in_shape)
    np.testing.assert_allclose(op @ x, fftconvolve(x, kernel, mode="valid"), rtol=0, atol=1e-12)
    np.testing.assert_allclose((op.as_sparse() @ x.ravel()).reshape(12, 15), op @ x, rtol=0, atol=1e-12)
    y = rng.normal(size=op.out_shape)
    np.testing.assert_allclose(op.adjoint(y), fftconvolve(y, kernel[::-1, ::-1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, -1])
def test_nothing_wraps_round(side):
    op = BlurAndBin(sampled_psf(1, includes_pixel=True, half_width=4), 2, SHAPE)
    x = np.zeros(op.in_shape)
    x[::side][2 * op.pad - 1] = 1  # the last row of the padding before the first observed pixel
    y = (op @ x)[::side]
    assert y[0].min() > 0.1
    assert np.abs(y[op.pad :]).max() < 1e-15
    x[:] = 0
    x[::side][0] = 1e6
    assert np.abs((op @ x)[::side][1:]).max() < 1e-9
    y = np.zeros(op.out_shape)
    y[::side][0] = 1
    assert np.abs(op.adjoint(y)[::side][2 * (2 * op.pad + 1) :]).max() < 1e-15


def test_scale_of_the_psf_does_not_matter():
    psf = sampled_psf(1, includes_pixel=True)
    before = psf.copy()
    np.testing.assert_allclose(fine_kernel(17 * psf, 2), fine_kernel(psf, 2), rtol=0, atol=1e-16)
    np.testing.assert_array_equal(psf, before)


def test_kernel_cannot_be_changed_from_outside():
    kernel = np.full((3, 3), 1 / 9)
    op = PSFConvolution(kernel, (4, 4))
    x = np.random.default_rng(8).normal(size=op.in_shape)
    expected = op @ x
    kernel[:] = 0
    op.kernel[:] = 0
    np.testing.assert_array_equal(op @ x, expected)
    np.testing.assert_allclose(op @ x.astype(np.float32), expected, rtol=1e-5)


def test_wings_cut_off():
    at = np.arange(-2, 3)
    with pytest.warns(LensSuperWarning, match=r"outermost samples of the PSF hold \d+% of its flux"):
        fine_kernel(np.exp(-(at**2 + at[:, None] ** 2) / 8), 2)


@pytest.mark.parametrize(
    ("psf", "error", "message"),
    [
        (np.ones((4, 5)), ValueError, r"psf must have odd sides.*\(4, 5\)"),
        (np.ones(5), ValueError, r"psf must be a two-dimensional array.*\(5,\)"),
        (np.zeros((0, 3)), ValueError, "psf must be a two-dimensional array"),
        (np.zeros((5, 5)), ValueError, "psf must have a positive sum; got 0"),
        (-np.ones((5, 5)), ValueError, "psf must have a positive sum; got -25"),
        (np.full((3, 3), np.nan), ValueError, "psf must be finite; got 9 values"),
        (np.ones((3, 3), complex), TypeError, "psf must be an array of real numbers; got dtype complex128"),
        ("gaussian", TypeError, "psf must be an array of real numbers"),
        (np.ma.ones((3, 3)), TypeError, "psf must be an array without a unit or a mask; got MaskedArray"),
    ],
)
def test_unusable_psf(psf, error, message):
    with pytest.raises(error, match=message):
        BlurAndBin(psf, 2, SHAPE)


@pytest.mark.parametrize("name", ["factor", "oversampling"])
def test_whole_numbers(name):
    arguments = {"factor": 2, "oversampling": 1}
    with pytest.raises(TypeError, match=f"{name} must be an integer; got 1.5"):
        fine_kernel(None, **(arguments | {name: 1.5}))
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        fine_kernel(None, **(arguments | {name: 0}))
