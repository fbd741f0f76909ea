"""How compiled kernels read their arguments: what breaks a rule is refused by name, and nothing is kept."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lenssuper.operators.cubicsplines import weights


def arguments(**changes):
    """Return arguments of a kernel, for three pixels of two rays, some of them changed."""
    right = {
        "columns": np.full((3, 2), 4.5),
        "rows": np.full((3, 2), 4.5),
        "ny": 10,
        "nx": 10,
        "ends": np.zeros(4, np.int64),
        "indices": np.zeros(96, np.int32),
        "data": np.zeros(96),
    }
    return list((right | changes).values())


def test_right_arguments_are_used():
    given = arguments()
    weights(*given)
    assert given[4].tolist() == [0, 16, 32, 48]
    assert given[6][:16].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": np.zeros((3, 2), np.float32)}, r"columns must be a C-contiguous array of float64"),
        ({"columns": np.zeros(6)}, r"columns must be .* of shape \(pixels, rays\)"),
        ({"columns": np.zeros((3, 2, 1))}, r"columns must be .* of shape \(pixels, rays\)"),
        ({"columns": np.zeros((2, 3)).T}, r"columns must be a C-contiguous"),
        ({"columns": [[0.0, 0.0]]}, r"columns must be a C-contiguous"),
        ({"rows": np.zeros((3, 3))}, r"rows must be .* of shape \(pixels, rays\)"),
        ({"ends": np.zeros(3, np.int64)}, r"ends must be a writable, .* of shape \(pixels\+1\)"),
        ({"ends": np.zeros(4, np.int32)}, r"ends must be a writable, C-contiguous array of int64"),
        ({"indices": np.zeros(96, np.int64)}, r"indices must be .* of int32"),
        ({"data": np.broadcast_to(0.0, 96)}, r"data must be a writable"),
        ({"data": np.zeros(95)}, r"data must be .* of shape \(room\)"),
    ],
)
def test_an_array_that_breaks_its_rule_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        weights(*arguments(**changes))


def test_numbers_and_their_number():
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        weights(*arguments(ny=1.5))
    with pytest.raises(TypeError, match="7 arguments are needed; got 6"):
        weights(*arguments()[:-1])


def test_refused_arrays_are_not_held():
    """A buffer that is not given back could never be resized, and would never be freed."""
    columns = np.zeros((3, 2))
    count = sys.getrefcount(columns)
    for _ in range(3):
        with pytest.raises(ValueError, match="rows"):
            weights(*arguments(columns=columns, rows=np.zeros(1)))
        weights(*arguments(columns=columns))
    assert sys.getrefcount(columns) == count
    columns.resize((4, 2), refcheck=False)
