import numpy as np
import pytest

from lenssuper.solvers.search import maximise

BOX = np.array([-5.0, -5.0]), np.array([5.0, 5.0])
STEPS = np.array([0.3, 0.3])


def counted(function):
    def called(x):
        called.points.append(np.array(x))
        return function(x)

    called.points = []
    return called


@pytest.mark.parametrize("top", [(0.1, -0.2), (1.5, 2.0), (-1.0, 0.3)])
def test_parabola(top):
    """A parabola is known after six values, and its top is the next."""
    bend = np.array([[40.0, 15.0], [15.0, 20.0]])
    function = counted(lambda x: -0.5 * (x - top) @ bend @ (x - top))
    found = maximise(function, np.zeros(2), STEPS, BOX, tol=0.01, most=20)
    assert -function(found) < 0.2
    assert len(function.points) <= 10


def test_curved_ridge():
    """Not a parabola: a ridge that bends, as that of the evidence does."""
    function = counted(lambda x: -300 * (x[1] - 0.5 * x[0] ** 2) ** 2 - 100 * (x[0] - 1.2) ** 2)
    found = maximise(function, np.zeros(2), STEPS, BOX, tol=0.5, most=20)
    assert -function(found) < 5  # of 144 at the start


def test_bounds_hold():
    function = counted(lambda x: x[0] - (x[1] - 0.2) ** 2)
    found = maximise(function, np.zeros(2), STEPS, (np.array([-1, -1]), np.array([1, 1])), tol=0.01, most=15)
    assert found[0] == 1
    assert all((np.abs(point) <= 1).all() for point in function.points)


@pytest.mark.parametrize("most", [3, 4, 7])
def test_number_of_values_is_bounded(most):
    function = counted(lambda x: -np.sum((x - 3) ** 4))
    maximise(function, np.zeros(2), STEPS, BOX, tol=0, most=most)
    assert len(function.points) <= most


def test_returns_the_best_point_tried():
    function = counted(lambda x: np.sin(5 * x[0]) - np.cos(3 * x[1]))
    found = maximise(function, np.zeros(2), STEPS, BOX, tol=0.01, most=12)
    values = [function(point) for point in list(function.points)]
    assert function(found) == max(values)
