import pickle

import numpy as np
import pytest

from lenssuper.solvers.curvature import Curvature

SHAPE = (6, 7)


@pytest.fixture(scope="module")
def dense():
    """Return J, of singular values from 1500 down to far below one, and the matrix 1 + J J'."""
    rng = np.random.default_rng(1)
    left = np.linalg.qr(rng.normal(size=(42, 42)))[0]
    right = np.linalg.qr(rng.normal(size=(60, 42)))[0]
    j = (left * np.geomspace(1500, 1e-3, 42)) @ right.T
    return j, np.eye(42) + j @ j.T


def maps(j):
    def forward(x):
        return (x.reshape(len(x), -1) @ j.T.astype(x.dtype)).reshape(len(x), *SHAPE)

    def adjoint(y):
        return (y.reshape(len(y), -1) @ j.astype(y.dtype)).reshape(len(y), 6, 10)

    return forward, adjoint


def start(n=4):
    return np.random.default_rng(2).normal(size=(n, *SHAPE)).astype(np.float32)


def white(n=4):
    return np.random.default_rng(3).normal(size=(n, 6, 10)).astype(np.float32)


def errors(j, found, right):
    """Return the squared error of each solution in units of the posterior's variance."""
    h = np.eye(60) + j.T @ j
    exact = np.linalg.solve(h, right.reshape(len(right), -1).T.astype(float)).T
    away = found.reshape(len(found), -1) - exact
    return np.einsum("ij,jk,ik->i", away, h, away)


@pytest.mark.parametrize("steps", [5, 7, 10])
def test_solution(dense, steps):
    """In single precision, although the eigenvalues of H differ by two millions."""
    j, _ = dense
    curvature = Curvature(*maps(j), start(), steps)
    # as they are for draws: noise seen from the source, and white noise
    noise = np.random.default_rng(4).normal(size=(4, 42))
    right = (white() + (noise @ j).reshape(4, 6, 10)).astype(np.float32)
    found, taken = curvature.solve(right, least=1e-4, steps=300)
    assert taken < 300
    assert (errors(j, found, right) < 2e-4).all()


def test_preconditioner_saves_steps(dense):
    j, _ = dense
    plain, good = (
        Curvature(*maps(j), *begin).solve(white(1), least=1e-3, steps=500)[1] for begin in ((), (start(), 8))
    )
    assert good < 10 < 50 < plain


@pytest.mark.parametrize("steps", [0, 3])
def test_goes_downhill_wherever_it_ends(dense, steps):
    """With a preconditioner of another map, x'Hx / 2 - b'x falls with each step."""
    j, _ = dense
    h = np.eye(60) + j.T @ j
    other = Curvature(*maps(j * np.linspace(0.3, 3, 60)), *((start(), steps) if steps else ()))
    curvature, right = other.at(*maps(j.astype(float))), white(1).astype(float)
    energies = [0.0]
    for taken in range(1, 15):
        x = curvature.solve(right, steps=taken)[0].ravel()
        energies.append(0.5 * x @ h @ x - right.ravel() @ x)
    assert (np.diff(energies) < 0).all()


def test_ends_at_a_share_of_the_first_error(dense):
    j, _ = dense
    curvature = Curvature(*maps(j), start(), 10)
    right = white(2) * np.array([1, 100], dtype=np.float32)[:, None, None]
    rough, few = curvature.solve(right, share=0.01, steps=100)
    fine, many = curvature.solve(right, share=1e-8, steps=100)
    assert few < many
    begin = errors(j, np.zeros_like(right), right)
    assert (errors(j, rough, right) < 0.02 * begin).all()
    assert (errors(j, fine, right) < 1e-7 * begin).all()


def test_each_right_side_ends_for_itself(dense):
    """Together they are solved as they are alone."""
    j, _ = dense
    curvature = Curvature(*maps(j), start(), 5)
    right = white(2) * np.array([1, 1e-4], dtype=np.float32)[:, None, None]
    both, _ = curvature.solve(right, least=1e-6, steps=100)
    for k in range(2):
        alone, _ = curvature.solve(right[k : k + 1], least=1e-6, steps=100)
        np.testing.assert_allclose(both[k], alone[0], rtol=1e-3, atol=1e-5 * np.abs(alone).max())


def test_ends_where_nothing_is_left():
    """Data that say nothing leave H = 1: the first step is the solution, and the residual zero."""
    curvature = Curvature(*maps(np.zeros((42, 60))))
    right = np.stack([white(1)[0], np.zeros((6, 10), dtype=np.float32)])
    with np.errstate(all="raise"):
        found, taken = curvature.solve(right, least=0, steps=20)
    np.testing.assert_array_equal(found, right)
    assert taken == 1


def test_pickled_without_its_maps(dense):
    j, _ = dense
    curvature = Curvature(*maps(j), start(), 8)
    again = pickle.loads(pickle.dumps(curvature)).at(*maps(j))
    np.testing.assert_array_equal(
        again.solve(white(), least=1e-3, steps=50)[0], curvature.solve(white(), least=1e-3, steps=50)[0]
    )


@pytest.mark.parametrize("steps", [0, 7, 10])
def test_determinant_and_trace(dense, steps):
    """With all unit vectors there is no estimate left; in double precision without a preconditioner."""
    j, c = dense
    units = np.sqrt(42) * np.eye(42).reshape(42, *SHAPE)
    curvature = Curvature(*maps(j), start(), steps) if steps else Curvature(*maps(j))
    vectors = units.astype(np.float32) if steps else units
    tolerance = 0.02 if steps else 1e-5
    found = curvature.log_det(vectors, 20 if steps else 200)
    assert found == pytest.approx(np.linalg.slogdet(c)[1], abs=tolerance)
    trace = 42 - np.trace(np.linalg.inv(c))
    assert curvature.measured_modes(vectors, 500) == pytest.approx(trace, abs=tolerance)


@pytest.mark.parametrize("change", [np.linspace(0.97, 1.03, 60), np.full(60, 1.5)])
def test_preconditioner_of_a_map_that_is_alike_is_only_slower(dense, change):
    j, _ = dense
    other = j * change
    c = np.eye(42) + other @ other.T
    curvature = Curvature(*maps(j), start(), 8).at(*maps(other))
    found, _ = curvature.solve(white(1), least=1e-5, steps=300)
    assert errors(other, found, white(1)) < 1e-4 * errors(other, np.zeros((1, 60)), white(1))
    vectors = (np.sqrt(42) * np.eye(42)).reshape(42, *SHAPE).astype(np.float32)
    assert curvature.log_det(vectors, 42) == pytest.approx(np.linalg.slogdet(c)[1], abs=0.05)


def test_renewed_preconditioner_is_made_for_the_new_map(dense):
    """Of a map ten times as large it is as good as one of its own; the old one is not."""
    j, _ = dense
    old = Curvature(*maps(j), start(), 8)
    larger = maps(10 * j)
    right = white(1)
    steps = [
        each.solve(right, least=1e-2, steps=500)[1]
        for each in (Curvature(*larger, start(), 8), old.renewed(*larger), old.at(*larger))
    ]
    assert steps[1] <= steps[0] + 3
    assert steps[2] > 2 * steps[1]


def test_determinant_with_a_renewed_preconditioner(dense):
    j, _ = dense
    tilted = j @ np.diag(np.linspace(0.7, 1.3, 60))
    curvature = Curvature(*maps(j), start(), 6).renewed(*maps(tilted))
    vectors = np.sqrt(42) * np.eye(42).reshape(42, *SHAPE)
    expected = np.linalg.slogdet(np.eye(42) + tilted @ tilted.T)[1]
    assert curvature.log_det(vectors, 60) == pytest.approx(expected, rel=1e-5)


def test_does_not_change_its_arguments(dense):
    j, _ = dense
    right, images, basis = white(2), start(2), start()
    copies = right.copy(), images.copy(), basis.copy()
    for begin in ((basis, 4), ()):
        curvature = Curvature(*maps(j), *begin)
        curvature.solve(right, least=1e-3, steps=20)
        curvature.log_det(images, 5)
    for now, before in zip((right, images, basis), copies, strict=True):
        np.testing.assert_array_equal(now, before)
