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


def blur_of(factor, psf=True):
    """An uneven PSF of 9 x 7 pixels, or none."""
    y, x = np.mgrid[-4:5, -3:4]
    kernel = np.exp(-(y**2) / 2 - x**2) * (1 + np.random.default_rng(0).random((9, 7)))
    return BlurAndBin(kernel if psf else None, factor, SHAPE)


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
@pytest.mark.parametrize("psf", [True, False])
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
