import numpy as np
import pytest

from lenssuper.solvers.dataspace import DataCurvature

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


@pytest.mark.parametrize("steps", [5, 7, 10])
def test_solution(dense, steps):
    """In single precision, although the eigenvalues of C differ by two millions."""
    j, c = dense
    curvature = DataCurvature(*maps(j), start(), steps)
    rng = np.random.default_rng(3)
    # as they are for draws: noise, and data of white noise
    right = (rng.normal(size=(3, 42)) + rng.normal(size=(3, 60)) @ j.T).reshape(3, *SHAPE)
    found, taken = curvature.solve(right.astype(np.float32), least=1e-4, steps=300)
    assert taken < 300
    error = right.reshape(3, -1) - found.reshape(3, -1).astype(float) @ c
    size = np.einsum("ij,ij->i", error, np.linalg.solve(c, error.T).T)
    assert (size < 2e-4).all()


def test_preconditioner_saves_steps(dense):
    j, _ = dense
    plain, good = (
        DataCurvature(*maps(j), *begin).solve(start(1), least=1e-3, steps=500)[1]
        for begin in ((), (start(), 8))
    )
    assert good < 10 < 50 < plain


def test_starts_from_a_solution(dense):
    j, _ = dense
    curvature = DataCurvature(*maps(j), start(), 5)
    found, _ = curvature.solve(start(2), least=1e-4, steps=100)
    again, taken = curvature.solve(start(2), found, least=1e-3, steps=100)
    assert taken == 0
    np.testing.assert_array_equal(again, found)


def test_each_right_side_ends_for_itself(dense):
    """Together they are solved as they are alone."""
    j, _ = dense
    curvature = DataCurvature(*maps(j), start(), 5)
    right = start(2) * np.array([1, 1e-4], dtype=np.float32)[:, None, None]
    both, _ = curvature.solve(right, least=1e-6, steps=100)
    for k in range(2):
        alone, _ = curvature.solve(right[k : k + 1], least=1e-6, steps=100)
        np.testing.assert_allclose(both[k], alone[0], rtol=1e-3, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("steps", [0, 7, 10])
def test_determinant_and_trace(dense, steps):
    """With all unit vectors there is no estimate left; in double precision without a preconditioner."""
    j, c = dense
    units = np.sqrt(42) * np.eye(42).reshape(42, *SHAPE)
    curvature = DataCurvature(*maps(j), start(), steps) if steps else DataCurvature(*maps(j))
    vectors = units.astype(np.float32) if steps else units
    tolerance = 0.02 if steps else 1e-5
    found = curvature.log_det(vectors, 20 if steps else 200)
    assert found == pytest.approx(np.linalg.slogdet(c)[1], abs=tolerance)
    trace = 42 - np.trace(np.linalg.inv(c))
    assert curvature.measured_modes(vectors, 500) == pytest.approx(trace, abs=tolerance)


def test_preconditioner_of_another_map_is_only_slower(dense):
    j, _ = dense
    other = j * np.linspace(0.5, 2, 60)
    c = np.eye(42) + other @ other.T
    curvature = DataCurvature(*maps(j), start(), 8).at(*maps(other))
    found, _ = curvature.solve(start(1), least=1e-5, steps=300)
    exact = np.linalg.solve(c, start(1).reshape(42).astype(float))
    error = found.reshape(42) - exact
    assert error @ c @ error < 1e-4 * exact @ c @ exact
    vectors = (np.sqrt(42) * np.eye(42)).reshape(42, *SHAPE).astype(np.float32)
    assert curvature.log_det(vectors, 42) == pytest.approx(np.linalg.slogdet(c)[1], abs=0.05)


def test_does_not_change_its_arguments(dense):
    j, _ = dense
    right, begin, basis = start(2), start(2) * 2, start()
    copies = right.copy(), begin.copy(), basis.copy()
    curvature = DataCurvature(*maps(j), basis, 4)
    curvature.solve(right, begin, least=1e-3, steps=20)
    curvature.log_det(right, 5)
    for now, before in zip((right, begin, basis), copies, strict=True):
        np.testing.assert_array_equal(now, before)
