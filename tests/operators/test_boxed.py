"""Images that are dark outside of a box are blurred as any others, at less cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from lenssuper.operators import BlurAndBin, SparseOperator
from lenssuper.operators.boxed import BoxedConvolution, product_in_box

SHAPE = (21, 26)
# first and last but one row and column: in the middle, at an edge of the padded image, in two corners, all
BOXES = [((9, 13), (12, 19)), ((0, 5), (7, 12)), ((0, 2), (0, 3)), ((20, 27), (25, 32)), ((0, 27), (0, 32))]


PSFS = [(9, 7), (45, 63), None]  # smaller than the image, larger than all of it, or none


def blur_of(factor, shape=(9, 7)):
    """An uneven PSF, or none."""
    if shape is None:
        return BlurAndBin(None, factor, SHAPE)
    y, x = (np.arange(n) - n // 2 for n in shape)
    kernel = np.exp(-(y[:, None] ** 2) / 2 - x**2) + 1e-7
    return BlurAndBin(kernel * (1 + np.random.default_rng(0).random(shape)), factor, SHAPE)


def boxed_of(blur, box):
    """The boxed convolution, and the function that puts its images into whole ones."""
    ny, nx = (n // blur.factor for n in blur.in_shape)
    rows, columns = ((min(a, n - 1), min(b, n)) for (a, b), n in zip(box, (ny, nx), strict=True))
    boxed = BoxedConvolution(blur, rows, columns)
    inside = tuple(slice(blur.factor * a, blur.factor * b) for a, b in (rows, columns))

    def whole(images):
        made = np.zeros((*images.shape[:-2], *blur.in_shape), images.dtype)
        made[..., *inside] = images
        return made

    return boxed, inside, whole


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("psf", PSFS)
def test_as_the_whole_image(box, factor, psf):
    blur = blur_of(factor, psf)
    boxed, inside, whole = boxed_of(blur, box)
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, *boxed.in_shape))
    expected = (blur.as_sparse() @ whole(images).reshape(2, -1).T).T.reshape(2, *SHAPE)
    np.testing.assert_allclose(boxed.forward(images), expected, atol=1e-12)
    data = rng.normal(size=(2, *SHAPE))
    np.testing.assert_allclose(boxed.adjoint(data), blur.adjoint(data)[..., *inside], atol=1e-12)
    assert boxed.forward(images.astype(np.float32)).dtype == np.float32
    assert boxed.adjoint(data.astype(np.float32)).dtype == np.float32


def test_a_kernel_is_cut_to_what_is_used():
    """A PSF far larger than the box and the image does not make the FFT longer."""
    blur = blur_of(2, (45, 63))
    boxed, _, _ = boxed_of(blur, ((23, 29), (30, 36)))
    assert max(boxed._size) < 6 + 26 + 8 < min(blur._size)
    assert (boxed._kernel.shape[0] // 2, boxed._kernel.shape[1] // 2) == (6 + 21 - 1, 6 + 26 - 1)


def test_tensors_and_gradients():
    blur = blur_of(2)
    boxed, _, whole = boxed_of(blur, BOXES[0])
    images = torch.rand(2, *boxed.in_shape, dtype=torch.float64, requires_grad=True)
    found = boxed.forward(images)
    np.testing.assert_allclose(found.detach(), blur.forward(whole(images.detach().numpy())), atol=1e-12)
    weights = torch.rand(2, *SHAPE, dtype=torch.float64)
    (weights * found).sum().backward()
    np.testing.assert_allclose(images.grad, boxed.adjoint(weights.numpy()), atol=1e-12)


def lensing_onto(blur, rows, columns):
    """A random matrix whose output is bright in some rows and columns of the fine image alone."""
    bright = np.zeros(blur.in_shape)
    bright[rows, columns] = 1
    matrix = sparse.random_array((bright.size, 30), density=0.2, rng=np.random.default_rng(2))
    matrix = sparse.csr_array(matrix * bright.reshape(-1, 1))
    matrix.eliminate_zeros()
    return SparseOperator(matrix, (5, 6), blur.in_shape)


def test_product():
    blur = blur_of(2)
    lensing = lensing_onto(blur, slice(15, 24), slice(21, 30))
    small, whole = product_in_box(blur, lensing), blur @ lensing
    assert (small.in_shape, small.out_shape) == (whole.in_shape, whole.out_shape)
    rng = np.random.default_rng(3)
    source, data = rng.normal(size=(3, 5, 6)), rng.normal(size=(3, *SHAPE))
    np.testing.assert_allclose(small.forward(source), whole.forward(source), atol=1e-12)
    np.testing.assert_allclose(small.adjoint(data), whole.adjoint(data), atol=1e-12)


def test_only_where_it_saves_much():
    blur = blur_of(2)
    assert product_in_box(blur, lensing_onto(blur, slice(None), slice(None))) is None
    assert product_in_box(blur, lensing_onto(blur, slice(0, 0), slice(0, 0))) is None
    assert product_in_box(blur, lensing_onto(blur, slice(20, 22), slice(30, 32))) is not None
