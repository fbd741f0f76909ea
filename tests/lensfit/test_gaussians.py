"""Gaussians behind a lens: their derivatives, written by hand, against finite differences."""

import numpy as np
import pytest

from lenssuper import Observation
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.firstguess import Arcs
from lenssuper.lensfit.gaussians import PER_COMPONENT, Gaussians
from lenssuper.lensfit.parameters import FreeParameters


def central(function, point, step):
    """Derivatives along the first axis."""
    ends = [[function(point + sign * step * e) for sign in (-1, 1)] for e in np.eye(len(point))]
    return np.array([(high - low) / (2 * step) for low, high in ends])


@pytest.mark.parametrize("shape", [(0.3, -0.4), (0.0, 0.0), (2e-5, -3e-5), (0.0, 1.5)])
def test_slopes_of_gaussians(shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 0.3, (2, 5, 6))
    ways = rng.normal(0, 1, (2, 2, 5, 6))
    brightness = np.array([2.0, 0.0, 0.7])

    def light(point):
        moved_x, moved_y = (v + np.tensordot(point[:2], way, 1) for v, way in zip((x, y), ways, strict=True))
        return np.tensordot(brightness, Gaussians.at(moved_x, moved_y, point[2:], 0.04).images, 1)

    component = np.array([0.05, -0.1, np.log(0.2), *shape])
    found = Gaussians.at(x, y, component, 0.04).slopes(brightness, *ways)
    expected = central(light, np.array([0.0, 0.0, *component]), 1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.fixture(scope="module")
def arcs(mock, guess):
    observation = Observation.from_nddata(mock.observation)
    return Arcs(Exposure.of(observation, None), FreeParameters(guess))


def test_slopes_of_what_is_left_of_the_arcs(arcs, guess):
    parameters = FreeParameters(guess)
    vector, n = parameters.start, len(parameters)
    source = np.concatenate([arcs.start(vector), [0.1, 0.05, np.log(0.06), 0.1, 0.2]])
    assert len(source) == 2 * PER_COMPONENT
    steps = 1e-6 * parameters.spread
    seen = arcs._seen(vector, source)
    assert (seen.brightness.reshape(2, 3) > 0).any(axis=1).all()
    found = arcs._slopes(seen, vector + np.diag(steps), steps)

    def misfit(point):
        return arcs._seen(point[:n], point[n:]).misfit

    expected = central(misfit, np.concatenate([vector, source]), 1e-5).T
    size = np.linalg.norm(expected, axis=0)
    # the gradient is that of the cost
    np.testing.assert_allclose(seen.misfit @ found / size, seen.misfit @ expected / size, atol=1e-3)
    # and the rest is what no change of brightness makes up for
    basis, _ = np.linalg.qr(seen.columns)
    expected -= basis @ (basis.T @ expected)
    assert (np.linalg.norm(found - expected, axis=0) < 1e-3 * size).all()
