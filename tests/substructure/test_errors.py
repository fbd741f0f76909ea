"""Errors of clumps from evidences that are given."""

from types import SimpleNamespace

import numpy as np
import pytest

from lenssuper.lensfit.fitter import CLUMPY
from lenssuper.substructure.errors import errors


def fit_of(cost, clump, log_evidence=0.0):
    """A fit of one parameter of a lens and a clump of two elements."""
    registration = SimpleNamespace(clumps=SimpleNamespace(n=1, size=2), of_clumps=lambda vector: vector[1:])
    vector = np.array([0.0, *clump])
    covariance = np.array([[1.0, 0.5, 0.0], [0.5, 4.0, 0.0], [0.0, 0.0, 0.25]])
    refined = SimpleNamespace(vector=vector, cost=cost(vector))
    return SimpleNamespace(
        registration=registration,
        refined=refined,
        covariance=covariance,
        cost=cost,
        log_evidence=log_evidence,
    )


def test_a_gaussian_has_the_errors_of_its_curvature():
    precision = np.linalg.inv(fit_of(lambda vector: 0.0, (3.0, 1.0)).covariance)

    def cost(vector):
        away = vector - [0.0, 3.0, 1.0]
        return 7.0 + 0.5 * away @ precision @ away

    found = errors(fit_of(cost, (3.0, 1.0)), 0, [])
    np.testing.assert_allclose(found, [CLUMPY * 2.0, CLUMPY * 0.5])


def test_an_evidence_that_falls_slowly_on_one_side_has_the_mean_square_about_its_maximum():
    widths = 3.0, 1.5  # below and above the maximum

    def cost(vector):
        x, y = vector[1:]
        return 0.5 * (x / widths[int(x > 0)]) ** 2 + 0.5 * (y / 0.5) ** 2

    x = np.linspace(-30, 30, 60001)
    density = np.exp(-0.5 * (x / np.where(x > 0, widths[1], widths[0])) ** 2)
    expected = np.sqrt(np.sum(density * x**2) / np.sum(density))
    found = errors(fit_of(cost, (0.0, 0.0)), 0, [])
    np.testing.assert_allclose(found, [CLUMPY * expected, CLUMPY * 0.5], rtol=1e-4)


def test_a_flat_side_is_not_continued():
    found = errors(fit_of(lambda vector: 0.0, (0.0, 0.0)), 0, [])
    np.testing.assert_allclose(found, [CLUMPY * 6.0, CLUMPY * 1.5])  # three times those of the curvature


def test_another_maximum_counts_by_its_evidence():
    one, other = (
        fit_of(lambda vector: 2.0, clump, ln) for clump, ln in (((0.0, 0.0), 0.0), ((1.0, 0.0), -np.log(3)))
    )
    flat = 9.0 * np.array([4.0, 0.25])
    squares = CLUMPY**2 * (0.75 * flat + 0.25 * np.array([4.0, 0.25])) + [0.25, 0.0]
    assert errors(one, 0, [other]) == pytest.approx(np.sqrt(squares))
