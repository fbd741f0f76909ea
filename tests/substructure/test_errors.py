"""Errors of clumps from evidences that are given."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize

from lenssuper.lensfit.fitter import CLUMPY
from lenssuper.substructure.errors import errors

COVARIANCE = np.array([[1.0, 0.5, 0.0], [0.5, 4.0, 0.0], [0.0, 0.0, 0.25]])


def hessian(cost, vector, step=1e-4):
    """Second derivatives of a cost."""
    ends, signs = step * np.eye(len(vector)), [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    rows = [[sum(s * t * cost(vector + s * a + t * b) for s, t in signs) for b in ends] for a in ends]
    return np.array(rows) / (4 * step**2)


def fit_of(cost, clump, log_evidence=0.0, covariance=COVARIANCE, information=None):
    """A fit of one parameter of a lens and a clump of two elements; ``information`` is that of a vector."""
    constant = np.linalg.inv(covariance)
    information = information or (lambda vector: constant)

    def refined(vector):
        return SimpleNamespace(vector=vector, cost=cost(vector), information=information(vector))

    def climbed(vector, held=()):
        free, end = np.delete(np.arange(len(vector)), held), vector.copy()

        def of_free(values):
            end[free] = values
            return cost(end)

        end[free] = minimize(
            of_free, vector[free], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
        ).x
        return SimpleNamespace(refined=refined(end))

    registration = SimpleNamespace(clumps=SimpleNamespace(n=1, size=2), of_clumps=lambda vector: vector[1:])
    return SimpleNamespace(
        registration=registration,
        refined=refined(np.array([0.0, *clump])),
        covariance=covariance,
        climbed=climbed,
        log_evidence=log_evidence,
    )


def test_a_gaussian_has_the_errors_of_its_curvature():
    precision = np.linalg.inv(COVARIANCE)

    def cost(vector):
        away = vector - [0.0, 3.0, 1.0]
        return 7.0 + 0.5 * away @ precision @ away

    found = errors(fit_of(cost, (3.0, 1.0)), 0, [])
    np.testing.assert_allclose(found, [CLUMPY * 2.0, CLUMPY * 0.5], rtol=1e-6)


def test_a_lens_that_changes_along_a_curve_makes_no_clump_more_certain():
    # x is of variance 1, and the lens follows it along a parabola: on a straight line through the maximum the
    # evidence falls faster, by 0.5 (2^2 / 0.1)^2 = 800 in place of 2
    def cost(vector):
        lens, x, log_mass = vector
        return 0.5 * x**2 + 0.5 * ((lens - x**2) / 0.1) ** 2 + 0.5 * log_mass**2

    covariance = np.diag([0.01, 1.0, 1.0])
    found = errors(fit_of(cost, (0.0, 0.0), covariance=covariance), 0, [])
    np.testing.assert_allclose(found, CLUMPY, rtol=1e-4)


def test_the_other_parameters_are_integrated_over():
    # the lens has a width that grows with x: the largest probability of a lens with each x is a Gaussian
    # about 0, the integral over the lens one about 1/4
    def cost(vector):
        lens, x, log_mass = vector
        return 0.5 * x**2 + 0.5 * lens**2 * np.exp(-x / 2) + 0.5 * log_mass**2

    def information(vector):
        return hessian(cost, vector)

    fitted = fit_of(cost, (0.0, 0.0), covariance=np.eye(3), information=information)
    lens = np.linspace(-40, 40, 8001)
    density = [np.exp(-0.5 * x**2) * np.sum(np.exp(-0.5 * lens**2 * np.exp(-x / 2))) for x in (-2, 0, 2)]
    falls = -np.log(np.array(density[::2]) / density[1])
    assert falls == pytest.approx([2.5, 1.5])
    low, high = 2 / np.sqrt(2 * falls)
    expected = CLUMPY * np.sqrt(low**2 - low * high + high**2)
    assert errors(fitted, 0, [])[0] == pytest.approx(expected, rel=1e-3)


def test_an_evidence_that_falls_slowly_on_one_side_has_the_mean_square_about_its_maximum():
    widths = 4.0, 1.5  # below and above the maximum; two by the curvature

    def cost(vector):
        x, y = vector[1:]
        return 0.5 * vector[0] ** 2 + 0.5 * (x / widths[int(x > 0)]) ** 2 + 0.5 * (y / 0.5) ** 2

    x = np.linspace(-40, 40, 80001)
    density = np.exp(-0.5 * (x / np.where(x > 0, widths[1], widths[0])) ** 2)
    expected = np.sqrt(np.sum(density * x**2) / np.sum(density))
    found = errors(fit_of(cost, (0.0, 0.0)), 0, [])
    np.testing.assert_allclose(found, [CLUMPY * expected, CLUMPY * 0.5], rtol=1e-4)


def test_a_flat_middle_is_looked_at_from_farther_away():
    # the evidence does not fall before 2.5 errors of the curvature, and then steeply
    def cost(vector):
        x, y = vector[1:]
        return 0.5 * vector[0] ** 2 + 2 * max(abs(x) / 2 - 2.5, 0.0) ** 2 + 0.5 * (y / 0.5) ** 2

    found = errors(fit_of(cost, (0.0, 0.0)), 0, [])
    # at 6 errors it has fallen by 24.5
    assert found[0] == pytest.approx(CLUMPY * 2 * 6 / np.sqrt(2 * 24.5), rel=1e-4)


def test_a_flat_side_is_not_continued():
    found = errors(fit_of(lambda vector: 0.0, (0.0, 0.0)), 0, [])
    np.testing.assert_allclose(found, [CLUMPY * 6.0, CLUMPY * 1.5])  # three times those of the curvature


def test_another_maximum_counts_by_its_evidence():
    # a quarter of the posterior, with the logarithms of evidence that errors 1.2 times larger leave
    one, other = (
        fit_of(lambda vector: 2.0, clump, ln * CLUMPY**2)
        for clump, ln in (((0.0, 0.0), 0.0), ((1.0, 0.0), -np.log(3)))
    )
    flat = 9.0 * np.array([4.0, 0.25])
    squares = CLUMPY**2 * (0.75 * flat + 0.25 * np.array([4.0, 0.25])) + [0.25, 0.0]
    assert errors(one, 0, [other]) == pytest.approx(np.sqrt(squares))


def test_a_climb_leaves_what_is_held_and_finds_the_other_parameters(fitted):
    best, n = fitted.refined, len(fitted.refined.vector)
    spread = np.sqrt(np.diag(fitted.covariance))
    far = best.vector + np.eye(n)[0] * 3 * spread[0]
    ridge = fitted.climbed(far, [0])
    assert ridge.refined.vector[0] == far[0]
    assert np.all(ridge.refined.vector[1:] != far[1:])
    # the least cost of a lens with this element: it has risen by 3^2 / 2 as that of a Gaussian, by far less
    # than with the other parameters as they were, and a free lens goes back
    alone = 4.5 * spread[0] ** 2 * best.information[0, 0]
    assert 2 < ridge.refined.cost - best.cost < min(8, 0.7 * alone)
    back = fitted.climbed(ridge.refined.vector).refined
    assert back.cost == pytest.approx(best.cost, abs=0.5)
    moved = back.vector - best.vector
    assert moved @ best.information @ moved < n
