"""Series in the multiples of an angle."""

import numpy as np
import pytest
import torch
from array_api_compat import numpy as numpy_namespace
from array_api_compat import torch as torch_namespace

from lenssuper.lens.series import circular_series


@pytest.mark.parametrize("terms", [1, 2, 3, 20])
@pytest.mark.parametrize("shape", [(), (1,), (9, 13)])
def test_sums_are_those_of_the_terms(terms, shape):
    rng = np.random.default_rng(terms)
    coefficients = rng.standard_normal(terms).tolist()
    angle = np.asarray(rng.uniform(-np.pi, np.pi, shape))
    cos, sin = np.cos(angle), np.sin(angle)
    expected = [sum(c * f(n * angle) for n, c in enumerate(coefficients)) for f in (np.cos, np.sin)]
    found = circular_series(numpy_namespace, np.asarray(cos), np.asarray(sin), coefficients)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    tensors = (torch.as_tensor(each) for each in (cos, sin))
    found = circular_series(torch_namespace, *tensors, coefficients)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_coefficients_may_differ_between_angles():
    coefficients = [np.array([1.0, 2.0]), np.array([0.5, -0.25])]
    found = circular_series(numpy_namespace, np.array([0.0, 1.0]), np.array([1.0, 0.0]), coefficients)
    np.testing.assert_allclose(found, [[1.0, 1.75], [0.5, 0.0]])
