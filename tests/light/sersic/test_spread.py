"""Covariances of parameters that the data alone leave open."""

from __future__ import annotations

import numpy as np

from lenssuper.light.sersic.spread import confined, prior_widths


def test_is_the_inverse_of_the_sum_of_inverses():
    a = np.random.default_rng(1).standard_normal((6, 4))
    precision = a.T @ a
    widths = np.array([0.3, np.inf, 1.0, np.inf])
    expected = np.linalg.inv(precision + np.diag(widths**-2.0))
    np.testing.assert_allclose(confined(np.linalg.inv(precision), widths), expected, rtol=1e-8)


def test_a_direction_the_data_do_not_measure_is_as_wide_as_the_prior():
    open_one = np.array([[1e7 + 1e-4, -1e7], [-1e7, 1e7 + 1e-4]])  # only the sum is known
    got = confined(open_one, np.array([0.5, np.inf]))
    np.testing.assert_allclose(got[0, 0], 0.25, rtol=1e-2)
    np.testing.assert_allclose(np.ones(2) @ got @ np.ones(2), 2e-4, rtol=0.2)


def test_what_is_held_stays_held():
    got = confined(np.diag([1.0, 0.0, 2.0]), np.array([1.0, 1.0, np.inf]))
    np.testing.assert_allclose(got, np.diag([0.5, 0.0, 2.0]))


def test_widths_are_in_the_order_of_the_parameters():
    widths = prior_widths(np.array([[0, 0, 2.0, 1, 1, 0], [0, 0, 4.0, 1, 1, 0]]), 2)
    assert widths.shape == (14,)
    np.testing.assert_allclose(widths[[0, 6]], [1.0, 2.0])
    assert np.isinf(widths[12:]).all()
