"""Parameters of Sersics and the vector that a fit sees."""

from __future__ import annotations

import numpy as np
import pytest

from lenssuper.light.sersic.components import Components
from lenssuper.light.sersic.profile import sersic_averages

TWO = np.array([[0.1, -0.2, 0.7, 2.5, 0.6, 0.4], [0.3, 0.1, 0.2, 0.8, 0.9, 2.9]])
LATTICE = np.array([[0.1, 0.0], [0.0, 0.1]]), np.array([-0.8, -0.8]), (17, 17)


def components(n=2, **options):
    return Components(n, (0.0, 0.0), 5.0, 0.1, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fixed": [{"n": 2.5}, {"q": 0.9}]},
        {"bounds": [{"phi": (0.0, 1.0)}, {"q": (0.2, 0.95)}]},
        {"fixed": [{"x": 0.1, "y": -0.2, "R_e": 0.7, "n": 2.5, "q": 0.6, "phi": 0.4}, {}]},
    ],
)
def test_what_is_packed_is_unpacked(options):
    c = components(**options)
    np.testing.assert_allclose(c.unpack(c.pack(TWO)), TWO, rtol=1e-12)
    assert len(c.pack(TWO)) == c.n_free == len(c.names())


def test_fixed_values_are_not_free():
    c = components(fixed=[{"n": 4.0}, {"n": 1.0}])
    assert c.n_free == 10
    assert c.unpack(c.pack(TWO))[:, 3].tolist() == pytest.approx([4.0, 1.0])


def test_linked_centres_are_one():
    c = components(link_centers=True)
    assert c.n_free == 10
    moved = c.unpack(c.pack(TWO))
    np.testing.assert_array_equal(moved[0, :2], TWO[0, :2])
    np.testing.assert_array_equal(moved[1, :2], TWO[0, :2])
    np.testing.assert_allclose(moved[1, 2:], TWO[1, 2:])


def test_a_fixed_centre_that_is_linked_is_everybodys():
    c = components(link_centers=True, fixed=[{"x": 0.05}, {"x": 0.05}])
    assert c.n_free == 9
    assert c.unpack(c.pack(TWO))[:, 0].tolist() == [0.05, 0.05]
    assert c.unpack(c.pack(TWO))[:, 1].tolist() == [-0.2, -0.2]


def test_limits_are_the_bounds_that_were_given():
    c = components(1, bounds=[{"n": (0.5, 2.0), "q": (0.3, 0.8), "phi": (-1.0, 1.0), "x": (-0.1, 0.2)}])
    low, high = (dict(zip((name for name, _ in c.names()), v, strict=True)) for v in c.limits())
    assert (low["x"], high["x"]) == (-0.1, 0.2)
    assert np.exp([low["n"], high["n"], low["q"], high["q"]]) == pytest.approx([0.5, 2.0, 0.3, 0.8])
    assert (low["phi"], high["phi"]) == (-1.0, 1.0)


def test_a_start_outside_of_the_bounds_is_brought_inside():
    c = components(1, bounds=[{"n": (0.5, 2.0)}])
    assert 1.99 < c.unpack(c.pack(TWO[:1]))[0, 3] < 2.0


@pytest.mark.parametrize("options", [{}, {"link_centers": True}, {"bounds": [{"q": (0.1, 1)}, {}]}])
def test_jacobian_is_the_derivative(options):
    c = components(**options)
    free = c.pack(TWO)
    jacobian, step = c.jacobian(free), 1e-6
    for k in range(c.n_free):
        high, low = free.copy(), free.copy()
        high[k] += step
        low[k] -= step
        numeric = (c.unpack(high) - c.unpack(low)).ravel() / (2 * step)
        np.testing.assert_allclose(jacobian[:, k], numeric, atol=1e-7)


def test_the_angle_of_a_circle_has_no_derivative():
    c = components(1)
    circle = c.pack(np.array([[0.0, 0.0, 0.5, 1.0, 1.0, 0.3]]))
    assert np.isnan(c.jacobian(circle)[5]).any()
    assert np.isfinite(c.jacobian(circle)[:4]).all()


@pytest.mark.parametrize("q", [1.0, 0.9999, 0.5])
@pytest.mark.parametrize("options", [{}, {"bounds": [{"q": (0.1, 1.0)}]}, {"fixed": [{"q": 0.5}]}])
def test_profiles_and_their_derivatives(q, options):
    c = components(1, **options)
    parameters = np.array([[0.02, -0.03, 0.4, 1.7, q, 0.6]])
    free = c.pack(parameters)
    images, center = c.profile(0, free, True)
    value, *slopes = images(*LATTICE, 1e-9)
    np.testing.assert_allclose(value, sersic_averages(*LATTICE, c.unpack(free)[0], tol=1e-9), rtol=1e-7)
    assert center == pytest.approx((0.02, -0.03))
    assert len(slopes) == c.n_free
    for k, slope in enumerate(slopes):
        step = 1e-4
        sides = [
            c.profile(0, free + s * step * np.eye(c.n_free)[k], False)[0](*LATTICE, 1e-10)[0] for s in (-1, 1)
        ]
        numeric = (sides[1] - sides[0]) / (2 * step)
        scale = max(np.abs(numeric).max(), 1e-3 * value.max())
        assert np.abs(slope - numeric).max() < 2e-4 * scale, c.names()[k]
