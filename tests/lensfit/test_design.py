"""The matrix from coefficients to data, against the same matrix written out."""

import numpy as np
import pytest

from lenssuper.lensfit.design import DesignMatrix


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((40, 6)).astype(np.float32)
    shapes[rng.permutation(40)[:25]] = 0
    return shapes, rng.standard_normal((40, 3))


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("trailing", [(), (4,)])
def test_products_are_those_of_the_whole_matrix(parts, single, trailing):
    design, whole, rng = DesignMatrix(*parts), np.hstack(parts), np.random.default_rng(1)
    design, rtol = (design.single, 1e-5) if single else (design, 1e-12)
    coefficients, data = rng.standard_normal((9, *trailing)), rng.standard_normal((40, *trailing))
    assert design.shape == whole.shape
    np.testing.assert_allclose(design.data(coefficients), whole @ coefficients, rtol, atol=rtol)
    np.testing.assert_allclose(design.transposed(data), whole.T @ data, rtol, atol=rtol)
    np.testing.assert_allclose(design.gram(parts[1].T @ parts[1]), whole.T @ whole, rtol, atol=10 * rtol)


def test_without_other_images(parts):
    design = DesignMatrix(parts[0], np.zeros((40, 0)))
    whole = parts[0].astype(np.float64)
    np.testing.assert_allclose(design.gram(np.zeros((0, 0))), whole.T @ whole)
    np.testing.assert_allclose(design.data(np.ones(6)), whole.sum(axis=1), atol=1e-12)
