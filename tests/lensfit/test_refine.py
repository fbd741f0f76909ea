"""Steps towards the lens of the largest evidence."""

from types import SimpleNamespace

import numpy as np
import pytest

from lenssuper.lensfit import refine
from lenssuper.lensfit.refine import _corrected


@pytest.fixture
def quadratic():
    """A curvature, and one that is wrong in a direction."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    true = root @ root.T + np.eye(5)
    return true, true + 3 * np.outer(root[0], root[0])


def path_along(curvature, steps):
    points = np.cumsum([np.zeros(len(curvature)), *steps], axis=0)
    return [(point, curvature @ point) for point in points]


def test_nothing_is_corrected_before_the_first_step(quadratic):
    true, wrong = quadratic
    np.testing.assert_array_equal(_corrected(wrong, path_along(true, [])), wrong)


def test_a_step_is_as_the_slopes_say(quadratic):
    true, wrong = quadratic
    steps = np.random.default_rng(1).standard_normal((2, 5))
    found = _corrected(wrong, path_along(true, steps))
    np.testing.assert_allclose(found @ steps[-1], true @ steps[-1])
    np.testing.assert_allclose(found, found.T)
    assert np.linalg.eigvalsh(found).min() > 0


def test_conjugate_steps_show_all_of_the_curvature(quadratic):
    true, wrong = quadratic
    _, directions = np.linalg.eigh(true)
    np.testing.assert_allclose(_corrected(wrong, path_along(true, directions.T)), true)


def test_slopes_that_fall_are_not_believed(quadratic):
    true, wrong = quadratic
    path = path_along(-true, [np.ones(5)])
    np.testing.assert_array_equal(_corrected(wrong, path), wrong)


def test_no_step_is_longer_than_ten_spreads(monkeypatch):
    spread, tried = np.array([0.1, 1.0]), []
    registration = SimpleNamespace(spread=spread, inside=lambda vector: vector)
    source = SimpleNamespace(
        registration=registration, lenses=lambda vector: (), gathering=lambda lenses: 0.1
    )
    inversion = SimpleNamespace(plane=SimpleNamespace(source=source), bare=lambda: None)
    monkeypatch.setattr(refine, "_slopes", lambda *_: (np.array([1e4, -1.0]), np.diag([1.0, 1.0])))
    monkeypatch.setattr(refine, "_total", lambda *_: 0.0)
    monkeypatch.setattr(refine, "_inverted", lambda given, vector: tried.append(vector) or given)
    refine._climb(np.zeros(2), [inversion], 0)
    np.testing.assert_allclose(tried[0][0], -10 * spread[0])
    # in the same direction
    assert tried[0][1] == pytest.approx(1e-4, rel=1e-2)
